//! A running container.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::cancel::{Given, interruptible};
use crate::detached::Detached;
use crate::engine::Running;
use crate::error::raise;
use crate::exit;
use crate::image::{Image, commit_of, plain};
use crate::options::{Seconds, Signal};
use crate::results;
use crate::wait::{deadline, readable};

/// A running container; dropped, it is killed and removed.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Child {
    pub(crate) child: Detached<skep::Child>,
    /// The host's ends of stdin, stdout and stderr, until they are handed over.
    pipes: Mutex<[Option<OwnedFd>; 3]>,
}

#[pymethods]
impl Child {
    /// The container's id: 32 hexadecimal digits.
    #[getter]
    fn id(&self) -> &str {
        self.child.id()
    }

    /// The signal that asks it to end: the image's, or SIGTERM.
    #[getter]
    fn stop_signal(&self) -> i32 {
        self.child.stop_signal()
    }

    /// Hands over the descriptors of stdin, stdout and stderr, once; `None` where there is no pipe.
    fn take_pipes(&self) -> [Option<RawFd>; 3] {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *pipes).map(|pipe| pipe.map(IntoRawFd::into_raw_fd))
    }

    /// How it ended, or `None` if it still runs after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<Seconds>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let deadline = deadline(timeout.map(|Seconds(timeout)| timeout));
        loop {
            if let Some(status) = self.poll(py)? {
                return Ok(Some(status));
            }
            if !readable(py, self.child.exit_fd().map_err(raise)?, deadline)? {
                return Ok(None);
            }
        }
    }

    /// How it ended, or `None` if it still runs. Does not wait.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let status = py.detach(|| self.child.try_wait()).map_err(raise)?;
        status.map(|status| exit::status(py, &status)).transpose()
    }

    /// Sends a signal to its command.
    fn send_signal(&self, py: Python<'_>, signal: Signal) -> PyResult<()> {
        let Signal(signal) = signal;
        py.detach(|| self.child.signal(signal)).map_err(raise)
    }

    /// What it has used so far.
    fn usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        exit::usage(py, py.detach(|| self.child.usage()).map_err(raise)?)
    }

    /// A descriptor that is readable once it has ended. It stays the container's.
    fn fileno(&self) -> PyResult<RawFd> {
        self.child.exit_fd().map(|fd| fd.as_raw_fd()).map_err(raise)
    }

    /// Makes an image of its own and of what it has written.
    #[pyo3(signature = (reference=None, *, cancel=None, **options))]
    fn commit<'py>(
        &self,
        py: Python<'py>,
        reference: Option<String>,
        cancel: Given<'_, 'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Image> {
        let commit = commit_of(reference, options)?;
        let child = Arc::clone(&self.child);
        let commit = move |cancel: &skep::Cancel| child.cancellable(cancel).commit(&commit);
        interruptible(py, cancel, commit).map(plain)
    }

    /// What it has changed of its root, by path.
    #[pyo3(signature = (*, cancel=None))]
    fn diff<'py>(
        &self,
        py: Python<'py>,
        cancel: Given<'_, 'py>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let child = Arc::clone(&self.child);
        let diff = move |cancel: &skep::Cancel| child.cancellable(cancel).diff();
        results::changes(py, interruptible(py, cancel, diff)?)
    }

    /// Writes all files of its root as one tar archive.
    #[pyo3(signature = (path, *, cancel=None))]
    fn export(&self, py: Python<'_>, path: PathBuf, cancel: Given<'_, '_>) -> PyResult<()> {
        let child = Arc::clone(&self.child);
        interruptible(py, cancel, move |cancel| child.cancellable(cancel).export(path))
    }

    /// Kills it, waits for its end and removes what is left of it.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            Running::kill(&**self.child);
            self.child.reap();
        });
    }
}

impl Child {
    pub(crate) fn new(mut child: skep::Child) -> Child {
        let pipes = [
            child.stdin.take().map(OwnedFd::from),
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        Child { child: Detached::new(Arc::new(child)), pipes: Mutex::new(pipes) }
    }
}
