//! A tree as a tar archive: as a layer, with OCI's whiteouts for overlayfs's, or as it is.
//!
//! Deterministic: sorted by name, the first name of a file with several has its contents, and
//! nothing is written but what the tree has. Sockets are left out, as everywhere.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::merged::{Directory, Found, Xattrs, identity, join, xattrs_of_file};
use super::{deeper, shown, unreadable, unsupported};
use crate::image::tar::{Entry, Kind, Time, Writer};
use crate::{Error, ErrorKind, Result};

/// Less than readers of PAX headers take.
const MAX_XATTRS: usize = 900 << 10;

/// What else a PAX record of an xattr has, at most: `65536 SCHILY.xattr.`, an equals sign, a newline.
const RECORD: usize = 21;

/// PATH_MAX, which readers of archives have, too.
const MAX_NAME: usize = 4095;

/// What becomes of overlayfs's marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Form {
    /// The tree is one layer's directory: they become OCI's. The root is left out if it has nothing
    /// and looks like `parent`, the root below.
    Layer { parent: Option<Likeness> },
    /// The tree is a whole root file system: they have taken effect.
    Whole,
}

/// How a tree is written.
#[derive(Debug, Clone, Copy)]
pub(in crate::image) struct Style {
    pub(in crate::image) form: Form,
    /// Takes the place of all times.
    pub(in crate::image) time: Option<Time>,
    /// The most bytes of all files.
    pub(in crate::image) max_size: u64,
}

impl Style {
    /// All of a root file system as it is.
    pub(in crate::image) fn whole() -> Self {
        Style { form: Form::Whole, time: None, max_size: u64::MAX }
    }
}

/// What a root directory looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct Likeness {
    owner: (u32, u32),
    mode: u32,
}

impl Likeness {
    pub(in crate::image) fn of(stat: &Stat) -> Self {
        Likeness { owner: (stat.st_uid, stat.st_gid), mode: stat.st_mode }
    }
}

/// Writes the tree at `root` to `output`, which it returns, and the number of entries. `failed` makes
/// an error of one of `output`'s.
///
/// # Errors
/// `Unsupported` for what an archive of this form cannot hold, `ResourceExhausted` above the
/// greatest size; those of reading.
pub(in crate::image) fn capture<W: Write>(
    root: &Directory,
    style: Style,
    output: W,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<(W, u64)> {
    let mut capture = Capture {
        tar: Writer::new(output),
        marks: style.form != Form::Whole,
        time: style.time,
        room: style.max_size,
        failed,
        links: HashMap::new(),
        buffer: vec![0; 128 << 10],
        entries: 0,
    };
    if capture.wants_root(root, style.form)? {
        capture.directory(root, b"")?;
        capture.contents(root, b"", 0)?;
    }
    let entries = capture.entries;
    Ok((capture.tar.finish().map_err(failed)?, entries))
}

struct Capture<'a, W> {
    tar: Writer<W>,
    marks: bool,
    time: Option<Time>,
    /// Bytes that files may still have.
    room: u64,
    failed: &'a dyn Fn(io::Error) -> Error,
    /// The first names of files that have several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    entries: u64,
}

