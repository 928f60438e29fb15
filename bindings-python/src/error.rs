//! Core's errors as Python's exceptions, which are in `skep/_errors.py`.

use std::io;

use pyo3::prelude::*;

/// The exception for `error`. For `map_err`: both types are foreign here, so `From` is not possible.
pub(crate) fn raise(error: skep::Error) -> PyErr {
    exception((
        error.kind().name(),
        error.to_string(),
        error.operation(),
        error.subject(),
        error.errno(),
    ))
}

/// What core does not know: an engine closed from Python.
pub(crate) fn closed(store: &str) -> PyErr {
    unusable(store, "it has been closed; open another")
}

/// An engine in a forked copy of the process that opened it.
pub(crate) fn copied(store: &str) -> PyErr {
    let why =
        "this process is a forked copy of the one that opened it; open an engine in this process";
    unusable(store, why)
}

/// A forked copy of a process that waits for something.
pub(crate) fn forked() -> PyErr {
    let subject = "an operation on images";
    let text = format!(
        "cannot wait for {subject}: this process is a forked copy of the one that began it"
    );
    exception(("InvalidState", text, "wait for", subject, None))
}

fn unusable(store: &str, why: &str) -> PyErr {
    let subject = format!("the engine of {store}");
    let text = format!("cannot use {subject}: {why}");
    exception(("InvalidState", text, "use", &subject, None))
}

/// What an operation needs beside core: a thread, a descriptor.
pub(crate) fn exhausted(operation: &str, subject: &str, error: &io::Error) -> PyErr {
    let text = format!("cannot {operation} {subject}: {error}; end some, or raise the limit");
    exception(("ResourceExhausted", text, operation, subject, error.raw_os_error()))
}

/// Kind, text, operation, subject, errno.
type Arguments<'a> = (&'a str, String, &'a str, &'a str, Option<i32>);

/// A failure to make the exception is an exception as well.
fn exception(arguments: Arguments<'_>) -> PyErr {
    Python::attach(|py| {
        let from_core = || py.import("skep._errors")?.getattr("from_core")?.call1(arguments);
        from_core().map_or_else(|failure| failure, PyErr::from_value)
    })
}
