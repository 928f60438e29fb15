//! Values of options: what Python's type can say and core's cannot is refused here, in core's words.

use std::time::{Duration, SystemTime};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyMapping, PyString};
use skep::{Bytes, Error, MemorySwap, RlimitResource};

use crate::error::raise;

/// A command: one `str` is none, although it is a sequence of them.
pub(crate) struct Words(pub(crate) Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Words {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Words> {
        if object.is_instance_of::<PyString>() {
            let message = "args and entrypoint are sequences of str, such as [\"sh\", \"-c\", \"...\"], \
                           and not one str";
            return Err(PyTypeError::new_err(message));
        }
        object.extract().map(Words)
    }
}

/// A number of bytes, as an `int` or in docker's notation: `"256m"`.
pub(crate) struct Size(pub(crate) Bytes);

impl<'py> FromPyObject<'_, 'py> for Size {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Size> {
        text(&object)?.parse().map(Size).map_err(raise)
    }
}

/// As [`Size`], with docker's 0 and -1.
pub(crate) struct Swap(pub(crate) MemorySwap);

impl<'py> FromPyObject<'_, 'py> for Swap {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Swap> {
        text(&object)?.parse().map(Swap).map_err(raise)
    }
}

/// An `int` of any size as its digits, for core to read and refuse; a `str` as it is.
fn text(object: &Bound<'_, PyAny>) -> PyResult<String> {
    object.extract().or_else(|_| digits(&integer(object)?))
}

/// An `int` in words: Python refuses to write thousands of digits.
pub(crate) fn digits(number: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = number.str().or_else(|_| {
        let bits = number.call_method0("bit_length")?;
        format!("a number of {bits} bits").into_pyobject(number.py()).map_err(PyErr::from)
    });
    text.map(|text| text.to_string())
}

/// A number as a `float`; an `int` that is too large for one is infinite.
pub(crate) struct Real(pub(crate) f64);

impl<'py> FromPyObject<'_, 'py> for Real {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Real> {
        match object.extract::<f64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Real(if object.lt(0)? { f64::NEG_INFINITY } else { f64::INFINITY }))
            }
            number => number.map(Real),
        }
    }
}

/// What is an `int` already, as nearly always, is not asked for one.
fn integer<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if object.is_exact_instance_of::<PyInt>() {
        return Ok(object.clone());
    }
    static INDEX: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    INDEX.import(object.py(), "operator", "index")?.call1((object,))
}

/// Environment variables: a mapping, in its order.
pub(crate) struct Variables(pub(crate) Vec<(String, String)>);

impl<'py> FromPyObject<'_, 'py> for Variables {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Variables> {
        let items = object.cast::<PyMapping>()?.items()?;
        items.extract().map(Variables)
    }
}

/// Seconds.
pub(crate) struct Seconds(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Seconds> {
        let Real(seconds) = object.extract()?;
        Duration::try_from_secs_f64(seconds).map(Seconds).map_err(|_| {
            raise(
                Error::invalid_input("limit time to", format!("{seconds} s"))
                    .cause("it is no length of time")
                    .fix("give seconds from 0, or no limit"),
            )
        })
    }
}

/// Refuses what is no length of time; asyncio would take it for one that has passed.
#[pyfunction]
pub(crate) fn check_seconds(_seconds: Option<Seconds>) {}

/// A signal's number.
pub(crate) struct Signal(pub(crate) i32);

impl<'py> FromPyObject<'_, 'py> for Signal {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Signal> {
        let number = integer(&object)?;
        if let Ok(signal) = number.extract() {
            return Ok(Signal(signal));
        }
        let error = Error::invalid_input("send", format!("signal {}", digits(&number)?));
        Err(raise(error.fix("give a number from 1 to 64")))
    }
}

/// A number of processes.
pub(crate) struct Pids(pub(crate) u32);

