//! The files of a container: made an image of, exported, compared.
//!
//! What a container writes is a directory in the store, which lives as long as the container, or
//! as its handle: see [`Command::keep_files`](super::Command::keep_files).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::child::Child;
use super::root::Root;
use super::roots::MountedRoot;
use super::seat::Seat;
use crate::cancel::Cancel;
use crate::image::{Change, Commit, Image, Lease, diff_trees, export_tree};
use crate::sys::mount;
use crate::{Error, ErrorKind, Result};

/// What a container's root is made of, and what keeps it there. In this order, for the root to be
/// removed first.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: Arc<MountedRoot>,
    source: Root,
    cancel: Option<Cancel>,
    /// Keeps the image from being removed.
    _lease: Option<Arc<Lease>>,
    /// Keeps the keeper, and the directory that all is in.
    seat: Arc<Seat>,
}

impl Files {
    pub(super) fn new(
        root: MountedRoot,
        source: Root,
        lease: Option<Arc<Lease>>,
        seat: Arc<Seat>,
    ) -> Files {
        Files { root: Arc::new(root), source, cancel: None, _lease: lease, seat }
    }

    /// Gives them up: the root is used again if it can be, and removed otherwise.
    pub(super) fn give_back(self, sealed: bool) {
        let Files { root, seat, .. } = self;
        // Someone who still reads it is the one that removes it.
        if let Some(root) = Arc::into_inner(root) {
            seat.roots.give_back(root, sealed);
        }
    }

    /// What ends a look at them: what ends the operations of the image that they began with, unless
    /// they were told of another.
    fn cancel(&self) -> Cancel {
        match (&self.cancel, &self.source) {
            (Some(cancel), _) => cancel.clone(),
            (None, Root::Image(image)) => image.cancel().clone(),
            (None, Root::Directory(_)) => Cancel::never(),
        }
    }

    fn commit(&self, child: &Child, commit: &Commit) -> Result<Image> {
        match &self.source {
            // The image that is made has what the one it is made of has.
            Root::Image(image) => match &self.cancel {
                Some(cancel) => image.cancellable(cancel).commit(self.root.upper(), commit),
                None => image.commit(self.root.upper(), commit),
            },
            Root::Directory(path) => Err(Error::new(
                ErrorKind::InvalidInput,
                "commit",
                format!("container {}", child.id()),
            )
            .cause(format!("its root is the directory {}, no image", path.display()))
            .fix("export it, and import the archive")),
        }
    }

    fn export(&self, path: &Path) -> Result<()> {
        let cancel = self.cancel();
        cancel.run("export to", &path.display().to_string(), || {
            let mut below = self.below()?;
            below.layers.push(self.root.upper());
            export_tree(&below.layers, path, &cancel)
        })
    }

    fn diff(&self, child: &Child) -> Result<Vec<Change>> {
        let cancel = self.cancel();
        cancel.run("compare", &format!("container {}", child.id()), || {
            let below = self.below()?;
            let mut all = below.layers.clone();
            all.push(self.root.upper());
            diff_trees(&below.layers, &all, &cancel)
        })
    }

    /// The layers below what the container writes, bottom first.
    fn below(&self) -> Result<Below> {
        Ok(match &self.source {
            Root::Image(image) => Below { layers: image.layers()?, _mount: None },
            // Of the host's directory, the container sees nothing that is mounted in it.
            Root::Directory(path) => {
                let mount = mount::clone_tree(path, false)
                    .map_err(|errno| Error::os("read", path.display().to_string(), errno))?;
                let layers = vec![path_of(&mount)];
                Below { layers, _mount: Some(mount) }
            }
        })
    }
}

struct Below {
    layers: Vec<PathBuf>,
    _mount: Option<std::os::fd::OwnedFd>,
}

fn path_of(mount: &std::os::fd::OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", mount.as_raw_fd()).into()
}

impl Child {
    /// Makes an image of the container's own and of what it has written, as `docker commit` does.
    ///
    /// It may run, have ended and not been waited for, or have its files
    /// [kept](super::Command::keep_files). One that runs is not stopped meanwhile: each file is in the
    /// image as it is when it is read, and what vanishes then is not.
    ///
    /// ```no_run
    /// use skep::Engine;
    /// use skep::image::Commit;
    ///
    /// let engine = Engine::open_default()?;
    /// let base = engine.images().find("localhost/app:1")?;
    /// let install = ["sh", "-c", "echo hello > /srv/greeting"];
    /// let child = engine.command(&base).args(install).keep_files(true).spawn()?;
    /// assert!(child.wait()?.success());
    /// let image = child.commit(&Commit::new().reference("localhost/app:2"))?;
    /// assert_eq!(image.diff(&base)?.len(), 1);
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` if its root is a directory, `InvalidState` if its files are gone, those of
    /// [`Image::commit`].
    pub fn commit(&self, commit: &Commit) -> Result<Image> {
        self.files("commit")?.commit(self, commit)
    }

    /// Writes all files of the container's root as one tar archive, as
    /// [`Image::export`] does; file systems mounted in it are left out. The container's state is as
    /// for [`commit`](Self::commit).
    ///
    /// # Errors
    /// `InvalidState` if its files are gone, those of [`Image::export`].
    pub fn export(&self, path: impl AsRef<Path>) -> Result<()> {
        self.files("export")?.export(path.as_ref())
    }

    /// What the container has changed of its root, by path; see [`Image::diff`]. Its state is as for
    /// [`commit`](Self::commit).
    ///
    /// # Errors
    /// `InvalidState` if its files are gone, those of reading them.
    pub fn diff(&self) -> Result<Vec<Change>> {
        self.files("compare")?.diff(self)
    }

    /// The same container, for a commit, an export or a comparison that `cancel` ends, and nothing
    /// else; without, what ends those of its image does. See
    /// [`Images::cancellable`](crate::Images::cancellable).
    pub fn cancellable(&self, cancel: &Cancel) -> CancellableChild<'_> {
        CancellableChild { child: self, cancel: cancel.clone() }
    }

    fn files(&self, operation: &'static str) -> Result<Files> {
        self.check_host(operation)?;
        self.current_files().ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, operation, format!("container {}", self.id()))
                .cause("its files were removed at its end")
                .fix("have them kept, with keep_files")
        })
    }
}

/// A container whose files are looked at until that is cancelled; see [`Child::cancellable`].
#[derive(Debug)]
pub struct CancellableChild<'a> {
    child: &'a Child,
    cancel: Cancel,
}

impl CancellableChild<'_> {
    /// As [`Child::commit`]; what ends it ends operations on the image that it makes, too.
    ///
    /// # Errors
    /// Those of [`Child::commit`], and `Cancelled`.
    pub fn commit(&self, commit: &Commit) -> Result<Image> {
        self.files("commit")?.commit(self.child, commit)
    }

    /// As [`Child::export`].
    ///
    /// # Errors
    /// Those of [`Child::export`], and `Cancelled`.
    pub fn export(&self, path: impl AsRef<Path>) -> Result<()> {
        self.files("export")?.export(path.as_ref())
    }

    /// As [`Child::diff`].
    ///
    /// # Errors
    /// Those of [`Child::diff`], and `Cancelled`.
    pub fn diff(&self) -> Result<Vec<Change>> {
        self.files("compare")?.diff(self.child)
    }

    fn files(&self, operation: &'static str) -> Result<Files> {
        Ok(Files { cancel: Some(self.cancel.clone()), ..self.child.files(operation)? })
    }
}
