//! What a standard stream is connected to, in subprocess's words.
// A number that Python calls a file descriptor has no owner that Rust could check.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use skep::Stdio;

use crate::error::raise;

/// `subprocess.PIPE` and `subprocess.DEVNULL`.
const PIPE: RawFd = -1;
const DEVNULL: RawFd = -3;

/// An argument `stdin`, `stdout` or `stderr` other than `None`: `PIPE`, `DEVNULL`, a file descriptor
/// or an object with a `fileno()`.
pub(crate) struct Stream(pub(crate) Stdio);

impl<'py> FromPyObject<'_, 'py> for Stream {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Stream> {
        match number(&object)? {
            PIPE => Ok(Stream(Stdio::piped())),
            DEVNULL => Ok(Stream(Stdio::null())),
            fd => duplicate(fd).map(|file| Stream(Stdio::file(file))),
        }
    }
}

fn number(object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    if let Ok(number) = object.extract() {
        return Ok(number);
    }
    if !object.hasattr("fileno")? {
        let name = object.get_type().name()?;
        let text = format!("expected PIPE, DEVNULL, a file or its descriptor, not {name}");
        return Err(PyTypeError::new_err(text));
    }
    object.call_method0("fileno")?.extract()
}

/// The command keeps a duplicate: Python's file may be closed at any time.
fn duplicate(fd: RawFd) -> PyResult<OwnedFd> {
    let invalid = |cause| {
        raise(skep::Error::invalid_input("connect", format!("file descriptor {fd}")).cause(cause))
    };
    if fd < 0 {
        return Err(invalid("it is neither PIPE, DEVNULL nor an open file"));
    }
    // SAFETY: not -1, and used for this one call, which fails if no such file is open. The GIL is
    // held, so that no Python code closes it in between.
    let file = unsafe { BorrowedFd::borrow_raw(fd) };
    file.try_clone_to_owned().map_err(|_| invalid("it is not open"))
}
