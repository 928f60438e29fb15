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
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::workspace::{Stamp, Workspace};
use crate::process::assemble;
use crate::process::keeper::{Keeper, StartOptions};
use crate::rootfs::overlay::{self, Mounted};
use crate::sys::mount;
use crate::{Error, ErrorKind, Result};

/// As many are kept, of all images of an engine together.
const KEPT: usize = 8;

/// A mounted root with what it is made of. Dropping it removes what was written.
#[derive(Debug)]
pub(super) struct MountedRoot {
    /// For the next container's copy; `None` if there will be none. Dropped before the workspace
    /// that it stands on.
    mount: Option<OwnedFd>,
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
        keeper: &Arc<Keeper>,
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
        let writable = overlay::Writable { upper: &upper, work: &work };
        let mount = match overlay::mount(layers, writable)? {
            Mounted::Yes(mount) => mount,
            Mounted::NotHere => mount_in_keeper(keeper, layers, &workspace)?,
        };
        let pristine = wanted.as_ref().and_then(|_| workspace.stamp());
        Ok(MountedRoot { mount: Some(mount), workspace, layers: wanted, pristine })
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
    /// A mount for one container to attach, of the same file system. Before Linux 6.15 a detached
    /// mount cannot be copied: then the only one is given away, and the root is not used again.
    pub(super) fn for_container(&mut self) -> Result<OwnedFd> {
        let failed = |errno| Error::os("mount", "the root file system", errno);
        if let (Some(mount), Some(_)) = (&self.mount, self.pristine) {
            match mount::clone_detached(mount.as_fd()) {
                Err(Errno::INVAL | Errno::NOSYS) => {}
                result => return result.map_err(failed),
            }
        }
        self.pristine = None;
        self.mount.take().ok_or_else(|| failed(Errno::INVAL))
    }

    /// What is written to it.
    pub(super) fn upper(&self) -> PathBuf {
        self.workspace.upper()
    }

    /// Gives up being used again, and the file descriptor for it.
    pub(super) fn forget_mount(&mut self) {
        (self.pristine, self.mount) = (None, None);
    }
}

/// Has the keeper mount what cannot be mounted from here.
fn mount_in_keeper(
    keeper: &Arc<Keeper>,
    layers: &[PathBuf],
    workspace: &Workspace,
) -> Result<OwnedFd> {
    if layers.len() > assemble::MAX_LAYERS {
        let subject = format!("an overlay of {} layers", layers.len());
        return Err(Error::new(ErrorKind::Unsupported, "mount", subject)
            .cause(format!("before Linux 6.7 skep stacks at most {}", assemble::MAX_LAYERS)));
    }
    let failed = |path: &Path, errno| Error::os("use as layer", path.display().to_string(), errno);
    let copy = |path: &Path| match mount::clone_tree(path, false) {
        Err(Errno::NOSYS) => copy_in_keeper(keeper, path),
        tree => tree.map_err(|errno| failed(path, errno)),
    };
    let mut trees: Vec<OwnedFd> = layers.iter().map(|path| copy(path)).collect::<Result<_>>()?;
    trees.push(copy(workspace.path())?);
    let plan = assemble::overlay(layers.len());
    let inputs: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
    let running = keeper.start(&plan, &inputs, &StartOptions::default())?;
    running.await_mount(&plan)
}

/// Has the keeper copy the mount at `path` of this process, where open_tree is not known.
fn copy_in_keeper(keeper: &Arc<Keeper>, path: &Path) -> Result<OwnedFd> {
    let plan = assemble::copy(path)?;
    let namespace = fs::File::open(assemble::HOST)
        .map_err(|error| Error::os("open namespace", assemble::HOST, error))?;
    let running = keeper.start(&plan, &[namespace.as_fd()], &StartOptions::default())?;
    running.await_mount(&plan)
}

fn identify(layers: &[PathBuf]) -> Option<Vec<Layer>> {
    let layer = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some(Layer { path: path.clone(), device: metadata.dev(), inode: metadata.ino() })
    };
    layers.iter().map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Cgroups;
    use crate::container::seat::Shared;
    use crate::store::Store;

    /// A seat of a store in `directory`; `None` where mounting is not allowed.
    fn seat(directory: &Path) -> Option<Arc<crate::container::seat::Seat>> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: mounting needs root");
            return None;
        }
        let store = Store::open(&directory.join("store")).unwrap();
        Some(Shared::new(store, Cgroups::detect().unwrap()).seat().unwrap())
    }

    #[test]
    fn the_keeper_copies_mounts_of_the_host() {
        let directory = tempfile::Builder::new().prefix("skep-roots-").tempdir().unwrap();
        let Some(seat) = seat(directory.path()) else { return };
        fs::write(directory.path().join("file"), "of the host").unwrap();
        let tree = copy_in_keeper(&seat.keeper, directory.path()).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::openat(&tree, "file", flags, rustix::fs::Mode::empty()).unwrap();
        assert_eq!(std::io::read_to_string(fs::File::from(file)).unwrap(), "of the host");
        let none = copy_in_keeper(&seat.keeper, &directory.path().join("none")).unwrap_err();
        assert_eq!(none.kind(), crate::ErrorKind::NotFound);
    }

    #[test]
    fn the_keeper_mounts_what_old_kernels_cannot() {
        let directory = tempfile::Builder::new().prefix("skep-roots-").tempdir().unwrap();
        let Some(seat) = seat(directory.path()) else { return };
        let layers: Vec<PathBuf> = (0..130).map(|n| directory.path().join(n.to_string())).collect();
        for (index, layer) in layers.iter().enumerate() {
            fs::create_dir(layer).unwrap();
            fs::write(layer.join(index.to_string()), "").unwrap();
            fs::write(layer.join("top"), index.to_string()).unwrap();
        }
        fs::create_dir_all(layers[0].join("elsewhere/below")).unwrap();
        fs::create_dir(layers[129].join("d")).unwrap();
        let (redirect, flags) = ("trusted.overlay.redirect", rustix::fs::XattrFlags::empty());
        rustix::fs::setxattr(layers[129].join("d"), redirect, b"/elsewhere", flags).unwrap();
        let workspace = Workspace::new(&seat.owned.directory, "c", &layers[0]).unwrap();
        let root = mount_in_keeper(&seat.keeper, &layers, &workspace).unwrap();

        let open = |name: &str, flags| {
            rustix::fs::openat(&root, name, flags, rustix::fs::Mode::from(0o644)).unwrap()
        };
        use rustix::fs::OFlags;
        let top = std::io::read_to_string(fs::File::from(open("top", OFlags::RDONLY))).unwrap();
        assert_eq!(top, "129");
        open("0", OFlags::RDONLY);
        open("elsewhere/below", OFlags::PATH);
        let redirected =
            rustix::fs::openat(&root, "d/below", OFlags::PATH, rustix::fs::Mode::empty());
        redirected.unwrap_err();
        open("written", OFlags::WRONLY | OFlags::CREATE);
        assert!(workspace.upper().join("written").exists());
        assert!(!layers[129].join("written").exists());
    }
}
