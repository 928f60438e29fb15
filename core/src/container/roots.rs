//! Mounted root file systems, and the pristine ones that are used again.
//!
//! Making an overlay and taking it apart is half of the cost of a short container: directories
//! made and removed on disk, whose journal other programs keep busy. Many containers never write to
//! their root. Such a root, whose upper directory has not changed since it was mounted, is
//! indistinguishable from a new one, and is kept for the next container of the same image.
//!
//! It is kept only if nobody can be left who could still write to it: the container has had no bind
//! mount and no socket for a standard stream, so that no file descriptor can have left it, and all
//! of its processes are dead. Layers of an image do not change; a directory of the host may, and is
//! mounted anew each time.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use super::workspace::{Stamp, Workspace};
use crate::rootfs::overlay;
use crate::sys::mount;
use crate::{Error, Result};

/// As many are kept, of all images of an engine together.
const KEPT: usize = 8;

/// A mounted root with what it is made of. Dropping it removes what was written.
#[derive(Debug)]
pub(super) struct MountedRoot {
    /// Dropped before the workspace that it stands on.
    mount: OwnedFd,
    workspace: Workspace,
    /// The layers, if they do not change.
    layers: Option<Vec<Layer>>,
    /// The upper directory as it was mounted; `None` if this root cannot be used again.
    pristine: Option<Stamp>,
}

/// A layer's directory. Its number tells it from another one at the same path: the mount holds it,
/// so that the number is not given to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layer {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The pristine roots of an engine.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    kept: Mutex<Vec<MountedRoot>>,
}

impl Roots {
    /// A root of `layers`, lowest first: one that is kept, or a new one in `owner`'s directory.
    /// `immutable`: nobody changes the layers.
    pub(super) fn take(
        &self,
        layers: &[PathBuf],
        immutable: bool,
        owner: &Path,
        id: &str,
    ) -> Result<MountedRoot> {
        let wanted = if immutable { identify(layers) } else { None };
        if wanted.is_some() {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(index) = kept.iter().position(|root| root.layers == wanted) {
                return Ok(kept.swap_remove(index));
            }
        }
        let top = layers.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let workspace = Workspace::new(owner, id, top)?;
        let (upper, work) = (workspace.upper(), workspace.work());
        let mount = overlay::mount(layers, overlay::Writable { upper: &upper, work: &work })?;
        let pristine = wanted.as_ref().and_then(|_| workspace.stamp());
        Ok(MountedRoot { mount, workspace, layers: wanted, pristine })
    }

    /// Takes a root back from a container that has ended; keeps it if it is pristine and `sealed`,
    /// and removes it otherwise.
    pub(super) fn give_back(&self, root: MountedRoot, sealed: bool) {
        if !sealed || root.pristine.is_none() || root.workspace.stamp() != root.pristine {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(root);
        let oldest = if kept.len() > KEPT { Some(kept.remove(0)) } else { None };
        // Removing takes its time.
        drop(kept);
        drop(oldest);
    }
}

impl MountedRoot {
    /// The mount, for looking into it.
    pub(super) fn mount(&self) -> &OwnedFd {
        &self.mount
    }

    /// A mount for one container to attach, of the same file system. Before Linux 6.15 a detached
    /// mount cannot be copied: then the only one is given away, and the root is not used again.
    pub(super) fn for_container(&mut self) -> Result<OwnedFd> {
        let failed = |error: std::io::Error| Error::os("mount", "the root file system", error);
        if self.pristine.is_some() {
            match mount::clone_detached(self.mount.as_fd()) {
                Err(Errno::INVAL) => self.pristine = None,
                result => return result.map_err(|errno| failed(errno.into())),
            }
        }
        self.mount.try_clone().map_err(failed)
    }
}

fn identify(layers: &[PathBuf]) -> Option<Vec<Layer>> {
    let layer = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some(Layer { path: path.clone(), device: metadata.dev(), inode: metadata.ino() })
    };
    layers.iter().map(layer).collect()
}
