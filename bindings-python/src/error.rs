//! Core's errors as Python's exceptions, which are in `skep/_errors.py`.

use pyo3::prelude::*;

/// The exception for `error`. For `map_err`: both types are foreign here, so `From` is not possible.
pub(crate) fn raise(error: skep::Error) -> PyErr {
    let exception = |py| {
        let arguments = (
            error.kind().name(),
            error.to_string(),
            error.operation(),
            error.subject(),
            error.errno(),
        );
        exception(py, arguments)
    };
    Python::attach(|py| exception(py).unwrap_or_else(|failure| failure))
}

/// What core does not know: an engine closed from Python.
pub(crate) fn closed(store: &str) -> PyErr {
    let text = format!("cannot use the engine of {store}: it has been closed; open another");
    let subject = format!("the engine of {store}");
    Python::attach(|py| {
        let arguments = ("InvalidState", text, "use", subject.as_str(), None);
        exception(py, arguments).unwrap_or_else(|failure| failure)
    })
}

type Arguments<'a> = (&'a str, String, &'a str, &'a str, Option<i32>);

fn exception(py: Python<'_>, arguments: Arguments<'_>) -> PyResult<PyErr> {
    let from_core = py.import("skep._errors")?.getattr("from_core")?;
    Ok(PyErr::from_value(from_core.call1(arguments)?))
}
