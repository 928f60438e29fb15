//! The directory tree of the layer being unpacked.
//!
//! A directory is entered one name at a time, never through a path: a symlink on the way, of this
//! layer or of one below, is read and followed here, with the layer's root as its `/`. What is
//! missing on the way is made, after the lower layers' likeness if they have it.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, XattrFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, times};
use super::lower::{Found, Lowers};
use super::{Outcome, Reason, name};
use crate::image::budget::Budget;
use crate::image::tar::Time;
use crate::sys::path::{open_beneath, remove_tree};

/// Marks a directory that hides the same one in the layers below, with the value `y`.
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

/// As many as the kernel follows in one path.
const MAX_LINKS: u32 = 40;

/// Open directories remembered: entries come directory by directory.
const MAX_KNOWN: usize = 64;

/// The most memory for what has to wait for a layer's end, which grows with its directories and
/// whiteouts. The largest images have some MB of it.
const MAX_KEPT: usize = 32 << 20;

/// What a kept name takes beside its bytes, about.
const KEPT: usize = 64;

/// A directory of the layer.
#[derive(Clone)]
pub(super) struct Dir {
    pub(super) fd: Rc<OwnedFd>,
    /// Its path below the root, through no symlink; empty for the root.
    path: Rc<[u8]>,
}

impl Dir {
    /// Opens it for what O_PATH does not allow.
    pub(super) fn open(&self) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.fd.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

/// See the module.
pub(super) struct Tree<'a> {
    root: Dir,
    lowers: &'a Lowers,
    /// Directories by the names the archive uses for them.
    known: HashMap<Vec<u8>, Dir>,
    /// Resolved paths of lower layers' symlinks that entries of `known` went through.
    followed: HashSet<Vec<u8>>,
    /// Resolved paths below which the lower layers do not show.
    cut: HashSet<Vec<u8>>,
    /// Directories' times, set last: making files changes them.
    dates: Vec<(Rc<[u8]>, Time)>,
    /// Bytes of the names in `cut` and `dates`.
    kept: usize,
}

impl<'a> Tree<'a> {
    /// An empty layer in `root`, which takes over the attributes of the lower layers' root.
    pub(super) fn new(root: BorrowedFd<'_>, lowers: &'a Lowers) -> Outcome<Self> {
        let fd = open_beneath(root, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        let attributes = match lowers.top() {
            Some(lower) => Attributes::copied(lower)?,
            None => Attributes::of_implied_directory(),
        };
        attributes.apply(&fd)?;
        let path = Rc::from(&b""[..]);
        Ok(Tree {
            dates: vec![(Rc::clone(&path), attributes.mtime)],
            root: Dir { fd: Rc::new(fd), path },
            lowers,
            known: HashMap::new(),
            followed: HashSet::new(),
            cut: HashSet::new(),
            kept: 0,
        })
    }

    pub(super) fn budget(&self) -> &'a Budget {
        self.lowers.budget()
    }

    pub(super) fn root(&self) -> Dir {
        self.root.clone()
    }

