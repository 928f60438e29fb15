//! Names that come from an image or an archive, resolved only below a directory.
//!
//! The kernel does the confining (openat2(2)), because checking a path and then opening it is a
//! race, and because a symlink in the middle of a path cannot be seen by looking at its text.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// How deep [`remove_tree`] goes before it hoists: one open directory a level.
const MAX_OPEN_LEVELS: usize = 64;

/// openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS: `path` may neither climb out of `dir`
/// nor be absolute (EXDEV), nor go through a symlink or name one (ELOOP, or ENOTDIR where a
/// directory is asked for; O_PATH opens the symlink itself).
pub(crate) fn open_beneath(dir: BorrowedFd<'_>, path: impl Arg, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    path.into_with_c_str(|path| {
        loop {
            // EAGAIN: a rename elsewhere on the system made the walk's result uncertain.
            match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => return open_by_steps(dir, path, flags),
                result => return result,
            }
        }
    })
}

/// [`open_beneath`] for what stands between a program and the kernel and does not know openat2, as
/// valgrind 3.19: name by name, none of which may be a symlink. Stricter about "..", which it never
/// goes through.
fn open_by_steps(dir: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
    let path = path.to_bytes();
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let mut names: Vec<&[u8]> = names.collect();
    if path[0] == b'/' || names.contains(&&b".."[..]) {
        return Err(Errno::XDEV);
    }
    let last = names.pop().unwrap_or(b".");
    let mut above: Option<OwnedFd> = None;
    for name in names {
        let at = above.as_ref().map_or(dir, AsFd::as_fd);
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        above = Some(rustix::fs::openat(at, name, step, Mode::empty())?);
    }
    let at = above.as_ref().map_or(dir, AsFd::as_fd);
    let inside = path.ends_with(b"/") || path.ends_with(b"/.");
    let directory = if inside { OFlags::DIRECTORY } else { OFlags::empty() };
    rustix::fs::openat(at, last, flags | directory, Mode::empty())
}

/// openat2(2) with RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: symlinks and ".." are followed as if
/// `root` were the root directory. Without that system call, there may be no symlinks.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: impl Arg, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    path.into_with_c_str(|path| {
        loop {
            match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => {
                    let start = path.to_bytes().iter().take_while(|byte| **byte == b'/').count();
                    let below =
                        CString::new(&path.to_bytes()[start..]).map_err(|_| Errno::INVAL)?;
                    return open_by_steps(root, &below, flags | OFlags::NOFOLLOW);
                }
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

    /// With and without the system call.
    #[test]
    fn names_are_found_beneath_step_by_step_too() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let root = open(dir.path());
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/file"), "").unwrap();
        symlink("b", dir.path().join("a/link")).unwrap();
        symlink("/etc", dir.path().join("a/b/out")).unwrap();
        let cases = [
            ("a/b/file", OFlags::RDONLY, Ok(())),
            ("./a//b/./file", OFlags::PATH, Ok(())),
            ("a/b/", OFlags::DIRECTORY, Ok(())),
            (".", OFlags::DIRECTORY, Ok(())),
            ("", OFlags::PATH, Err(Errno::NOENT)),
            ("a/none", OFlags::PATH, Err(Errno::NOENT)),
            ("a/b/file/x", OFlags::PATH, Err(Errno::NOTDIR)),
            ("a/b/file/", OFlags::PATH, Err(Errno::NOTDIR)),
            ("a/b/file/.", OFlags::PATH, Err(Errno::NOTDIR)),
            // The link itself.
            ("a/b/out", OFlags::PATH, Ok(())),
            ("a/b/out", OFlags::DIRECTORY, Err(Errno::NOTDIR)),
            ("a/b/out", OFlags::RDONLY, Err(Errno::LOOP)),
            ("/etc", OFlags::PATH, Err(Errno::XDEV)),
            ("../x", OFlags::PATH, Err(Errno::XDEV)),
        ];
        for (path, flags, expected) in cases {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let name = CString::new(path).unwrap();
            assert_eq!(open_beneath(root.as_fd(), path, flags).map(drop), expected, "{path}");
            assert_eq!(open_by_steps(root.as_fd(), &name, flags).map(drop), expected, "{path}");
        }
        // A symlink on the way: both refuse it, in words of their own.
        for path in ["a/link/file", "a/b/out/passwd"] {
            let name = CString::new(path).unwrap();
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
            assert_eq!(open_beneath(root.as_fd(), path, flags).unwrap_err(), Errno::LOOP);
            assert_eq!(open_by_steps(root.as_fd(), &name, flags).unwrap_err(), Errno::NOTDIR);
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
