//! flock(2) on a file of the store: a dead owner's lock is a released one.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::{Error, Result};

/// A lock, held until it is dropped. Each is an open file of its own, so that it excludes other
/// threads, too.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock on `path`, which is created if need be.
    pub(super) fn exclusive(path: &Path) -> Result<Self> {
        Lock::wait(path, FlockOperation::LockExclusive)
    }

    /// Waits for a lock that others may hold, too.
    pub(super) fn shared(path: &Path) -> Result<Self> {
        Lock::wait(path, FlockOperation::LockShared)
    }

    /// The lock, or `None` if someone holds it.
    pub(super) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Lock::try_on(open(path)?, path)
    }

    /// As [`try_exclusive`](Self::try_exclusive), on an open file or directory.
    pub(super) fn try_on(file: File, path: &Path) -> Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(Error::os("lock", path.display().to_string(), errno)),
        }
    }

    /// Waits until the lock on an open file, which is held or not, is one that others may hold, too.
    pub(super) fn share(file: &File, path: &Path) -> Result<()> {
        flock(file, FlockOperation::LockShared)
            .map_err(|errno| Error::os("lock", path.display().to_string(), errno))
    }

    /// Waits until the lock on an open file, which is held or not, excludes all others.
    pub(super) fn exclude(file: &File, path: &Path) -> Result<()> {
        flock(file, FlockOperation::LockExclusive)
            .map_err(|errno| Error::os("lock", path.display().to_string(), errno))
    }

    fn wait(path: &Path, operation: FlockOperation) -> Result<Self> {
        loop {
            let file = open(path)?;
            let locked = flock(&file, operation).and_then(|()| rustix::fs::fstat(&file));
            match locked {
                // Its last owner removed it while this one waited: a new one is to be locked.
                Ok(stat) if stat.st_nlink == 0 => {}
                Ok(_) => return Ok(Lock { _file: file }),
                Err(errno) => return Err(Error::os("lock", path.display().to_string(), errno)),
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| Error::os("open lock file", path.display().to_string(), error))
}

fn flock(file: impl AsFd, operation: FlockOperation) -> rustix::io::Result<()> {
    loop {
        match rustix::fs::flock(&file, operation) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}
