//! Control files: small, read and written whole, named relative to a directory that is held open.

use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno};
use rustix::path::Arg;

/// Writes `text` into the control file at `path`, by one write(2), as the kernel wants it.
pub(super) fn write(directory: impl AsFd, path: impl Arg, text: &str) -> Result<(), Errno> {
    let file = open(directory, path, OFlags::WRONLY)?;
    // A control file takes all or fails: there are no short writes.
    io::retry_on_intr(|| io::write(&file, text.as_bytes()))?;
    Ok(())
}

/// Reads the control file at `path`; `None` if this kernel or hierarchy has no such file, or if the
/// group is gone.
pub(super) fn read(directory: impl AsFd, path: impl Arg) -> Result<Option<String>, Errno> {
    let mut bytes = Vec::new();
    let read = open(directory, path, OFlags::RDONLY).and_then(|file| read_all(&file, &mut bytes));
    match read {
        Ok(()) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The value of `key` in a file of lines `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

/// Opens `path` with `access`, close-on-exec.
pub(super) fn open(directory: impl AsFd, path: impl Arg, access: OFlags) -> Result<OwnedFd, Errno> {
    fs::openat(directory, path, access | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the directory `path` to name other files by: no permission to read it is needed.
pub(super) fn open_directory(directory: impl AsFd, path: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    open(directory, path, flags)
}

fn read_all(file: &OwnedFd, bytes: &mut Vec<u8>) -> Result<(), Errno> {
    loop {
        // Most control files fit at once; a second read finds the end.
        bytes.reserve(4096);
        if io::retry_on_intr(|| io::read(file, spare_capacity(bytes)))? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_whole_words() {
        let text = "oom 3\noom_kill 2\nodd\nmax x\n";
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom_"), None);
        assert_eq!(keyed(text, "odd"), None);
        assert_eq!(keyed(text, "max"), None);
    }

    #[test]
    fn long_files_are_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let long = "12345678\n".repeat(2000);
        std::fs::write(directory.path().join("cgroup.procs"), &long).unwrap();
        let held = open_directory(fs::CWD, directory.path()).unwrap();
        assert_eq!(read(&held, "cgroup.procs"), Ok(Some(long)));
        assert_eq!(read(&held, "cgroup.kill"), Ok(None));
    }
}
