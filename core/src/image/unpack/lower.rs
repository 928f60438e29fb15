//! The layers below the one being unpacked, seen as overlayfs would merge them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::tree::{OPAQUE, is_whiteout};
use super::{Outcome, name};
use crate::image::budget::Budget;
use crate::sys::path::open_beneath;

/// The unpacked layers below, top first, and how much the image may still become.
#[derive(Default)]
pub(crate) struct Lowers {
    roots: Vec<OwnedFd>,
    budget: Budget,
}

/// A file of a lower layer: its directory there, its name and what it is.
pub(super) struct Found {
    pub(super) dir: OwnedFd,
    pub(super) name: Vec<u8>,
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a file or directory to read it.
    pub(super) fn open(&self) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.dir.as_fd(), &*self.name, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// What a symlink says.
    pub(super) fn target(&self) -> rustix::io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.dir, &*self.name, Vec::new())?.into_bytes())
    }
}

/// What one layer says of a path.
enum Answer {
    Found(Found),
    /// Ask the next layer below.
    Absent,
    /// It is not there, whatever lies below.
    Hidden,
}

impl Lowers {
    /// None yet.
    pub(crate) fn within(budget: &Budget) -> Self {
        Lowers { roots: Vec::new(), budget: budget.clone() }
    }

    /// For what is not read from an archive, too.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Puts `root` on top.
    pub(crate) fn push(&mut self, root: OwnedFd) {
        self.roots.insert(0, root);
    }

    /// The roots, the lowest first.
    pub(crate) fn bottom_up(&self) -> impl Iterator<Item = &OwnedFd> {
        self.roots.iter().rev()
    }

    /// The root of the topmost layer.
    pub(super) fn top(&self) -> Option<&OwnedFd> {
        self.roots.first()
    }

    /// The file that the merged layers have at `path`, which is clean and resolved: none of its
    /// parents is a symlink in the merged view.
    pub(super) fn find(&self, path: &[u8]) -> Outcome<Option<Found>> {
        for root in &self.roots {
            match probe(root, path)? {
                Answer::Found(found) if is_whiteout(&found.stat) => return Ok(None),
                Answer::Found(found) => return Ok(Some(found)),
                Answer::Hidden => return Ok(None),
                Answer::Absent => {}
            }
        }
        Ok(None)
    }

    /// The names in the merged root directory, each once.
    pub(super) fn root_names(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut names = std::collections::BTreeSet::new();
        for root in &self.roots {
            for entry in rustix::fs::Dir::read_from(root)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if !matches!(&*name, b"." | b"..") {
                    names.insert(name);
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

fn probe(root: &OwnedFd, path: &[u8]) -> Outcome<Answer> {
    let Some((parents, name)) = name::split(path) else {
        return Ok(Answer::Absent);
    };
    let mut dir = root.try_clone().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE))?;
    let mut absent = Answer::Absent;
    for parent in parents.split(|byte| *byte == b'/').filter(|parent| !parent.is_empty()) {
        dir = match open_beneath(dir.as_fd(), parent, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(absent),
            // A whiteout, or any file, in the place of the directory.
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Answer::Hidden),
            Err(errno) => return Err(errno.into()),
        };
        if is_opaque(&dir)? {
            absent = Answer::Hidden;
        }
    }
    match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Answer::Found(Found { dir, name: name.to_vec(), stat })),
        Err(Errno::NOENT) => Ok(absent),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether it hides the same directory in the layers below.
pub(in crate::image) fn is_opaque(dir: &OwnedFd) -> rustix::io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(dir, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens an unpacked layer's `fs` directory.
pub(crate) fn open_root(dir: impl AsFd, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}
