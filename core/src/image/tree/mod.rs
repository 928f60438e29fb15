//! Directory trees of one layer or of several: written as archives, compared.
//!
//! Several layers are seen as overlayfs would merge them, without a mount: [`merged`] reads its
//! marks. [`capture`] writes what is seen into a tar archive, [`diff`] finds what is other in
//! another tree.
//!
//! A tree may belong to a container that runs and means harm. It is walked by file descriptors, one
//! name at a time, and nothing is followed: whatever moves meanwhile, nothing outside is read. What
//! vanishes while it is looked at is left out.

mod capture;
mod diff;
mod merged;
mod size;

pub(super) use capture::{Form, Likeness, Style, capture};
pub(super) use diff::diff;
pub use diff::{Change, ChangeKind};
pub(super) use merged::Directory;
pub(super) use size::disk_usage;

use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// As deep as layers are unpacked; each level is an open file.
const MAX_DEPTH: usize = 256;

/// The error for a file that cannot be read: EXDEV if its contents are elsewhere.
fn unreadable(path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::XDEV => unsupported(path, "overlayfs keeps its contents elsewhere")
            .fix("turn redirect_dir and metacopy of the module overlay off"),
        errno => Error::os("read", shown(path), errno),
    }
}

/// The error for a file that cannot be archived or compared.
fn unsupported(path: &[u8], cause: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "read", shown(path)).cause(cause)
}

/// A path within the tree, which may begin with its slash.
fn shown(path: &[u8]) -> String {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    format!("{:?}", format!("/{}", String::from_utf8_lossy(path)))
}

/// Enters a directory `depth` deep, if that is not too deep.
fn deeper(path: &[u8], depth: usize) -> Result<usize> {
    if depth == MAX_DEPTH {
        return Err(unsupported(path, "it is more than 256 directories deep"));
    }
    Ok(depth + 1)
}

#[cfg(test)]
mod tests;
