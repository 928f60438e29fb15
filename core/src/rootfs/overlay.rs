//! Overlay mounts of read-only layers and one writable directory, made detached.
//!
//! In: layer directories, and the directories for what is written. Out: a mount as a file
//! descriptor, which vanishes with its last holder, so that nothing is left on the host whatever
//! happens. A plan attaches it inside the container's mount namespace.
//!
//! Source: <https://docs.kernel.org/filesystems/overlayfs.html>

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};

use crate::{Error, ErrorKind, Result};

/// Where a container's own files go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writable<'a> {
    /// What the container writes.
    pub(crate) upper: &'a Path,
    /// The kernel's scratch directory, on the same file system.
    pub(crate) work: &'a Path,
}

/// What came of a mount.
#[derive(Debug)]
pub(crate) enum Mounted {
    Yes(OwnedFd),
    /// The keeper has to mount it: this kernel takes no more than a few layers here (before Linux
    /// 6.7), or what stands between this program and the kernel does not know fsopen (valgrind 3.19).
    NotHere,
}

/// As many names of layers as fit 255 bytes.
const MAX_JOINED: usize = 12;

/// The most layers that the kernel stacks (OVL_MAX_STACK).
const MAX_LAYERS: usize = 500;

/// What some distributions' kernels (Arch's) do if nobody says otherwise. Directories that were
/// renamed and files whose attributes alone were changed would have their contents in a layer below,
/// under any name: an upper directory could not be read without the mount, to commit it. And what marks
/// such files in a layer is an image's to write.
const FEATURES: [(&CStr, &str); 3] =
    [(c"redirect_dir", "nofollow"), (c"metacopy", "off"), (c"index", "off")];

/// Set once the kernel has shown that it does not know `lowerdir+` (before Linux 6.7).
static NO_LOWERDIR_PLUS: AtomicBool = AtomicBool::new(false);

/// Mounts `layers` (lowest first) under `writable`.
///
/// `volatile`: what is written need not survive a crash of the machine, and no sync is done when
/// the mount goes: an attached container does not outlive its host, let alone the machine.
///
/// # Errors
/// `InvalidInput` without layers or above 500 of them, `NotFound` if a directory is missing,
/// `Unsupported` if the file system of `writable` cannot be an upper layer, `PermissionDenied`
/// without CAP_SYS_ADMIN.
pub(crate) fn mount(layers: &[PathBuf], writable: Writable<'_>) -> Result<Mounted> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(Error::new(ErrorKind::InvalidInput, "mount", "an overlay")
            .cause(format!("it has {} layers, of 1 to {MAX_LAYERS}", layers.len())));
    }
    let explained = |errno| explain(errno, layers, writable);
    if !NO_LOWERDIR_PLUS.load(Ordering::Relaxed) {
        match each_layer(layers, writable) {
            // Older kernels take the option and refuse it only at the end.
            Err(Errno::INVAL) => {}
            Err(Errno::NOSYS) => return Ok(Mounted::NotHere),
            result => return result.map(Mounted::Yes).map_err(explained),
        }
    }
    if layers.len() > MAX_JOINED {
        return Ok(Mounted::NotHere);
    }
    let mount = joined_layers(layers, writable).map_err(explained)?;
    NO_LOWERDIR_PLUS.store(true, Ordering::Relaxed);
    Ok(Mounted::Yes(mount))
}

/// One `lowerdir+` for each layer, highest first (Linux 6.7). Each is looked up at once, so that its
/// file descriptor is not needed longer.
fn each_layer(layers: &[PathBuf], writable: Writable<'_>) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers.iter().rev() {
        let layer = open_directory(layer)?;
        fsconfig_set_string(context.as_fd(), c"lowerdir+", name(&layer))?;
    }
    finish(context, writable)
}

/// All layers in one `lowerdir`, highest first.
fn joined_layers(layers: &[PathBuf], writable: Writable<'_>) -> Result<OwnedFd, Errno> {
    let layers = layers.iter().rev().map(|layer| open_directory(layer));
    let layers = layers.collect::<Result<Vec<OwnedFd>, _>>()?;
    let names: Vec<String> = layers.iter().map(name).collect();
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"lowerdir", names.join(":"))?;
    finish(context, writable)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// A directory's name for an option of overlay's. Not its path: that may be longer than the 255
/// bytes of an option, or have commas, colons and backslashes, which mean something there; and a
/// container reads these names in its `/proc/mounts`, which is no place for paths of the host.
fn name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

fn finish(context: OwnedFd, writable: Writable<'_>) -> Result<OwnedFd, Errno> {
    let context: BorrowedFd<'_> = context.as_fd();
    // Before Linux 6.5 they are looked up at the end.
    let (upper, work) = (open_directory(writable.upper)?, open_directory(writable.work)?);
    fsconfig_set_string(context, c"upperdir", name(&upper))?;
    fsconfig_set_string(context, c"workdir", name(&work))?;
    fsconfig_set_flag(context, c"volatile")?;
    for (feature, off) in FEATURES {
        fsconfig_set_string(context, feature, off)?;
    }
    fsconfig_create(context)?;
    // No devices but those that the container's /dev binds.
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
}

fn explain(errno: Errno, layers: &[PathBuf], writable: Writable<'_>) -> Error {
    let subject = format!("an overlay of {} layers", layers.len());
    let error = Error::os("mount", subject, errno);
    let missing = layers.iter().find(|layer| !layer.is_dir());
    match (missing, errno) {
        (Some(layer), _) => error
            .with_kind(ErrorKind::NotFound)
            .cause(format!("there is no directory {}", layer.display())),
        (None, Errno::INVAL) => error.with_kind(ErrorKind::Unsupported).cause(format!(
            "the file system of {} cannot be an overlay's upper layer",
            writable.upper.display()
        )),
        (None, Errno::PERM) => error.fix("run as root: skep does not run rootless yet"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::XattrFlags;
    use std::fs;

    #[test]
    fn contents_are_never_those_of_another_name() {
        if !rustix::process::geteuid().is_root() {
            return println!("skipped: mounting needs root");
        }
        let directory = tempfile::Builder::new().prefix("skep-overlay-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["low/elsewhere", "top/d", "upper", "work"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("low/elsewhere/f"), "").unwrap();
        let redirect = "trusted.overlay.redirect";
        rustix::fs::setxattr(at("top/d"), redirect, b"/elsewhere", XattrFlags::empty()).unwrap();
        let (upper, work) = (at("upper"), at("work"));
        let writable = Writable { upper: &upper, work: &work };
        let Mounted::Yes(root) = mount(&[at("low"), at("top")], writable).unwrap() else {
            return println!("skipped: this kernel knows no fsopen");
        };
        let open = |name: &str| rustix::fs::openat(&root, name, OFlags::PATH, Mode::empty());
        open("elsewhere/f").unwrap();
        open("d/f").unwrap_err();
    }
}
