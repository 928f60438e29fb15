//! A run whose output is collected.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use pyo3::prelude::*;
use rustix::io::Errno;

use crate::detached::Detached;
use crate::engine::Running;
use crate::error::raise;
use crate::exit::{self, PyOutput};
use crate::wait::poll;

/// A running container that is fed and read; dropped, it is killed and removed.
///
/// Written to by `advance` alone: a wait for it and a kill are at once, both readers.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Collector(pub(crate) Detached<RwLock<skep::Collector>>);

#[pymethods]
impl Collector {
    /// Does what can be done without waiting; `(status, stdout, stderr)` at the end, once.
    fn advance<'py>(&self, py: Python<'py>) -> PyResult<Option<PyOutput<'py>>> {
        let advanced = py.detach(|| self.step())?;
        advanced.map(|output| exit::output(py, &output)).transpose()
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

    /// Waits for the end, as `wait` does: the GIL is left once for a wait and what comes of it.
    pub(crate) fn wait(&self, py: Python<'_>) -> PyResult<skep::Output> {
        loop {
            py.check_signals()?;
            if let Some(output) = py.detach(|| self.wait_and_step())? {
                return Ok(output);
            }
        }
    }

    fn wait_and_step(&self) -> PyResult<Option<skep::Output>> {
        // Unlocked again before `step` locks it.
        let ready = poll(self.collector().as_fd(), None);
        match ready {
            Ok(_) => self.step(),
            Err(Errno::INTR) => Ok(None),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    fn step(&self) -> PyResult<Option<skep::Output>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).advance().map_err(raise)
    }

    fn collector(&self) -> RwLockReadGuard<'_, skep::Collector> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
