//! The engine: opens a store, and hands out everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Result;
use crate::cgroup::{self, Cgroups};
use crate::container::seat::Shared;
use crate::container::{Command, Root};
use crate::image::Images;
use crate::store::Store;
use crate::sys::sigpipe;

/// A container engine inside this program.
///
/// Cheap to clone; all clones are the same engine. It needs no thread and no runtime. Its first
/// container starts the *keeper*, a small process that holds all of them; when the last handle is
/// dropped, or the host ends in any way, the keeper ends and its containers with it. A
/// [`Child`](crate::Child) is such a handle too.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    images: Images,
}

impl Engine {
    /// Opens the default store, `/var/lib/skep`; see [`open`](Self::open).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_default() -> Result<Engine> {
        Engine::open("/var/lib/skep")
    }

    /// Opens the store at `path`, which is made if it is not there, and removes what engines that
    /// have crashed left in it: directories, and control groups with the processes in them. Several
    /// processes may use one store, and one process several engines.
    ///
    /// No process is started, and `/proc` is looked at once for the control groups there are.
    ///
    /// ```no_run
    /// use skep::{Engine, Root};
    ///
    /// let engine = Engine::open("/var/lib/myservice/containers")?;
    /// let status = engine.command(Root::host()).args(["echo", "hello"]).status()?;
    /// assert!(status.success());
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidData` for a directory that holds something else or a store of another version,
    /// `Unsupported` on a network file system, `PermissionDenied` without the rights.
    pub fn open(path: impl AsRef<Path>) -> Result<Engine> {
        sigpipe::without_file_size_signal(|| {
            let store = Store::open(path.as_ref())?;
            let cgroups = Cgroups::detect()?;
            store.sweep(|groups: &[PathBuf]| cgroup::sweep(groups))?;
            let images = Images::open(store.root())?;
            Ok(Engine { shared: Arc::new(Shared::new(store, cgroups)), images })
        })
    }

    /// The images of the store.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// A container to be configured and started, from an [`Image`](crate::Image) or another [`Root`].
    pub fn command(&self, root: impl Into<Root>) -> Command {
        Command::new(Arc::clone(&self.shared), root.into())
    }
}
