//! A file's owner, mode, xattrs and time: taken from an archive or from a lower layer, and set.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::Outcome;
use crate::image::tar::{Entry, Time};

/// The kernel's bound for a list of xattr names and for a value, 64 KiB each.
pub(in crate::image) const MAX_XATTR: usize = 64 << 10;

/// Owner, mode, xattrs and time of modification.
pub(super) struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    pub(super) mtime: Time,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    /// Those of an archive's entry.
    pub(super) fn of(entry: &Entry) -> Self {
        let kept = entry.xattrs.iter().filter(|(name, _)| is_kept(name));
        Attributes {
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: kept.cloned().collect(),
        }
    }

    /// Those of a directory that nobody described.
    pub(super) fn of_implied_directory() -> Self {
        Attributes { uid: 0, gid: 0, mode: 0o755, mtime: (0, 0), xattrs: Vec::new() }
    }

    /// Those of an open file of a lower layer.
    pub(super) fn copied(file: impl AsFd) -> Outcome<Self> {
        let stat = rustix::fs::fstat(&file)?;
        let mut attributes = Attributes::without_xattrs(&stat);
        let mut list = vec![0; MAX_XATTR];
        let length = match rustix::fs::flistxattr(&file, &mut list[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            length => length?,
        };
        for name in list[..length].split(|byte| *byte == 0).filter(|name| is_kept(name)) {
            let mut value = vec![0; MAX_XATTR];
            let length = rustix::fs::fgetxattr(&file, name, &mut value[..])?;
            value.truncate(length);
            attributes.xattrs.push((name.to_vec(), value));
        }
        Ok(attributes)
    }

    pub(super) fn without_xattrs(stat: &Stat) -> Self {
        Attributes {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
            xattrs: Vec::new(),
        }
    }

    /// Sets all but the time on an open file or directory.
    pub(super) fn apply(&self, file: impl AsFd) -> Outcome<()> {
        let (chown, chmod) = self.differ(&rustix::fs::fstat(&file)?);
        if chown {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        if chmod {
            rustix::fs::fchmod(&file, Mode::from_raw_mode(self.mode))?;
        }
        for (name, value) in &self.xattrs {
            rustix::fs::fsetxattr(&file, &**name, value, XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Whether the owner is to be changed, and whether the mode is. Most files are as they were made,
    /// and to look costs a fifth of a change, which goes into the file system's journal.
    ///
    /// The owner is to be changed first: chown(2) clears setuid, setgid and security.capability.
    fn differ(&self, stat: &Stat) -> (bool, bool) {
        let chown = (stat.st_uid, stat.st_gid) != (self.uid, self.gid);
        (chown, chown || stat.st_mode & 0o7777 != self.mode)
    }

    /// The mode to create a file with: what the host's umask takes away, and more, is set afterwards.
    pub(super) fn first_mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o777)
    }

    /// Sets the time of an open file.
    pub(super) fn date(&self, file: impl AsFd) -> Outcome<()> {
        Ok(rustix::fs::futimens(file, &times(self.mtime))?)
    }

    /// Sets all on `name`, which this process just made in `dir` and which cannot be opened.
    pub(super) fn apply_at(&self, dir: BorrowedFd<'_>, name: &[u8], kind: FileType) -> Outcome<()> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (chown, chmod) = self.differ(&stat);
        if chown {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if chmod && kind != FileType::Symlink {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        for (xattr, value) in &self.xattrs {
            // fsetxattr(2) refuses O_PATH, and setxattrat(2) came with 6.13. The name is a single
            // component, so that the magic link is the only one to be followed.
            let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
            path.extend_from_slice(name);
            rustix::fs::lsetxattr(path, &**xattr, value, XattrFlags::empty())?;
        }
        rustix::fs::utimensat(dir, name, &times(self.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

/// Whether an image may set this xattr.
///
/// Overlayfs obeys its own (redirect, metacopy, opaque), in any namespace that may carry them;
/// `trusted` is the host's; labels of SELinux are the host's policy.
pub(in crate::image) fn is_kept(name: &[u8]) -> bool {
    let overlay = name.windows(9).any(|window| window == b".overlay.");
    !name.is_empty() && !overlay && !name.starts_with(b"trusted.") && name != b"security.selinux"
}

pub(super) fn times((seconds, nanoseconds): Time) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
