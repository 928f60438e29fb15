//! flock(2) on a file of the store: a dead owner's lock is a released one.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::cancel::Cancel;
use crate::{Error, Result};

/// Between two attempts of who may be cancelled.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(32);

/// A lock, held until it is dropped. Each is an open file of its own, so that it excludes other
/// threads, too.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the lock on `path`, which is created if need be.
    pub(super) fn exclusive(path: &Path, cancel: &Cancel) -> Result<Self> {
        Lock::wait(path, FlockOperation::LockExclusive, cancel)
    }

    /// Waits for the lock for so long, and then goes without.
    pub(super) fn exclusive_within(
        path: &Path,
        patience: Duration,
        cancel: &Cancel,
    ) -> Result<Option<Self>> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let lock = Lock::try_exclusive(path)?;
            if lock.is_some() || Instant::now() >= until {
                return Ok(lock);
            }
            cancel.check("lock", &path.display().to_string())?;
            cancel.wait(pause, || false);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Waits for a lock that others may hold, too.
    pub(super) fn shared(path: &Path, cancel: &Cancel) -> Result<Self> {
        Lock::wait(path, FlockOperation::LockShared, cancel)
    }

    /// The lock, or `None` if someone holds it.
    pub(super) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        loop {
            let Some(lock) = Lock::try_on(open(path)?, path)? else { return Ok(None) };
            if lock.is_named(path)? {
                return Ok(Some(lock));
            }
        }
    }

    /// As [`try_exclusive`](Self::try_exclusive), on an open file or directory.
    pub(super) fn try_on(file: File, path: &Path) -> Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(Error::os("lock", path.display().to_string(), errno)),
        }
    }

    /// Waits until the lock on an open file, which is held or not, is one that others may hold, too.
    pub(super) fn share(file: &File, path: &Path, cancel: &Cancel) -> Result<()> {
        flock_on(file, FlockOperation::LockShared, path, cancel)
    }

    /// Waits until the lock on an open file, which is held or not, excludes all others.
    pub(super) fn exclude(file: &File, path: &Path, cancel: &Cancel) -> Result<()> {
        flock_on(file, FlockOperation::LockExclusive, path, cancel)
    }

    fn wait(path: &Path, operation: FlockOperation, cancel: &Cancel) -> Result<Self> {
        loop {
            let file = open(path)?;
            flock_on(&file, operation, path, cancel)?;
            let lock = Lock { file };
            if lock.is_named(path)? {
                return Ok(lock);
            }
        }
    }

    /// Whether the file has its name still. Its last owner may have removed it since this one opened it:
    /// then a new one is to be locked.
    fn is_named(&self, path: &Path) -> Result<bool> {
        match rustix::fs::fstat(&self.file) {
            Ok(stat) => Ok(stat.st_nlink > 0),
            Err(errno) => Err(Error::os("lock", path.display().to_string(), errno)),
        }
    }
}

/// The processes that hold a lock on `path`, as far as the kernel tells: those of other pid
/// namespaces it does not, and file systems with several devices (btrfs) it calls by other names.
///
/// Source: proc_locks(5)
pub(super) fn holders(path: &Path) -> Vec<u32> {
    let (Ok(file), Ok(locks)) = (rustix::fs::stat(path), std::fs::read_to_string("/proc/locks"))
    else {
        return Vec::new();
    };
    let (major, minor) = (rustix::fs::major(file.st_dev), rustix::fs::minor(file.st_dev));
    let wanted = format!("{major:02x}:{minor:02x}:{}", file.st_ino);
    let mut holders: Vec<u32> = locks.lines().filter_map(|line| holder(line, &wanted)).collect();
    holders.sort_unstable();
    holders.dedup();
    holders
}

/// Who holds the flock(2) of one line, if it is on the file called `wanted`. A line with an arrow is
/// of one who waits.
fn holder(line: &str, wanted: &str) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(1);
    let kind = fields.next()?;
    let pid = fields.nth(2)?.parse().ok().filter(|pid| *pid > 0);
    pid.filter(|_| kind == "FLOCK" && fields.next() == Some(wanted))
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| Error::os("open lock file", path.display().to_string(), error))
}

/// Waits for a lock, unless `cancel` says not to.
///
/// flock(2) cannot be polled, and a thread in it is interrupted by a signal only, which is the host's to
/// send. Who may be cancelled so tries again and again, at first often.
fn flock_on(file: &File, operation: FlockOperation, path: &Path, cancel: &Cancel) -> Result<()> {
    let failed = |errno| Error::os("lock", path.display().to_string(), errno);
    let at_once = match operation {
        FlockOperation::LockShared => FlockOperation::NonBlockingLockShared,
        FlockOperation::LockExclusive => FlockOperation::NonBlockingLockExclusive,
        other => other,
    };
    if !cancel.is_live() {
        return flock(file, operation).map_err(failed);
    }
    let mut pause = FIRST_PAUSE;
    loop {
        match flock(file, at_once) {
            Err(Errno::WOULDBLOCK) => {}
            result => return result.map_err(failed),
        }
        cancel.check("lock", &path.display().to_string())?;
        cancel.wait(pause, || false);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

fn flock(file: impl AsFd, operation: FlockOperation) -> rustix::io::Result<()> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_are_told_from_those_who_wait() {
        let wanted = "fe:00:1027";
        for (line, expected) in [
            ("1: FLOCK  ADVISORY  READ 17306 fe:00:1027 0 EOF", Some(17306)),
            ("12: FLOCK  ADVISORY  WRITE 3 fe:00:1027 0 EOF", Some(3)),
            ("1: -> FLOCK  ADVISORY  WRITE 4 fe:00:1027 0 EOF", None),
            ("1: FLOCK  ADVISORY  READ 17306 fe:00:10272 0 EOF", None),
            ("1: POSIX  ADVISORY  READ 17306 fe:00:1027 0 EOF", None),
            ("1: FLOCK  ADVISORY  READ 0 fe:00:1027 0 EOF", None),
            ("", None),
        ] {
            assert_eq!(holder(line, wanted), expected, "{line}");
        }
    }

    #[test]
    fn this_process_is_a_holder() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let path = dir.path().join("lock");
        let shared = |cancel: &Cancel| Lock::shared(&path, cancel).unwrap();
        let locks = (shared(&Cancel::never()), shared(&Cancel::new()));
        let holders_now = holders(&path);
        // Nobody, where the file system calls its device otherwise.
        assert!(holders_now.is_empty() || holders_now == [std::process::id()], "{holders_now:?}");
        drop(locks);
        assert!(holders(&path).is_empty());
    }
}
