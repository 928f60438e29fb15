//! A container to be started.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyList;

use crate::cancel::{Given, interruptible};
use crate::child::Child;
use crate::collector::Collector;
use crate::engine::Engine;
use crate::error::raise;
use crate::exit;
use crate::image::Image;
use crate::options::{Pids, Real, Rlimits, Seconds, Size, Swap, Variables, Words, expected};
use crate::root::{Mount, Root};
use crate::stdio::Stream;

/// What runs and what it may use; the arguments are those of `skep.Engine.run`.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Command {
    command: Mutex<skep::Command>,
    engine: Py<Engine>,
    /// What it runs, unless that is no image.
    image: Option<skep::Image>,
}

/// The argument `image`: what has a root file system.
enum Source {
    Name(String),
    Root(skep::Root),
}

impl<'py> FromPyObject<'_, 'py> for Source {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Source> {
        if let Ok(image) = object.cast::<Image>() {
            return Ok(Source::Root((&image.get().0).into()));
        }
        if let Ok(root) = object.cast::<Root>() {
            return Ok(Source::Root(root.get().0.clone()));
        }
        let text = object.extract().map(Source::Name);
        text.map_err(|_| expected("a name, an Image or a Root", &object))
    }
}

impl Source {
    fn root(self, py: Python<'_>, engine: &skep::Engine) -> PyResult<skep::Root> {
        match self {
            Source::Name(name) => {
                let found = py.detach(|| engine.images().find(&name));
                found.map(skep::Root::from).map_err(raise)
            }
            Source::Root(root) => Ok(root),
        }
    }
}

#[pymethods]
impl Command {
    #[new]
    #[pyo3(signature = (
        engine, image, args=None, *, entrypoint=None, env=None, working_dir=None, user=None,
        hostname=None, mounts=None, read_only=false, allow_new_privileges=false, rlimits=None,
        memory=None, memory_swap=None, cpus=None, pids=None, timeout=None, stdin=None, stdout=None,
        stderr=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        engine: Py<Engine>,
        image: Source,
        args: Option<Words>,
        entrypoint: Option<Words>,
        env: Option<Variables>,
        working_dir: Option<String>,
        user: Option<String>,
        hostname: Option<String>,
        mounts: Option<Vec<PyRef<'_, Mount>>>,
        read_only: bool,
        allow_new_privileges: bool,
        rlimits: Option<Rlimits>,
        memory: Option<Size>,
        memory_swap: Option<Swap>,
        cpus: Option<Real>,
        pids: Option<Pids>,
        timeout: Option<Seconds>,
        stdin: Option<Stream>,
        stdout: Option<Stream>,
        stderr: Option<Stream>,
    ) -> PyResult<Command> {
        let core = engine.get().open()?;
        let root = image.root(py, &core)?;
        let image = match &root {
            skep::Root::Image(image) => Some(image.clone()),
            _ => None,
        };
        let mut command = core.command(root);
        args.map(|Words(args)| command.args(args));
        entrypoint.map(|Words(words)| command.entrypoint(words));
        env.map(|Variables(variables)| command.envs(variables));
        working_dir.map(|path| command.working_dir(path));
        user.map(|user| command.user(user));
        hostname.map(|name| command.hostname(name));
        for mount in mounts.unwrap_or_default() {
            command.mount(mount.0.clone());
        }
        command.read_only(read_only).allow_new_privileges(allow_new_privileges);
        for (resource, soft, hard) in rlimits.map(|Rlimits(all)| all).unwrap_or_default() {
            command.rlimit(resource, soft, hard);
        }
        memory.map(|Size(limit)| command.memory(limit));
        memory_swap.map(|Swap(swap)| command.memory_swap(swap));
        cpus.map(|Real(cpus)| command.cpus(cpus));
        pids.map(|Pids(limit)| command.pids(limit));
        timeout.map(|Seconds(timeout)| command.timeout(timeout));
        stdin.map(|Stream(stdio)| command.stdin(stdio));
        stdout.map(|Stream(stdio)| command.stdout(stdio));
        stderr.map(|Stream(stdio)| command.stderr(stdio));
        Ok(Command { command: Mutex::new(command), engine, image })
    }

    /// Starts it. Its files stay after its end, until it is closed, if `keep_files`.
    #[pyo3(signature = (keep_files=false, cancel=None))]
    fn spawn(&self, py: Python<'_>, keep_files: bool, cancel: Given<'_, '_>) -> PyResult<Child> {
        self.unpack(py, cancel)?;
        let started = py.detach(|| self.command().keep_files(keep_files).spawn());
        let child = Child::new(started.map_err(raise)?);
        self.engine.get().adopt(py, &child.child)?;
        Ok(child)
    }

    /// Runs it to its end: `skep.CompletedContainer`, of bytes and of these `args`. If that is
    /// interrupted, the container is killed: nothing else has it.
    #[pyo3(signature = (args, input=None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        args: Bound<'py, PyList>,
        input: Option<PyBackedBytes>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let output = self.collect(py, input, None)?.wait(py)?;
        exit::completed(py, args, &output)
    }

    /// Starts it to be run to its end, `input` written and its output collected.
    #[pyo3(signature = (input=None, cancel=None))]
    fn collect(
        &self,
        py: Python<'_>,
        input: Option<PyBackedBytes>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Collector> {
        self.unpack(py, cancel)?;
        let started = py.detach(|| {
            let mut command = self.command();
            input.map(|input| command.input(&*input));
            command.collect()
        });
        let collector = Collector::new(started.map_err(raise)?);
        self.engine.get().adopt(py, &collector.0)?;
        Ok(collector)
    }
}

impl Command {
    /// Unpacks an image before its first start: that may take long, and a start may not.
    fn unpack(&self, py: Python<'_>, cancel: Given<'_, '_>) -> PyResult<()> {
        let Some(image) = &self.image else { return Ok(()) };
        if py.detach(|| image.is_unpacked()) {
            return Ok(());
        }
        let image = image.clone();
        interruptible(py, cancel, move |cancel| image.cancellable(cancel).layers()).map(drop)
    }

    /// Locked only while the GIL is released: a start holds it for milliseconds.
    fn command(&self) -> MutexGuard<'_, skep::Command> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
