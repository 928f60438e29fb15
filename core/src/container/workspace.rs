//! A container's directory in the store.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sys::{fork, path};
use crate::{Error, ErrorKind, Result};

/// `upper` and `work` of a container's root. Removed with this, and with it all that the container
/// has written.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    /// Whose it is: a forked copy removes nothing.
    host: fork::Process,
}

/// When the upper directory was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    seconds: i64,
    nanoseconds: i64,
}

impl Workspace {
    /// Makes both in `owner`'s directory. The upper one looks like `lower`: its mode and owner are
    /// those of the container's root directory.
    pub(super) fn new(owner: &Path, id: &str, lower: &Path) -> Result<Workspace> {
        let subject = || lower.display().to_string();
        let like =
            fs::metadata(lower).map_err(|error| Error::os("use as root", subject(), error))?;
        if !like.is_dir() {
            let error = std::io::Error::from_raw_os_error(nix::libc::ENOTDIR);
            return Err(Error::os("use as root", subject(), error)
                .with_kind(ErrorKind::NotFound)
                .cause(format!("there is no directory {}", subject())));
        }
        let path = owner.join(id);
        let failed = |error| Error::os("make a directory for", format!("container {id}"), error);
        let private = |path: &Path| fs::DirBuilder::new().mode(0o700).create(path);
        private(&path).map_err(failed)?;
        let workspace = Workspace { path, host: fork::Process::current() };
        private(&workspace.work()).map_err(failed)?;
        let upper = workspace.upper();
        private(&upper).map_err(failed)?;
        // Explicitly: the host's umask is not ours to rely on.
        if (like.uid(), like.gid()) != (0, 0) {
            std::os::unix::fs::chown(&upper, Some(like.uid()), Some(like.gid())).map_err(failed)?;
        }
        let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
        fs::set_permissions(&upper, mode).map_err(failed)?;
        Ok(workspace)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// The time of the last change of the upper directory, if its file system is one that tells any
    /// two changes apart once somebody has looked (multigrain timestamps, Linux 6.13).
    pub(super) fn stamp(&self) -> Option<Stamp> {
        const MULTIGRAIN: [u64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
        let upper = self.upper();
        let magic = rustix::fs::statfs(&upper).ok()?.f_type as u64;
        let upper = fs::metadata(upper).ok().filter(|_| MULTIGRAIN.contains(&magic))?;
        // With one timestamp a second (ext4 with inodes of 128 bytes, ext2) it tells nothing apart;
        // elsewhere, once in a thousand million times, a root is not used again.
        let stamp = Stamp { seconds: upper.ctime(), nanoseconds: upper.ctime_nsec() };
        Some(stamp).filter(|stamp| stamp.nanoseconds != 0)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.host.is_current() {
            // What cannot be removed now, the sweep of the store removes.
            if remove_unused(&self.path).is_err() {
                let _ = path::remove_path(&self.path);
            }
        }
    }
}

/// Removes a directory in which nothing has been written, without opening any file: a start that
/// failed for want of file descriptors has none for this either.
fn remove_unused(path: &Path) -> std::io::Result<()> {
    // Inside of work it is overlay's, as of a mount that is volatile.
    let volatile = "work/work/incompat/volatile";
    let _ = fs::remove_file(path.join(volatile).join("dirty"));
    for inner in [volatile, "work/work/incompat", "work/work", "work", "upper", ""] {
        match fs::remove_dir(path.join(inner)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
