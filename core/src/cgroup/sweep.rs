//! Clearing up after an owner that died.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs;
use rustix::io::Errno;
use rustix::process::Signal;

use super::{MARK, file, tree};
use crate::{Error, ErrorKind, Result};

/// Types of the cgroup file systems, by statfs(2), from linux/magic.h.
const MAGIC: [i64; 2] = [0x0027_e0eb, 0x6367_7270];

const PATIENCE: Duration = Duration::from_secs(2);

const NOT_ABSOLUTE: &str = "it is not an absolute path";

/// Kills what still runs in the groups below `directories`, and removes them all; the directories
/// are what [`Parent::directories`](super::Parent::directories) said when their owner lived.
///
/// That one does not exist is success. Every one of them is tried, with two seconds of patience for
/// each.
///
/// # Errors
/// Of the first that failed: `InvalidInput` for a path that is not absolute, has no component
/// `skep` before its last, or is not on a cgroup file system; `InUse` if a process in it cannot be
/// killed or seen.
pub fn sweep(directories: &[PathBuf]) -> Result<()> {
    let mut outcome = Ok(());
    for directory in directories {
        outcome = outcome.and(sweep_one(directory));
    }
    outcome
}

/// Kills what still runs in groups that were [kept](super::Group::keep), and removes them.
///
/// Otherwise as [`sweep`], wherever the groups are: give only what `keep` returned.
///
/// # Errors
/// As [`sweep`].
pub fn remove(directories: &[PathBuf]) -> Result<()> {
    let mut outcome = Ok(());
    for directory in directories {
        let removed = match split(directory) {
            Some((above, name)) => clear(directory, above, name),
            None => Err(refuse(directory, NOT_ABSOLUTE)),
        };
        outcome = outcome.and(removed);
    }
    outcome
}

/// Sends `signal` once to each process of a group that was [kept](super::Group::keep), and of those
/// inside it; a process that is forked meanwhile may miss it.
///
/// # Errors
/// As [`sweep`], and `InvalidInput` for a number that is no signal's.
pub fn signal(directories: &[PathBuf], signal: i32) -> Result<()> {
    let signal = Signal::from_named_raw(signal).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "send signal", signal.to_string())
            .cause("it is not the number of a signal")
    })?;
    // All hierarchies have the same processes.
    let Some(directory) = directories.first() else { return Ok(()) };
    let (above, name) = split(directory).ok_or_else(|| refuse(directory, NOT_ABSOLUTE))?;
    let Some(parent) = open_above(directory, above)? else { return Ok(()) };
    tree::signal(&parent, name, signal)
        .map_err(|errno| Error::os("signal cgroup", directory.display().to_string(), errno))
}

fn sweep_one(directory: &Path) -> Result<()> {
    let marked = |above: &Path| above.iter().any(|component| component == OsStr::new(MARK));
    let Some((above, name)) = split(directory).filter(|(above, _)| marked(above)) else {
        return Err(refuse(directory, "it is not an absolute path below a component \"skep\""));
    };
    clear(directory, above, name)?;
    if above.ends_with(MARK) {
        let _ = fs::rmdir(above); // The last owner's sweep removes this as well.
    }
    Ok(())
}

fn clear(directory: &Path, above: &Path, name: &str) -> Result<()> {
    let error = |errno: Errno| Error::os("sweep cgroup", directory.display().to_string(), errno);
    let Some(parent) = open_above(directory, above)? else { return Ok(()) };
    let deadline = Instant::now() + PATIENCE;
    let killed = tree::kill(&parent, name, deadline);
    let removed = tree::remove(&parent, name, deadline);
    killed.and(removed).map_err(|errno| match errno {
        Errno::TIMEDOUT => error(Errno::BUSY).cause("a process in it cannot be killed from here"),
        errno => error(errno),
    })
}

/// Opens the directory that `directory` is in; `None` if there is none.
fn open_above(directory: &Path, above: &Path) -> Result<Option<OwnedFd>> {
    let error = |errno: Errno| Error::os("open cgroup", directory.display().to_string(), errno);
    let parent = match file::open_directory(fs::CWD, above) {
        Err(Errno::NOENT) => return Ok(None),
        parent => parent.map_err(error)?,
    };
    // A list of pids in an ordinary file must never get anybody killed.
    let file_system = fs::fstatfs(&parent).map_err(error)?.f_type;
    #[allow(clippy::unnecessary_cast)] // its type differs between architectures
    if !MAGIC.contains(&(file_system as i64)) {
        return Err(refuse(directory, "it is not on a cgroup file system"));
    }
    Ok(Some(parent))
}

/// Splits off the last component, if the path is absolute and plain.
fn split(directory: &Path) -> Option<(&Path, &str)> {
    let (parent, name) = (directory.parent()?, directory.file_name()?.to_str()?);
    let mut components = directory.components();
    let plain = components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)));
    plain.then_some((parent, name))
}

fn refuse(directory: &Path, cause: &'static str) -> Error {
    let subject = directory.display().to_string();
    Error::new(ErrorKind::InvalidInput, "sweep cgroup", subject).cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_below_a_component_skep() {
        let split = |path: &'static str| split(Path::new(path));
        assert_eq!(split("/c/memory/skep/1"), Some((Path::new("/c/memory/skep"), "1")));
        assert_eq!(split("/c/a/skep/1/2"), Some((Path::new("/c/a/skep/1"), "2")));
        for path in ["skep/1", "/c/skep/..", "/c/skep/../1", "/", ""] {
            assert_eq!(split(path), None, "{path}");
        }
        for path in ["/c/skep", "/c/skeps/1", "skep/1", "/c/skep/..", "/c/skep/../1", "/", ""] {
            let error = sweep_one(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn an_ordinary_directory_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("skep/owner");
        std::fs::create_dir_all(&path).unwrap();
        let error = sweep(std::slice::from_ref(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(path.exists());
        sweep(&[directory.path().join("skep-gone/skep/owner")]).unwrap();
    }
}