impl<W: Write> Capture<'_, W> {
    fn wants_root(&self, root: &Directory, form: Form) -> Result<bool> {
        let Form::Layer { parent: Some(parent) } = form else { return Ok(true) };
        let look = || {
            let plain = root.xattrs()?.is_empty() && Likeness::of(&root.stat()?) == parent;
            Ok(!plain || !root.entries(true)?.is_empty())
        };
        look().map_err(|errno| unreadable(b"", errno))
    }

    /// Writes all that is in `dir`, which is called `path`.
    fn contents(&mut self, dir: &Directory, path: &[u8], depth: usize) -> Result<()> {
        for found in dir.entries(self.marks).map_err(|errno| unreadable(path, errno))? {
            let name = join(path, &found.name);
            if found.is_directory() {
                let depth = deeper(&name, depth)?;
                if let Some(inner) = dir.enter(&found).map_err(|errno| unreadable(&name, errno))? {
                    self.directory(&inner, &name)?;
                    self.contents(&inner, &name, depth)?;
                }
            } else {
                self.file(dir, &found, name, path)?;
            }
        }
        Ok(())
    }

    /// Writes a directory's own entry, and in a layer its mark.
    fn directory(&mut self, dir: &Directory, path: &[u8]) -> Result<()> {
        let explained = |errno| unreadable(path, errno);
        let name = if path.is_empty() { b"./".to_vec() } else { path.to_vec() };
        let stat = dir.stat().map_err(explained)?;
        self.begin(&self.entry(Kind::Directory, name, &stat, dir.xattrs().map_err(explained)?))?;
        // On a root, overlayfs does not heed it.
        if self.marks && !path.is_empty() && dir.is_opaque().map_err(explained)? {
            self.mark(path, b".wh..opq")?;
        }
        Ok(())
    }

    /// Writes what is no directory.
    fn file(&mut self, dir: &Directory, found: &Found, name: Vec<u8>, parent: &[u8]) -> Result<()> {
        if self.marks && found.is_whiteout() {
            return self.mark(parent, &found.name);
        }
        if self.marks && found.name.starts_with(b".wh.") {
            return Err(unsupported(&name, "in a layer, its name would delete another file"));
        }
        let explained = |errno| unreadable(&name, errno);
        let kind = match found.kind() {
            FileType::RegularFile => {
                let opened = dir.open_file(found).map_err(explained)?;
                return opened.map_or(Ok(()), |(file, stat)| self.regular(&file, &stat, name));
            }
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => return Ok(()),
        };
        // First, for nothing may link to one that vanished.
        let mut target = Vec::new();
        if kind == Kind::Symlink {
            let Some(found) = dir.target(found).map_err(explained)? else { return Ok(()) };
            target = found;
        }
        if self.is_link(&found.stat, &name)? {
            return Ok(());
        }
        let xattrs = dir.xattrs_of(found).map_err(explained)?;
        let entry = self.entry(kind, name.clone(), &found.stat, xattrs);
        self.begin(&Entry { target, ..entry })
    }

    fn regular(&mut self, file: &OwnedFd, stat: &Stat, name: Vec<u8>) -> Result<()> {
        if self.is_link(stat, &name)? {
            return Ok(());
        }
        let xattrs = xattrs_of_file(file).map_err(|errno| unreadable(&name, errno))?;
        let entry = self.entry(Kind::File, name, stat, xattrs);
        self.room = self.room.checked_sub(entry.size).ok_or_else(|| {
            Error::new(ErrorKind::ResourceExhausted, "read", shown(&entry.name))
                .cause("with it, the files are larger than the limit that was given")
        })?;
        self.begin(&entry)?;
        let mut left = entry.size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = match rustix::io::read(file, &mut self.buffer[..wanted]) {
                Err(Errno::INTR) => continue,
                // A container has cut it off meanwhile: its header is written, with its size.
                Ok(0) => {
                    self.buffer[..wanted].fill(0);
                    wanted
                }
                n => n.map_err(|errno| unreadable(&entry.name, errno))?,
            };
            self.tar.data(&self.buffer[..n]).map_err(self.failed)?;
            left -= n as u64;
        }
        Ok(())
    }

    /// Writes a link if the file has been written already, under another name.
    fn is_link(&mut self, stat: &Stat, name: &[u8]) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&identity(stat)) else {
            self.links.insert(identity(stat), name.to_vec());
            return Ok(false);
        };
        let target = first.clone();
        let entry = self.entry(Kind::Hardlink, name.to_vec(), stat, Vec::new());
        self.begin(&Entry { target, ..entry })?;
        Ok(true)
    }

    /// Writes OCI's mark that hides `name`, or with `.wh..opq` everything, of `parent` below.
    fn mark(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        self.begin(&Entry {
            kind: Kind::File,
            name: join(parent, &[b".wh.", name].concat()),
            target: Vec::new(),
            mode: 0o600,
            uid: 0,
            gid: 0,
            // Overlayfs gives all of a mount's whiteouts one inode, and so one date.
            mtime: self.time.unwrap_or((0, 0)),
            device: (0, 0),
            size: 0,
            segments: None,
            xattrs: Vec::new(),
        })
    }

    fn entry(&self, kind: Kind, name: Vec<u8>, stat: &Stat, xattrs: Xattrs) -> Entry {
        let device = match kind {
            Kind::CharacterDevice | Kind::BlockDevice => stat.st_rdev,
            _ => 0,
        };
        Entry {
            kind,
            name,
            target: Vec::new(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: self.time.unwrap_or((stat.st_mtime, stat.st_mtime_nsec as u32)),
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
            size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
            segments: None,
            xattrs,
        }
    }

    fn begin(&mut self, entry: &Entry) -> Result<()> {
        let size = |(name, value): &(Vec<u8>, Vec<u8>)| name.len() + value.len() + RECORD;
        let xattrs: usize = entry.xattrs.iter().map(size).sum();
        if xattrs > MAX_XATTRS {
            return Err(unsupported(&entry.name, "its xattrs are larger than 900 KiB"));
        }
        if entry.name.len() > MAX_NAME {
            return Err(unsupported(&entry.name, "its path is longer than 4095 bytes"));
        }
        self.entries += 1;
        self.tar.begin(entry).map_err(self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tar::Archive;

    #[test]
    fn a_file_that_is_cut_off_while_it_is_read_is_filled_with_zeros() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "abc").unwrap();
        let file = OwnedFd::from(std::fs::File::open(&path).unwrap());
        let mut stat = rustix::fs::fstat(&file).unwrap();
        stat.st_size = 200_000;
        let failed = |error| Error::os("write", "memory", error);
        let mut capture = Capture {
            tar: Writer::new(Vec::new()),
            marks: true,
            time: None,
            room: u64::MAX,
            failed: &failed,
            links: HashMap::new(),
            buffer: vec![1; 64 << 10],
            entries: 0,
        };
        capture.regular(&file, &stat, b"f".to_vec()).unwrap();
        let bytes = capture.tar.finish().unwrap();
        let mut archive = Archive::new(&*bytes, "a layer");
        assert_eq!(archive.next().unwrap().unwrap().size, 200_000);
        let mut content = Vec::new();
        let copied = archive.copy(200_000, |piece| {
            content.extend_from_slice(piece);
            Ok::<_, Error>(())
        });
        copied.unwrap();
        assert!(content.starts_with(b"abc\0"));
        assert!(content[3..].iter().all(|byte| *byte == 0));
    }

    fn writer(failed: &dyn Fn(io::Error) -> Error) -> Capture<'_, Vec<u8>> {
        Capture {
            tar: Writer::new(Vec::new()),
            marks: true,
            time: None,
            room: u64::MAX,
            failed,
            links: HashMap::new(),
            buffer: vec![1; 64 << 10],
            entries: 0,
        }
    }

    #[test]
    fn nothing_links_to_a_symlink_that_vanished() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let at = |name| dir.path().join(name);
        std::os::unix::fs::symlink("target", at("a")).unwrap();
        std::fs::hard_link(at("a"), at("b")).unwrap();
        let root = Directory::open(&[dir.path()]).unwrap();
        let found = root.entries(true).unwrap();
        std::fs::remove_file(at("a")).unwrap();
        let failed = |error| Error::os("write", "memory", error);
        let mut capture = writer(&failed);
        for found in &found {
            capture.file(&root, found, found.name.clone(), b"").unwrap();
        }
        let bytes = capture.tar.finish().unwrap();
        let mut archive = Archive::new(&*bytes, "a layer");
        let entry = archive.next().unwrap().unwrap();
        assert_eq!((&*entry.name, &*entry.target), (&b"b"[..], &b"target"[..]));
        assert_eq!((entry.kind, archive.next().unwrap()), (Kind::Symlink, None));
    }

    #[test]
    fn xattrs_that_are_written_can_be_read() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let stat = rustix::fs::stat(dir.path()).unwrap();
        let failed = |error| Error::os("write", "memory", error);
        // As many names as listxattr(2) gives, with values up to the limit.
        let name = |n: u32| format!("user.{n:04x}").into_bytes();
        for length in [100, 128, 131] {
            let xattrs: Xattrs = (0..6553).map(|n| (name(n), vec![b'v'; length])).collect();
            let mut capture = writer(&failed);
            let long = vec![b'n'; MAX_NAME];
            let mut entry = capture.entry(Kind::Symlink, long, &stat, xattrs);
            entry.target = vec![b't'; MAX_NAME];
            match capture.begin(&entry) {
                Ok(()) => {
                    let bytes = capture.tar.finish().unwrap();
                    let read = Archive::new(&*bytes, "a layer").next().unwrap().unwrap();
                    assert_eq!(read.xattrs.len(), 6553, "{length}");
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
            }
        }
    }
}