    /// Sets what had to wait until nothing is made any more.
    pub(super) fn finish(mut self) -> Outcome<()> {
        if self.cut.contains(&b""[..]) {
            self.hide_lower_root()?;
        }
        for (path, date) in std::mem::take(&mut self.dates) {
            let path = if path.is_empty() { b"." } else { &*path };
            match open_beneath(self.root.fd.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(dir) => rustix::fs::futimens(&dir, &times(date))?,
                // A later entry of the same name replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The directory that the archive calls `path` (clean), made if need be.
    pub(super) fn directory(&mut self, path: &[u8]) -> Outcome<Dir> {
        let (mut dir, mut end) = self.longest_known(path);
        let mut links = MAX_LINKS;
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            let slash = path[start..].iter().position(|byte| *byte == b'/');
            end = slash.map_or(path.len(), |slash| start + slash);
            dir = self.enter(&dir, &path[start..end], &mut links)?;
            if self.known.len() == MAX_KNOWN {
                self.forget();
            }
            self.known.insert(path[..end].to_vec(), dir.clone());
        }
        Ok(dir)
    }

    fn longest_known(&self, path: &[u8]) -> (Dir, usize) {
        let mut end = path.len();
        while end > 0 {
            if let Some(dir) = self.known.get(&path[..end]) {
                return (dir.clone(), end);
            }
            end = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        }
        (self.root(), 0)
    }

    fn forget(&mut self) {
        self.known.clear();
        self.followed.clear();
    }

    fn enter(&mut self, parent: &Dir, name: &[u8], links: &mut u32) -> Outcome<Dir> {
        let path = name::join(&parent.path, name);
        match open_beneath(parent.fd.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => {
                return Ok(Dir { fd: Rc::new(fd), path: path.into() });
            }
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = rustix::fs::statat(&*parent.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    let target = rustix::fs::readlinkat(&*parent.fd, name, Vec::new())?;
                    return self.follow(parent, target.as_bytes(), links);
                }
                if !is_whiteout(&stat) {
                    return Err(Reason::Invalid("a parent directory of it is no directory"));
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        match self.lower(&path)? {
            Some(found) if found.kind() == FileType::Symlink => {
                let target = found.target()?;
                self.followed.insert(path);
                self.follow(parent, &target, links)
            }
            Some(found) if found.kind() == FileType::Directory => {
                let attributes = Attributes::copied(found.open()?)?;
                self.imply(parent, name, &attributes)
            }
            _ => self.imply(parent, name, &Attributes::of_implied_directory()),
        }
    }

    fn follow(&mut self, from: &Dir, target: &[u8], links: &mut u32) -> Outcome<Dir> {
        *links = links.checked_sub(1).ok_or(Reason::Os(Errno::LOOP))?;
        let mut dir = if target.starts_with(b"/") { self.root() } else { from.clone() };
        for component in target.split(|byte| *byte == b'/') {
            dir = match component {
                b"" | b"." => dir,
                // The resolved path has no symlinks: its text tells the parent.
                b".." => self.resolved(name::split(&dir.path).map_or(b"", |(parent, _)| parent))?,
                component => self.enter(&dir, component, links)?,
            };
        }
        Ok(dir)
    }

    /// A directory of this layer by its resolved path.
    fn resolved(&self, path: &[u8]) -> Outcome<Dir> {
        if path.is_empty() {
            return Ok(self.root());
        }
        let fd = open_beneath(self.root.fd.as_fd(), path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Dir { fd: Rc::new(fd), path: path.into() })
    }

    fn imply(&mut self, parent: &Dir, name: &[u8], attributes: &Attributes) -> Outcome<Dir> {
        let dir = self.make_directory(parent, name)?;
        attributes.apply(&*dir.fd)?;
        // Not the time of unpacking: the same layer is to be the same tree.
        self.date(&dir, attributes.mtime)?;
        Ok(dir)
    }

    /// What the lower layers have at a resolved path, unless this layer hides it.
    fn lower(&self, path: &[u8]) -> Outcome<Option<Found>> {
        if self.is_cut(path) { Ok(None) } else { self.lowers.find(path) }
    }

    fn is_cut(&self, path: &[u8]) -> bool {
        if self.cut.is_empty() {
            return false;
        }
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        self.cut.contains(&b""[..])
            || self.cut.contains(path)
            || parents.into_iter().any(|(slash, _)| self.cut.contains(&path[..slash]))
    }

    /// Makes a directory, or takes the one that this layer has; anything else there is replaced.
    /// The directory is open for reading.
    pub(super) fn make_directory(&mut self, parent: &Dir, name: &[u8]) -> Outcome<Dir> {
        let path = name::join(&parent.path, name);
        if name.starts_with(b".wh.") {
            // The name is reserved: in an archive of this tree it would be a whiteout.
            return Err(Reason::Invalid("it is below a whiteout"));
        }
        // Through symlinks it may be deeper than its name.
        name::check_depth(path.split(|byte| *byte == b'/').count())?;
        self.shadow(parent, name);
        let make = || rustix::fs::mkdirat(&*parent.fd, name, Mode::RWXU);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut made = make();
        if made == Err(Errno::EXIST) && self.stat(parent, name)?.is_some_and(|s| !is_directory(&s))
        {
            self.remove(parent, name)?;
            made = make();
        }
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let fd = open_beneath(parent.fd.as_fd(), name, flags)?;
        if made.is_ok() && self.cut.contains(&path) {
            set_opaque(&fd)?;
        }
        Ok(Dir { fd: Rc::new(fd), path: path.into() })
    }

    /// Makes `name` in `parent`; what was there is replaced, for the last entry of a name counts.
    pub(super) fn place<T>(
        &mut self,
        parent: &Dir,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Outcome<T> {
        self.shadow(parent, name);
        match make(parent.fd.as_fd(), name) {
            Err(Errno::EXIST) => {
                self.remove(parent, name)?;
                Ok(make(parent.fd.as_fd(), name)?)
            }
            made => Ok(made?),
        }
    }

    /// This layer gets something of its own at `name`: where a lower layer's symlink was followed
    /// there, what is known is no longer true.
    fn shadow(&mut self, parent: &Dir, name: &[u8]) {
        if !self.followed.is_empty() && self.followed.contains(&name::join(&parent.path, name)) {
            self.forget();
        }
    }

    fn remove(&mut self, parent: &Dir, name: &[u8]) -> Outcome<()> {
        self.forget();
        Ok(remove_tree(parent.fd.as_fd(), name)?)
    }

    /// What this layer has at `name`.
    pub(super) fn stat(&self, parent: &Dir, name: &[u8]) -> Outcome<Option<Stat>> {
        match rustix::fs::statat(&*parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn cut(&mut self, path: Vec<u8>) -> Outcome<()> {
        self.keep(path.len())?;
        self.cut.insert(path);
        Ok(())
    }

    fn keep(&mut self, name: usize) -> Outcome<()> {
        self.kept += KEPT + name;
        match self.kept <= MAX_KEPT {
            true => Ok(()),
            false => Err(Reason::Invalid("it has too many directories and whiteouts")),
        }
    }

    /// Hides `name` of the lower layers.
    pub(super) fn cut_name(&mut self, parent: &Dir, name: &[u8]) -> Outcome<()> {
        self.cut(name::join(&parent.path, name))?;
        match self.stat(parent, name)? {
            // This layer's own directory stays and hides the one below.
            Some(stat) if is_directory(&stat) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                set_opaque(&open_beneath(parent.fd.as_fd(), name, flags)?)
            }
            Some(_) => Ok(()),
            None => {
                self.shadow(parent, name);
                let kind = FileType::CharacterDevice;
                Ok(rustix::fs::mknodat(&*parent.fd, name, kind, Mode::empty(), 0)?)
            }
        }
    }

    /// Hides all that the lower layers have in `dir`.
    pub(super) fn cut_directory(&mut self, dir: &Dir) -> Outcome<()> {
        self.cut(dir.path.to_vec())?;
        // Overlayfs does not heed the mark on a root: see `hide_lower_root`.
        if dir.path.is_empty() { Ok(()) } else { set_opaque(&dir.open()?) }
    }

    fn hide_lower_root(&mut self) -> Outcome<()> {
        let root = self.root();
        for name in self.lowers.root_names()? {
            self.cut_name(&root, &name)?;
        }
        Ok(())
    }

    /// Notes a directory's time of modification.
    pub(super) fn date(&mut self, dir: &Dir, mtime: Time) -> Outcome<()> {
        self.keep(dir.path.len())?;
        self.dates.push((dir.path.clone(), mtime));
        Ok(())
    }

    /// Copies a lower layer's file, which is no directory, to the same place in this one; `None`
    /// if there is none.
    pub(super) fn copy_up(&mut self, parent: &Dir, name: &[u8]) -> Outcome<Option<()>> {
        let Some(found) = self.lower(&name::join(&parent.path, name))? else {
            return Ok(None);
        };
        match found.kind() {
            FileType::Directory => return Err(Reason::Invalid("its target is a directory")),
            FileType::RegularFile => {
                let from = found.open()?;
                let size = found.stat.st_size as u64;
                self.budget().take(size, "image")?;
                let attributes = Attributes::copied(&from)?;
                let mode = attributes.first_mode();
                let to = self.place(parent, name, |dir, name| super::create(dir, name, mode))?;
                copy_contents(&from, &to, size)?;
                attributes.apply(&to)?;
                attributes.date(&to)?;
                return Ok(Some(()));
            }
            FileType::Symlink => {
                let target = found.target()?;
                self.place(parent, name, |dir, name| rustix::fs::symlinkat(&*target, dir, name))?;
            }
            kind => {
                let device = found.stat.st_rdev;
                self.place(parent, name, |dir, name| {
                    rustix::fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device)
                })?;
            }
        }
        let attributes = Attributes::without_xattrs(&found.stat);
        attributes.apply_at(parent.fd.as_fd(), name, found.kind())?;
        Ok(Some(()))
    }
}

/// Copies the data and not the holes: a sparse file of some bytes may be as large as the disk.
fn copy_contents(from: &OwnedFd, to: &OwnedFd, size: u64) -> Outcome<()> {
    rustix::fs::ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            // A hole to the end.
            Err(Errno::NXIO) => return Ok(()),
            start => start?,
        };
        at = rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size);
        copy_range(from, to, start, at)?;
    }
    Ok(())
}

fn copy_range(from: &OwnedFd, to: &OwnedFd, start: u64, end: u64) -> Outcome<()> {
    let (mut input, mut output) = (start, start);
    while input < end {
        let length = usize::try_from(end - input).unwrap_or(1 << 30).min(1 << 30);
        if rustix::fs::copy_file_range(from, Some(&mut input), to, Some(&mut output), length)? == 0
        {
            break;
        }
    }
    Ok(())
}

/// Whether overlayfs takes it for a whiteout.
pub(in crate::image) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn set_opaque(dir: &OwnedFd) -> Outcome<()> {
    Ok(rustix::fs::fsetxattr(dir, OPAQUE, b"y", XattrFlags::empty())?)
}
