//! What is other in one tree than in another.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::merged::{Directory, Found, identity, xattrs_of_file};
use super::{deeper, shown, unreadable};
use crate::Result;
use crate::cancel::Cancel;

/// One path that is other in one root file system than in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The absolute path.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there. In a directory that was not there, so is everything.
    Added,
    /// Its type, owner, mode, xattrs, contents or, unless it is a directory, date is another.
    Changed,
    /// It is there no more, and neither is what was in it.
    Deleted,
}

/// As `docker diff` says it: `A /srv/greeting`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        write!(f, "{letter} {}", self.path.display())
    }
}

/// What is other in `new` than in `old`, by path.
pub(in crate::image) fn diff(
    old: &Directory,
    new: &Directory,
    cancel: &Cancel,
) -> Result<Vec<Change>> {
    let mut diff = Diff { changes: Vec::new(), cancel };
    if diff.is_other_directory(old, new).map_err(|errno| unreadable(b"", errno))? {
        diff.push(b"", ChangeKind::Changed);
    }
    diff.directories(Some(old), new, b"", 0)?;
    Ok(diff.changes)
}

struct Diff<'a> {
    changes: Vec<Change>,
    cancel: &'a Cancel,
}

impl Diff<'_> {
    /// What is other in `new`, both of which are called `path`; without `old`, everything.
    fn directories(
        &mut self,
        old: Option<&Directory>,
        new: &Directory,
        path: &[u8],
        depth: usize,
    ) -> Result<()> {
        let failed = |errno| unreadable(path, errno);
        if let Some(old) = old
            && old.is_same(new).map_err(failed)?
        {
            return Ok(());
        }
        let before = old.map_or(Ok(Vec::new()), |old| old.entries(false)).map_err(failed)?;
        let after = new.entries(false).map_err(failed)?;
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Ok(()),
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) => a.name.cmp(&b.name),
            };
            let was = if order.is_le() { before.next() } else { None };
            let is = if order.is_ge() { after.next() } else { None };
            self.names(old.zip(was), is.map(|is| (new, is)), path, depth)?;
        }
    }

    /// What became of one name, which is in one of them or in both.
    fn names(
        &mut self,
        was: Option<(&Directory, &Found)>,
        is: Option<(&Directory, &Found)>,
        parent: &[u8],
        depth: usize,
    ) -> Result<()> {
        let name = was.or(is).map(|(_, found)| &*found.name).unwrap_or_default();
        let path = [parent, b"/", name].concat();
        let failed = |errno| unreadable(&path, errno);
        self.cancel.check("read", &shown(&path))?;
        let Some(is) = is else {
            self.push(&path, ChangeKind::Deleted);
            return Ok(());
        };
        let enter = |(dir, found): (&Directory, &Found)| {
            if found.is_directory() { dir.enter(found) } else { Ok(None) }
        };
        let before = was.map_or(Ok(None), enter).map_err(failed)?;
        let after = enter(is).map_err(failed)?;
        match (was, &before, &after) {
            (None, _, _) => self.push(&path, ChangeKind::Added),
            (Some(_), Some(before), Some(after)) => {
                if self.is_other_directory(before, after).map_err(failed)? {
                    self.push(&path, ChangeKind::Changed);
                }
            }
            (Some(was), _, _) => {
                if is_other_file(was, is, self.cancel).map_err(failed)? {
                    self.push(&path, ChangeKind::Changed);
                }
            }
        }
        match after {
            Some(after) => self.directories(before.as_ref(), &after, &path, deeper(&path, depth)?),
            None => Ok(()),
        }
    }

    fn is_other_directory(&self, old: &Directory, new: &Directory) -> rustix::io::Result<bool> {
        let (a, b) = (old.stat()?, new.stat()?);
        let same = (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid);
        Ok(!same || old.xattrs()? != new.xattrs()?)
    }

    fn push(&mut self, path: &[u8], kind: ChangeKind) {
        let path = if path.is_empty() { b"/" } else { path };
        self.changes.push(Change { path: OsString::from_vec(path.to_vec()).into(), kind });
    }
}

fn is_other_file(
    (old, was): (&Directory, &Found),
    (new, is): (&Directory, &Found),
    cancel: &Cancel,
) -> rustix::io::Result<bool> {
    let (a, b) = (&was.stat, &is.stat);
    if identity(a) == identity(b) {
        return Ok(false);
    }
    let plain = |s: &rustix::fs::Stat| {
        (s.st_mode, s.st_uid, s.st_gid, s.st_rdev, s.st_size, s.st_mtime, s.st_mtime_nsec)
    };
    if plain(a) != plain(b) {
        return Ok(true);
    }
    match is.kind() {
        FileType::RegularFile => {
            let (Some((a, _)), Some((b, _))) = (old.open_file(was)?, new.open_file(is)?) else {
                return Ok(true);
            };
            Ok(xattrs_of_file(&a)? != xattrs_of_file(&b)? || is_other_content(&a, &b, cancel)?)
        }
        kind => {
            let link = kind == FileType::Symlink && old.target(was)? != new.target(is)?;
            Ok(link || old.xattrs_of(was)? != new.xattrs_of(is)?)
        }
    }
}

fn is_other_content(a: &OwnedFd, b: &OwnedFd, cancel: &Cancel) -> rustix::io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        if cancel.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let (n, m) = (fill(a, &mut left)?, fill(b, &mut right)?);
        if left[..n] != right[..m] {
            return Ok(true);
        }
        if n == 0 {
            return Ok(false);
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(filled)
}
