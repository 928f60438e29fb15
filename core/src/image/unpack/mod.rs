//! Unpacks one layer's archive into a directory that overlayfs stacks.
//!
//! In goes an [`Archive`] and what lies below the layer, out comes a directory: whiteouts become
//! what overlayfs takes for them, everything else is as the archive says. Nothing is published,
//! synced or verified here: the caller unpacks beside, checks the digest, and renames.
//!
//! The archive is hostile. Its names never reach the kernel as paths: directories are entered one
//! name at a time (`tree`), so that symlinks lead nowhere but into the layer, and what only the
//! lower layers have (a parent directory, `lib` as a symlink to `usr/lib`, a hardlink's target) is
//! found there.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/layer.md>

mod attributes;
mod lower;
mod name;
mod tree;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::tar::{Archive, Entry, Kind};
use crate::{Error, ErrorKind, Result};
use attributes::Attributes;
pub(super) use attributes::{MAX_XATTR, is_kept};
pub(super) use lower::is_opaque;
pub(crate) use lower::{Lowers, open_root};
pub(super) use tree::is_whiteout;
use tree::{Dir, Tree};

/// Why an entry could not be unpacked; becomes an [`Error`] in one place, which knows the names.
enum Reason {
    /// The kernel said no.
    Os(Errno),
    /// The layer makes no sense, or means harm.
    Invalid(&'static str),
    /// The archive could not be read.
    Archive(Error),
}

type Outcome<T> = std::result::Result<T, Reason>;

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Reason::Os(errno)
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        Reason::Archive(error)
    }
}

/// Unpacks `archive` into the empty directory `root`, whose mode and owner become the layer's
/// root's. `lowers` are the layers below, complete; `subject` names the layer in errors.
///
/// What was unpacked before an error stays in `root`.
///
/// # Errors
/// `InvalidData` if the archive is malformed or hostile, `Unsupported` for an entry of an unknown
/// type, `PermissionDenied` without the rights to set owners and make devices,
/// `ResourceExhausted` if the disk is full.
pub(crate) fn unpack<R: std::io::BufRead>(
    archive: &mut Archive<R>,
    root: BorrowedFd<'_>,
    lowers: &Lowers,
    subject: &str,
) -> Result<()> {
    let in_layer = |reason| explain(reason, subject.to_owned());
    let mut tree = Tree::new(root, lowers).map_err(in_layer)?;
    while let Some(entry) = archive.next()? {
        if let Err(reason) = unpack_entry(&mut tree, archive, &entry) {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            return Err(explain(reason, format!("{name:?} of {subject}")));
        }
    }
    tree.finish().map_err(in_layer)
}

fn explain(reason: Reason, subject: String) -> Error {
    match reason {
        Reason::Archive(error) => error,
        Reason::Invalid(cause) => {
            Error::new(ErrorKind::InvalidData, "unpack", subject).cause(cause)
        }
        Reason::Os(errno) => {
            let error = Error::os("unpack", subject, errno);
            match errno {
                // What only the archive's names can bring about.
                Errno::NAMETOOLONG | Errno::INVAL | Errno::LOOP | Errno::NOTDIR | Errno::MLINK => {
                    error.with_kind(ErrorKind::InvalidData)
                }
                // An xattr, or its name, larger than the kernel takes.
                Errno::TOOBIG | Errno::RANGE => error.with_kind(ErrorKind::InvalidData),
                _ => error,
            }
        }
    }
}

fn unpack_entry<R: std::io::BufRead>(
    tree: &mut Tree<'_>,
    archive: &mut Archive<R>,
    entry: &Entry,
) -> Outcome<()> {
    let path = name::clean(&entry.name)?;
    let Some((parent, name)) = name::split(&path) else {
        return match entry.kind {
            Kind::Directory => set_root(tree, entry),
            _ => Err(Reason::Invalid("the layer's root is not a directory")),
        };
    };
    if let Some(hidden) = name.strip_prefix(b".wh.") {
        return whiteout(tree, parent, hidden);
    }
    // AUFS's own, in old archives.
    if parent.split(|byte| *byte == b'/').any(|name| name.starts_with(b".wh..wh.")) {
        return Ok(());
    }
    let parent = tree.directory(parent)?;
    match entry.kind {
        Kind::Directory => directory(tree, &parent, name, entry),
        Kind::File => file(tree, archive, &parent, name, entry),
        Kind::Hardlink => hardlink(tree, &parent, name, &entry.target),
        Kind::Symlink => {
            tree.place(&parent, name, |dir, name| {
                rustix::fs::symlinkat(&*entry.target, dir, name)
            })?;
            Attributes::of(entry).apply_at(parent.fd.as_fd(), name, FileType::Symlink)
        }
        Kind::Fifo => special(tree, &parent, name, entry, FileType::Fifo),
        Kind::BlockDevice => special(tree, &parent, name, entry, FileType::BlockDevice),
        // Overlayfs takes it for a whiteout, whoever made it.
        Kind::CharacterDevice if entry.device == (0, 0) => tree.cut_name(&parent, name),
        Kind::CharacterDevice => special(tree, &parent, name, entry, FileType::CharacterDevice),
    }
}

