//! A run whose output is collected.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use pyo3::prelude::*;

use crate::detached::Detached;
use crate::engine::Running;
use crate::error::raise;
use crate::exit::{self, PyOutput};
use crate::wait::readable;

/// A running container that is fed and read; dropped, it is killed and removed.
///
/// Written to by `advance` alone: a wait for it and a kill are at once, both readers.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Collector(pub(crate) Detached<RwLock<skep::Collector>>);

#[pymethods]
impl Collector {
    /// Does what can be done without waiting; `(status, stdout, stderr)` at the end, once.
    fn advance<'py>(&self, py: Python<'py>) -> PyResult<Option<PyOutput<'py>>> {
        let advanced =
            py.detach(|| self.0.write().unwrap_or_else(PoisonError::into_inner).advance());
        advanced.map_err(raise)?.map(|output| exit::output(py, &output)).transpose()
    }

    /// Waits for the end: `(status, stdout, stderr)`. A wait that is interrupted kills the container.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<PyOutput<'py>> {
        loop {
            if let Err(interrupt) = readable(py, self.collector().as_fd(), None) {
                self.close(py);
                return Err(interrupt);
            }
            if let Some(output) = self.advance(py)? {
                return Ok(output);
            }
        }
    }

    /// A descriptor that is readable when `advance` has something to do. It stays the run's.
    fn fileno(&self) -> RawFd {
        self.collector().as_fd().as_raw_fd()
    }

    /// Kills the container, waits for its end and removes what is left of it.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.0.kill();
            self.0.reap();
        });
    }
}

impl Collector {
    pub(crate) fn new(collector: skep::Collector) -> Collector {
        Collector(Detached::new(Arc::new(RwLock::new(collector))))
    }

    fn collector(&self) -> RwLockReadGuard<'_, skep::Collector> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
