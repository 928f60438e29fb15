//! Names that come from an image or an archive, resolved only below a directory.
//!
//! The kernel does the confining (openat2(2)), because checking a path and then opening it is a
//! race, and because a symlink in the middle of a path cannot be seen by looking at its text.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// How deep [`remove_tree`] goes before it hoists: one open directory a level.
const MAX_OPEN_LEVELS: usize = 64;

/// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: `path` may neither climb out of `dir`
/// nor be absolute (EXDEV), nor go through a symlink or name one (ELOOP, or ENOTDIR where a
/// directory is asked for).
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: impl Arg, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    path.into_with_c_str(|path| {
        loop {
            // EAGAIN: a rename elsewhere on the system made the walk's result uncertain.
            match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    })
}

/// [`remove_tree`] of a path that ends in a name; nothing there is well.
pub(crate) fn remove_path(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(parent, flags, Mode::empty()) {
        Ok(parent) => remove_tree(parent.as_fd(), name),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes `name` in `parent` and, if it is a directory, everything below it.
///
/// Nothing is followed, nothing is an error that is already gone, and the number of open files is
/// bounded however deep a hostile tree is: what lies deeper than [`MAX_OPEN_LEVELS`] is first
/// renamed into `parent`.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: impl Arg) -> Result<()> {
    let name = name.into_c_str()?.into_owned();
    let mut doomed = vec![name];
    while let Some(name) = doomed.pop() {
        remove(parent, &name, parent, &mut doomed, 0)?;
    }
    Ok(())
}

fn remove(
    dir: BorrowedFd<'_>,
    name: &CString,
    top: BorrowedFd<'_>,
    hoisted: &mut Vec<CString>,
    depth: usize,
) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    if depth == MAX_OPEN_LEVELS {
        let refuge = CString::new(format!(".skep-{}", crate::id::random()))
            .expect("hexadecimal digits are not NUL");
        rustix::fs::renameat(dir, name, top, &refuge)?;
        hoisted.push(refuge);
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    loop {
        for entry in Dir::read_from(&inner)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                remove(inner.as_fd(), &entry.file_name().to_owned(), top, hoisted, depth + 1)?;
            }
        }
        // Some file systems skip names while others are being removed: read it again.
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => {}
            Err(Errno::NOENT) => return Ok(()),
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn open(path: &std::path::Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn climbing_and_absolute_names_are_refused() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let root = open(dir.path());
        symlink("/etc", dir.path().join("out")).unwrap();
        for path in ["../x", "/etc", "out/passwd", "a/../../x"] {
            let error = open_beneath(root.as_fd(), path, OFlags::PATH).unwrap_err();
            assert!(matches!(error, Errno::XDEV | Errno::NOENT | Errno::LOOP), "{path}: {error}");
        }
    }

    #[test]
    fn a_tree_deeper_than_the_open_file_limit_goes() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let root = open(dir.path());
        let kept = dir.path().join("kept");
        std::fs::write(&kept, "").unwrap();
        rustix::fs::mkdirat(&root, "deep", Mode::RWXU).unwrap();
        let mut inner = open_beneath(root.as_fd(), "deep", OFlags::DIRECTORY).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&inner, "d", Mode::RWXU).unwrap();
            rustix::fs::symlinkat("/", &inner, "up").unwrap();
            inner = open_beneath(inner.as_fd(), "d", OFlags::DIRECTORY).unwrap();
        }
        remove_tree(root.as_fd(), "deep").unwrap();
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [kept]);
    }
}