impl<'py> FromPyObject<'_, 'py> for Pids {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Pids> {
        let number = integer(&object)?;
        if let Ok(limit) = number.extract() {
            return Ok(Pids(limit));
        }
        let error = Error::invalid_input("limit processes to", digits(&number)?);
        Err(raise(error.fix("give at least 1, or no limit")))
    }
}

/// A number of blobs that move at once.
pub(crate) struct Parallel(pub(crate) usize);

impl<'py> FromPyObject<'_, 'py> for Parallel {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Parallel> {
        count(&object, "move", "blobs at once").map(Parallel)
    }
}

/// How often a request is made.
pub(crate) struct Attempts(pub(crate) u32);

impl<'py> FromPyObject<'_, 'py> for Attempts {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Attempts> {
        count(&object, "make", "attempts").map(Attempts)
    }
}

/// A number of signatures.
pub(crate) struct AtLeast(pub(crate) usize);

impl<'py> FromPyObject<'_, 'py> for AtLeast {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<AtLeast> {
        count(&object, "require", "signatures").map(AtLeast)
    }
}

fn count<N: TryFrom<u64>>(
    object: &Bound<'_, PyAny>,
    operation: &'static str,
    unit: &str,
) -> PyResult<N> {
    let number = integer(object)?;
    if let Some(count) = number.extract().ok().and_then(|count: u64| N::try_from(count).ok()) {
        return Ok(count);
    }
    let error = Error::invalid_input(operation, format!("{} {unit}", digits(&number)?));
    let fix = if number.lt(0)? { "give at least 1" } else { "give fewer" };
    Err(raise(error.fix(fix)))
}

/// A time: seconds since 1970, or a `datetime`.
pub(crate) struct Time(pub(crate) SystemTime);

impl<'py> FromPyObject<'_, 'py> for Time {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Time> {
        let Real(seconds) = match object.getattr_opt("timestamp")? {
            Some(timestamp) => timestamp.call0()?.extract()?,
            None => object.extract()?,
        };
        let since = Duration::try_from_secs_f64(seconds).ok();
        let time = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        time.map(Time).ok_or_else(|| {
            let error = Error::invalid_input("use time", format!("{seconds} s"));
            raise(error.cause("it is none since 1970").fix("give seconds from 0"))
        })
    }
}

/// The `TypeError` for an argument that is something else than `wanted`.
pub(crate) fn expected(wanted: &str, object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().name();
    let name = name.map_or_else(|_| "that".into(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {wanted}, not {name}"))
}

/// Refuses a word that an argument does not have.
pub(crate) fn unknown(operation: &'static str, word: &str, fix: &'static str) -> PyErr {
    raise(Error::invalid_input(operation, format!("{word:?}")).cause("there is no such").fix(fix))
}

/// `{"nofile": 1024}` or `{"nofile": (soft, hard)}`; -1 is no limit, as `resource.RLIM_INFINITY`.
pub(crate) struct Rlimits(pub(crate) Vec<(RlimitResource, u64, u64)>);

impl<'py> FromPyObject<'_, 'py> for Rlimits {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Rlimits> {
        let mut limits = Vec::new();
        for (name, values) in
            object.cast::<PyMapping>()?.items()?.extract::<Vec<(String, Bound<'py, PyAny>)>>()?
        {
            let resource = skep::rlimit_resource(&name).map_err(raise)?;
            let (soft, hard) = match values.extract::<(Bound<'py, PyAny>, Bound<'py, PyAny>)>() {
                Ok((soft, hard)) => (rlimit(&name, &soft)?, rlimit(&name, &hard)?),
                Err(_) => {
                    let both = rlimit(&name, &values)?;
                    (both, both)
                }
            };
            limits.push((resource, soft, hard));
        }
        Ok(Rlimits(limits))
    }
}

fn rlimit(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let number = integer(value)?;
    if number.eq(-1)? {
        return Ok(u64::MAX);
    }
    if let Ok(limit) = number.extract() {
        return Ok(limit);
    }
    let error = Error::invalid_input("limit", format!("{name} to {}", digits(&number)?));
    Err(raise(error.fix("give at least 0, or -1 for no limit")))
}
