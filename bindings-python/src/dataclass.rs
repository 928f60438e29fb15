//! Instances of the frozen dataclasses of `skep/_results.py`, made without running Python.
//!
//! Their own `__init__` sets each field through `object.__setattr__`, in bytecode: three objects of
//! fifteen fields took longer than all else that this module does for a run.
// Both calls are ones that Python has for its own use of C.
#![allow(unsafe_code)]

use pyo3::ffi::{PyObject_GenericSetAttr, PyType_GenericAlloc};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

/// A dataclass, imported at its first use.
pub(crate) struct Dataclass {
    name: &'static str,
    class: PyOnceLock<Py<PyType>>,
}

/// A field's name and value.
pub(crate) type Field<'a, 'py> = (&'a Bound<'py, PyString>, Bound<'py, PyAny>);

impl Dataclass {
    pub(crate) const fn new(name: &'static str) -> Dataclass {
        Dataclass { name, class: PyOnceLock::new() }
    }

    /// As `object.__new__(class)`, and `object.__setattr__` for each of `fields`: all that it has.
    pub(crate) fn instance<'py, const N: usize>(
        &self,
        py: Python<'py>,
        fields: [Field<'_, 'py>; N],
    ) -> PyResult<Bound<'py, PyAny>> {
        let class = self.class.import(py, "skep._results", self.name)?;
        // SAFETY: the GIL is held. `class` is a type whose instances `object.__new__` allocates, and it
        // does so by this function; a new reference or NULL with an exception comes back.
        let object = unsafe {
            Bound::from_owned_ptr_or_err(py, PyType_GenericAlloc(class.as_type_ptr(), 0))
        }?;
        for (name, value) in fields {
            // SAFETY: the GIL is held, and all three are objects that live as long as the call.
            let set =
                unsafe { PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
            if set != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(object)
    }
}
