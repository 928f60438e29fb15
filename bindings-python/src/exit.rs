//! How containers end and what they use, as the dataclasses of `skep/_results.py`.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use skep::{ExitReason, ExitStatus, Output, Usage};

/// `skep.ExitStatus`.
pub(crate) fn status<'py>(py: Python<'py>, status: &ExitStatus) -> PyResult<Bound<'py, PyAny>> {
    let reason = match status.reason() {
        ExitReason::Exited(_) => "exited",
        ExitReason::Signaled(_) => "signaled",
        ExitReason::OomKilled => "oom_killed",
        ExitReason::TimedOut => "timed_out",
        _ => "unknown",
    };
    let usage = usage(py, status.usage())?;
    let arguments = (reason, status.code(), status.signal(), usage, status.to_string());
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "skep._results", "ExitStatus")?.call1(arguments)
}

/// `skep.Usage`.
pub(crate) fn usage<'py>(py: Python<'py>, usage: Usage) -> PyResult<Bound<'py, PyAny>> {
    let seconds =
        |time: fn(skep::CpuTime) -> Duration| usage.cpu.map(|cpu| time(cpu).as_secs_f64());
    let arguments = (
        usage.memory_peak.map(skep::Bytes::get),
        seconds(|cpu| cpu.total),
        seconds(|cpu| cpu.user),
        seconds(|cpu| cpu.system),
        usage.oom_kills,
        usage.pids_peak,
    );
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "skep._results", "Usage")?.call1(arguments)
}

/// `(status, stdout, stderr)`.
pub(crate) type PyOutput<'py> = (Bound<'py, PyAny>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub(crate) fn output<'py>(py: Python<'py>, output: &Output) -> PyResult<PyOutput<'py>> {
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    Ok((status(py, &output.status)?, bytes(&output.stdout), bytes(&output.stderr)))
}