/// `.wh.name` hides `name` of the lower layers, `.wh..wh..opq` all that its directory has there.
/// The entries of this layer stay, wherever they stand in the archive.
fn whiteout(tree: &mut Tree<'_>, parent: &[u8], hidden: &[u8]) -> Outcome<()> {
    match hidden {
        b".wh..opq" => {
            let dir = tree.directory(parent)?;
            tree.cut_directory(&dir)
        }
        // AUFS's own bookkeeping, in old archives.
        hidden if hidden.starts_with(b".wh.") => Ok(()),
        b"" | b"." | b".." => Err(Reason::Invalid("a whiteout names no file")),
        hidden => {
            let dir = tree.directory(parent)?;
            tree.cut_name(&dir, hidden)
        }
    }
}

fn set_root(tree: &mut Tree<'_>, entry: &Entry) -> Outcome<()> {
    let root = tree.root();
    Attributes::of(entry).apply(&root.open()?)?;
    tree.date(&root, entry.mtime)
}

fn directory(tree: &mut Tree<'_>, parent: &Dir, name: &[u8], entry: &Entry) -> Outcome<()> {
    let dir = tree.make_directory(parent, name)?;
    Attributes::of(entry).apply(&*dir.fd)?;
    tree.date(&dir, entry.mtime)
}

fn file<R: std::io::BufRead>(
    tree: &mut Tree<'_>,
    archive: &mut Archive<R>,
    parent: &Dir,
    name: &[u8],
    entry: &Entry,
) -> Outcome<()> {
    let attributes = Attributes::of(entry);
    let mode = attributes.first_mode();
    let file = tree.place(parent, name, |dir, name| create(dir, name, mode))?;
    match &entry.segments {
        None => {
            archive.copy(entry.size, |piece| write_all(&file, piece))?;
        }
        Some(segments) => {
            let stored: u64 = segments.iter().map(|segment| segment.length).sum();
            tree.budget().take(entry.size - stored, "image")?;
            rustix::fs::ftruncate(&file, entry.size)?;
            for segment in segments {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(segment.offset))?;
                archive.copy(segment.length, |piece| write_all(&file, piece))?;
            }
        }
    }
    attributes.apply(&file)?;
    attributes.date(&file)
}

/// Creates a file that must not exist. Nobody else gets at it before all is set: a layer's directory
/// is its owner's alone.
fn create(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, mode)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Outcome<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn special(
    tree: &mut Tree<'_>,
    parent: &Dir,
    name: &[u8],
    entry: &Entry,
    kind: FileType,
) -> Outcome<()> {
    let (major, minor) = entry.device;
    let device = rustix::fs::makedev(major, minor);
    tree.place(parent, name, |dir, name| {
        rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)
    })?;
    Attributes::of(entry).apply_at(parent.fd.as_fd(), name, kind)
}

/// Links `name` to a file of this layer, or to one that only the layers below have: that one is
/// copied up under its own name first, so that both stay one file.
fn hardlink(tree: &mut Tree<'_>, parent: &Dir, name: &[u8], target: &[u8]) -> Outcome<()> {
    const MISSING: Reason = Reason::Invalid("its target does not exist");
    let target = name::clean(target)?;
    let (target_parent, target) = name::split(&target).ok_or(MISSING)?;
    let from = tree.directory(target_parent)?;
    let stat = match tree.stat(&from, target)? {
        Some(stat) => stat,
        None => {
            tree.copy_up(&from, target)?.ok_or(MISSING)?;
            tree.stat(&from, target)?.ok_or(MISSING)?
        }
    };
    if tree::is_whiteout(&stat) {
        return Err(MISSING);
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Reason::Invalid("its target is a directory"));
    }
    if let Some(existing) = tree.stat(parent, name)?
        && (existing.st_dev, existing.st_ino) == (stat.st_dev, stat.st_ino)
    {
        return Ok(());
    }
    let linked = tree.place(parent, name, |dir, name| {
        rustix::fs::linkat(&*from.fd, target, dir, name, rustix::fs::AtFlags::empty())
    });
    match linked {
        // It replaced a directory that held its own target.
        Err(Reason::Os(Errno::NOENT)) => Err(MISSING),
        linked => linked,
    }
}

#[cfg(test)]
mod tests;
