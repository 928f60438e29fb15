//! Interpreters beside the main one, as mod_wsgi has them.
// The number of an interpreter is told by C functions alone.
#![allow(unsafe_code)]

use pyo3::exceptions::PyImportError;
use pyo3::ffi::{PyInterpreterState_Get, PyInterpreterState_GetID};
use pyo3::prelude::*;

/// Fails in a subinterpreter: what is kept of Python's classes would be the first one's, in every
/// other of another kind, and gone with the first.
pub(crate) fn refuse_others() -> PyResult<()> {
    // SAFETY: a module is initialized by a thread that is attached to its interpreter.
    if unsafe { PyInterpreterState_GetID(PyInterpreterState_Get()) } == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err("skep works in the main interpreter alone, not in a subinterpreter"))
}
