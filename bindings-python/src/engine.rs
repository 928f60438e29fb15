//! The engine, and what `close()` has to end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use pyo3::prelude::*;

use crate::error::{closed, copied, raise};
use crate::images::Images;

/// The default store, as [`skep::Engine::open_default`] has it.
const DEFAULT_STORE: &str = "/var/lib/skep";

/// How long the kernel has for ending what was killed; core's drop has the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open store.
#[pyclass(frozen, module = "skep._skep")]
pub(crate) struct Engine {
    store: PathBuf,
    /// The process that opened it. In a forked copy of that, the locks of containers may be held by
    /// threads which are not there, so they are not touched.
    process: u32,
    state: Mutex<State>,
}

struct State {
    /// `None` once it is closed.
    engine: Option<skep::Engine>,
    running: Vec<Weak<dyn Running>>,
}

/// A container that its engine can end.
pub(crate) trait Running: Send + Sync {
    fn kill(&self);
    fn reap(&self);
}

impl Running for skep::Child {
    fn kill(&self) {
        // It has ended, or this is a forked copy: there is nothing to end, either way.
        let _ = skep::Child::kill(self);
    }

    fn reap(&self) {
        let _ = self.wait_timeout(PATIENCE);
        self.remove_files();
    }
}

impl Running for RwLock<skep::Collector> {
    fn kill(&self) {
        Running::kill(self.read().unwrap_or_else(PoisonError::into_inner).child());
    }

    fn reap(&self) {
        self.read().unwrap_or_else(PoisonError::into_inner).child().reap();
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (store=None))]
    fn new(py: Python<'_>, store: Option<PathBuf>) -> PyResult<Engine> {
        let store = store.unwrap_or_else(|| DEFAULT_STORE.into());
        let engine = py.detach(|| skep::Engine::open(&store)).map_err(raise)?;
        let state = Mutex::new(State { engine: Some(engine), running: Vec::new() });
        Ok(Engine { store, process: std::process::id(), state })
    }

    /// The store's directory.
    #[getter]
    fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// Whether `close` has been called.
    #[getter]
    fn closed(&self) -> bool {
        self.state().engine.is_none()
    }

    #[getter]
    fn images(slf: Py<Self>) -> Images {
        Images::new(slf)
    }

    /// Kills what still runs, waits for its end and removes what is left of it.
    fn close(&self, py: Python<'_>) {
        let (engine, running) = {
            let mut state = self.state();
            (state.engine.take(), std::mem::take(&mut state.running))
        };
        if self.is_copied() {
            return;
        }
        py.detach(|| {
            let running: Vec<_> = running.iter().filter_map(Weak::upgrade).collect();
            running.iter().for_each(|container| container.kill());
            running.iter().for_each(|container| container.reap());
            drop((running, engine));
        });
    }
}

impl Engine {
    /// Core's engine, while this is open, and not in a forked copy.
    pub(crate) fn open(&self) -> PyResult<skep::Engine> {
        if self.is_copied() {
            return Err(copied(&self.store.display().to_string()));
        }
        let engine = self.state().engine.clone();
        engine.ok_or_else(|| closed(&self.store.display().to_string()))
    }

    /// Has `close` end `container`, too. It may have come while the container was started.
    pub(crate) fn adopt<T: Running + 'static>(
        &self,
        py: Python<'_>,
        container: &Arc<T>,
    ) -> PyResult<()> {
        {
            let mut state = self.state();
            if state.engine.is_some() {
                state.running.retain(|container| container.strong_count() > 0);
                let weak: Weak<T> = Arc::downgrade(container);
                state.running.push(weak);
                return Ok(());
            }
        }
        py.detach(|| {
            container.kill();
            container.reap();
        });
        self.open().map(drop)
    }

    fn is_copied(&self) -> bool {
        self.process != std::process::id()
    }

    /// Only ever held with the GIL, for an instant: a fork, which Python does with the GIL too,
    /// never copies it locked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
