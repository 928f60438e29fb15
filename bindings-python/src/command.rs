//! A container to be started.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use pyo3::prelude::*;

use crate::child::Child;
use crate::collector::Collector;
use crate::engine::Engine;
use crate::error::raise;
use crate::options::{Pids, Rlimits, Seconds, Size, Swap};
use crate::stdio::Stream;

/// What runs and what it may use, made by `Engine.command`.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Command {
    command: Mutex<skep::Command>,
    engine: Py<Engine>,
}

/// The three streams, in core's order; `None` is core's default.
type Streams = [Option<Stream>; 3];

#[pymethods]
impl Command {
    /// Starts it and hands over the pipes that were asked for.
    #[pyo3(signature = (*, stdin=None, stdout=None, stderr=None))]
    fn spawn(
        &self,
        py: Python<'_>,
        stdin: Option<Stream>,
        stdout: Option<Stream>,
        stderr: Option<Stream>,
    ) -> PyResult<Child> {
        let streams = [stdin, stdout, stderr];
        let started = py.detach(|| self.with(streams, skep::Command::spawn));
        let (child, pipes) = Child::new(started.map_err(raise)?);
        self.engine.get().adopt(py, &child)?;
        Ok(Child::handle(child, pipes))
    }

    /// Starts it to be run to its end, its output collected.
    #[pyo3(signature = (*, input=None, stdin=None, stdout=None, stderr=None))]
    fn collect(
        &self,
        py: Python<'_>,
        input: Option<Vec<u8>>,
        stdin: Option<Stream>,
        stdout: Option<Stream>,
        stderr: Option<Stream>,
    ) -> PyResult<Collector> {
        let streams = [stdin, stdout, stderr];
        let started = py.detach(|| {
            self.with(streams, |command| {
                if let Some(input) = input {
                    command.input(input);
                }
                command.collect()
            })
        });
        let collector = Arc::new(RwLock::new(started.map_err(raise)?));
        self.engine.get().adopt(py, &collector)?;
        Ok(Collector::handle(collector))
    }
}

impl Command {
    fn with<T>(&self, streams: Streams, start: impl FnOnce(&mut skep::Command) -> T) -> T {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        let [stdin, stdout, stderr] = streams;
        stdin.map(|Stream(stdio)| command.stdin(stdio));
        stdout.map(|Stream(stdio)| command.stdout(stdio));
        stderr.map(|Stream(stdio)| command.stderr(stdio));
        start(&mut command)
    }
}
