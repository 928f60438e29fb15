//! `skep._skep`: the native half of skep for Python.
//!
//! It converts types, errors and threads, and nothing else. What needs a Python object on both sides
//! (files, dataclasses, exceptions, asyncio) is in the Python half, `python/skep/`.
//!
//! Three rules hold in every file:
//! - whatever may block runs detached, without the GIL; what may take long is in `cancel`;
//! - waits are in `wait`, where a signal's handler runs and may end them;
//! - locks are taken without the GIL or released before it is, so that neither waits for the other.

use pyo3::prelude::*;

mod cancel;
mod child;
mod collector;
mod command;
mod dataclass;
mod detached;
mod engine;
mod error;
mod exit;
mod image;
mod images;
mod interpreter;
mod options;
mod policy;
mod registries;
mod results;
mod root;
mod stdio;
mod wait;

#[pymodule]
mod _skep {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::interpreter::refuse_others()
    }

    #[pymodule_export]
    use crate::cancel::Cancel;
    #[pymodule_export]
    use crate::child::Child;
    #[pymodule_export]
    use crate::collector::Collector;
    #[pymodule_export]
    use crate::command::Command;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::image::Image;
    #[pymodule_export]
    use crate::images::Images;
    #[pymodule_export]
    use crate::options::check_seconds;
    #[pymodule_export]
    use crate::policy::{Policy, Signed};
    #[pymodule_export]
    use crate::registries::{Access, Credentials, Registries};
    #[pymodule_export]
    use crate::root::{Mount, Root};
}
