//! How containers end and what they use, as the dataclasses of `skep/_results.py`.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use pyo3::{IntoPyObjectExt, intern};
use skep::{ExitReason, ExitStatus, Output, Usage};

use crate::dataclass::Dataclass;

/// `skep.CompletedContainer`.
pub(crate) fn completed<'py>(
    py: Python<'py>,
    args: Bound<'py, PyList>,
    output: &Output,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Dataclass = Dataclass::new("CompletedContainer");
    let (status, stdout, stderr) = self::output(py, output)?;
    CLASS.instance(
        py,
        [
            (intern!(py, "args"), args.into_any()),
            (intern!(py, "status"), status),
            (intern!(py, "stdout"), stdout.into_any()),
            (intern!(py, "stderr"), stderr.into_any()),
        ],
    )
}

/// `(status, stdout, stderr)`.
pub(crate) type PyOutput<'py> = (Bound<'py, PyAny>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub(crate) fn output<'py>(py: Python<'py>, output: &Output) -> PyResult<PyOutput<'py>> {
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    Ok((status(py, &output.status)?, bytes(&output.stdout), bytes(&output.stderr)))
}

/// `skep.ExitStatus`.
pub(crate) fn status<'py>(py: Python<'py>, status: &ExitStatus) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Dataclass = Dataclass::new("ExitStatus");
    let reason = match status.reason() {
        ExitReason::Exited(_) => intern!(py, "exited"),
        ExitReason::Signaled(_) => intern!(py, "signaled"),
        ExitReason::OomKilled => intern!(py, "oom_killed"),
        ExitReason::TimedOut => intern!(py, "timed_out"),
        _ => intern!(py, "unknown"),
    };
    CLASS.instance(
        py,
        [
            (intern!(py, "reason"), reason.clone().into_any()),
            (intern!(py, "code"), status.code().into_bound_py_any(py)?),
            (intern!(py, "signal"), status.signal().into_bound_py_any(py)?),
            (intern!(py, "usage"), usage(py, status.usage())?),
            (intern!(py, "text"), status.to_string().into_bound_py_any(py)?),
        ],
    )
}

/// `skep.Usage`.
pub(crate) fn usage<'py>(py: Python<'py>, usage: Usage) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: Dataclass = Dataclass::new("Usage");
    let seconds = |time: fn(skep::CpuTime) -> Duration| {
        usage.cpu.map(|cpu| time(cpu).as_secs_f64()).into_bound_py_any(py)
    };
    let memory_peak = usage.memory_peak.map(skep::Bytes::get);
    CLASS.instance(
        py,
        [
            (intern!(py, "memory_peak"), memory_peak.into_bound_py_any(py)?),
            (intern!(py, "cpu_total"), seconds(|cpu| cpu.total)?),
            (intern!(py, "cpu_user"), seconds(|cpu| cpu.user)?),
            (intern!(py, "cpu_system"), seconds(|cpu| cpu.system)?),
            (intern!(py, "oom_kills"), usage.oom_kills.into_bound_py_any(py)?),
            (intern!(py, "pids_peak"), usage.pids_peak.into_bound_py_any(py)?),
        ],
    )
}
