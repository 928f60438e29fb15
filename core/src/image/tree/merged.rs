//! Directories as overlayfs merges them.
//!
//! Source: <https://docs.kernel.org/filesystems/overlayfs.html>

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::image::unpack::{MAX_XATTR, is_kept, is_opaque, is_whiteout};
use crate::sys::path::open_beneath;

type Result<T> = rustix::io::Result<T>;

/// Where a directory's contents, or a file's, are those of another name of a lower layer. Layers
/// that are read without overlayfs must not have them; no image can bring them.
const REDIRECT: &str = "trusted.overlay.redirect";
const METACOPY: &str = "trusted.overlay.metacopy";

/// Names and values.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A directory of one layer, or the same one of several.
#[derive(Debug)]
pub(in crate::image) struct Directory {
    /// Top first, never empty; none below an opaque one.
    parts: Vec<Part>,
}

/// The directory of one layer.
#[derive(Debug)]
struct Part {
    layer: Rc<OwnedFd>,
    path: Rc<[u8]>,
    /// Held for the topmost part, which may be a container's that moves it meanwhile. Parts below are
    /// opened when they are needed: layers do not change, and hundreds of them at each level would be
    /// more files than a process may have open.
    open: Option<Rc<OwnedFd>>,
}

impl Part {
    fn open(&self) -> Result<Rc<OwnedFd>> {
        match &self.open {
            Some(open) => Ok(Rc::clone(open)),
            None => open_beneath(self.layer.as_fd(), &*self.path, DIRECTORY).map(Rc::new),
        }
    }

    /// Opens what is called `name` in it.
    fn open_name(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd> {
        match &self.open {
            Some(open) => open_beneath(open.as_fd(), name, flags),
            None => open_beneath(self.layer.as_fd(), join(&self.path, name), flags),
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// What a directory has under a name.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    /// The topmost file's.
    pub(super) stat: Stat,
    /// The directory's parts that have it: one, or several directories.
    parts: Vec<usize>,
    /// What lies below the last of them is hidden.
    closed: bool,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it hides a name of the layers below.
    pub(super) fn is_whiteout(&self) -> bool {
        is_whiteout(&self.stat)
    }
}

impl Directory {
    /// The merged root of `layers`, bottom first; there is at least one.
    pub(in crate::image) fn open<P: AsRef<Path>>(layers: &[P]) -> crate::Result<Self> {
        let open = |layer: &P| {
            let layer = layer.as_ref();
            match rustix::fs::open(layer, DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fd) => {
                    let layer = Rc::new(fd);
                    let open = Some(Rc::clone(&layer));
                    Ok(Part { layer, path: Rc::default(), open })
                }
                Err(errno) => Err(crate::Error::os("open", layer.display().to_string(), errno)),
            }
        };
        Ok(Directory { parts: layers.iter().rev().map(open).collect::<crate::Result<_>>()? })
    }

    /// The top part's attributes, which are the merged directory's.
    pub(in crate::image) fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(self.parts[0].open()?)
    }

    /// Whether it hides the directories of the layers below it.
    pub(super) fn is_opaque(&self) -> Result<bool> {
        is_opaque(&*self.parts[0].open()?)
    }

    pub(super) fn xattrs(&self) -> Result<Xattrs> {
        xattrs_of_file(&*self.parts[0].open()?)
    }

    /// Whether both are the same directories of the same layers, and so all in them.
    pub(super) fn is_same(&self, other: &Directory) -> Result<bool> {
        if self.parts.len() != other.parts.len() {
            return Ok(false);
        }
        for (a, b) in self.parts.iter().zip(&other.parts) {
            let (a, b) = (rustix::fs::fstat(a.open()?)?, rustix::fs::fstat(b.open()?)?);
            if identity(&a) != identity(&b) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it has, by name. `marks`: whiteouts are among it.
    pub(super) fn entries(&self, marks: bool) -> Result<Vec<Found>> {
        let mut all: BTreeMap<Vec<u8>, Found> = BTreeMap::new();
        for (number, part) in self.parts.iter().enumerate() {
            let fd = part.open()?;
            for entry in rustix::fs::Dir::read_from(&fd)? {
                let name = entry?.file_name().to_bytes().to_vec();
                let known = all.get_mut(&name);
                if matches!(&*name, b"." | b"..") || known.as_ref().is_some_and(|f| f.closed) {
                    continue;
                }
                let stat = match rustix::fs::statat(&fd, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => stat?,
                };
                let closed = FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
                match known {
                    None => {
                        let found = Found { name: name.clone(), stat, parts: vec![number], closed };
                        all.insert(name, found);
                    }
                    // Directories merge; anything else ends it.
                    Some(known) if closed => known.closed = true,
                    Some(known) => known.parts.push(number),
                }
            }
        }
        Ok(all.into_values().filter(|found| marks || !found.is_whiteout()).collect())
    }

    /// The directory that `found` is; `None` if it is there no more, EXDEV if its contents are
    /// elsewhere.
    pub(super) fn enter(&self, found: &Found) -> Result<Option<Directory>> {
        let mut parts = Vec::with_capacity(found.parts.len());
        for number in &found.parts {
            let part = &self.parts[*number];
            let dir = match part.open_name(&found.name, DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if parts.is_empty() => {
                    return Ok(None);
                }
                dir => dir?,
            };
            if is_redirected(&dir)? {
                return Err(Errno::XDEV);
            }
            let opaque = is_opaque(&dir)?;
            parts.push(Part {
                layer: Rc::clone(&part.layer),
                path: join(&part.path, &found.name).into(),
                open: parts.is_empty().then(|| Rc::new(dir)),
            });
            if opaque {
                break;
            }
        }
        Ok(Some(Directory { parts }))
    }

    /// Opens a regular file to read it; `None` if it is one no more.
    pub(super) fn open_file(&self, found: &Found) -> Result<Option<(OwnedFd, Stat)>> {
        // NONBLOCK: a fifo in its place must not make it wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match self.part(found).open_name(&found.name, flags) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Ok(None),
            file => file?,
        };
        let stat = rustix::fs::fstat(&file)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(regular.then_some((file, stat)))
    }

    /// What a symlink says; `None` if it is one no more.
    pub(super) fn target(&self, found: &Found) -> Result<Option<Vec<u8>>> {
        match rustix::fs::readlinkat(self.part(found).open()?, &*found.name, Vec::new()) {
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            target => Ok(Some(target?.into_bytes())),
        }
    }

    /// The xattrs of what cannot be opened; none if it is there no more.
    pub(super) fn xattrs_of(&self, found: &Found) -> Result<Xattrs> {
        // O_PATH gives none. The name is a single component and not followed, so that the magic
        // link is the only one that is.
        let part = self.part(found).open()?;
        let mut path = format!("/proc/self/fd/{}/", part.as_raw_fd()).into_bytes();
        path.extend_from_slice(&found.name);
        let found = xattrs(
            |list| rustix::fs::llistxattr(&*path, list),
            |name, value| rustix::fs::lgetxattr(&*path, name, value),
        );
        if found == Err(Errno::NOENT) { Ok(Vec::new()) } else { found }
    }

    fn part(&self, found: &Found) -> &Part {
        &self.parts[found.parts[0]]
    }
}

/// `name` in the directory called `parent`, which is empty for the root.
pub(super) fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// What tells a file from any other.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn is_redirected(dir: &OwnedFd) -> Result<bool> {
    match rustix::fs::fgetxattr(dir, REDIRECT, &mut [0; 0][..]) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The xattrs of an open file.
pub(super) fn xattrs_of_file(file: &OwnedFd) -> Result<Xattrs> {
    xattrs(
        |list| rustix::fs::flistxattr(file, list),
        |name, value| rustix::fs::fgetxattr(file, name, value),
    )
}

/// The xattrs that a layer has, by name. EXDEV if contents are elsewhere.
fn xattrs(
    list: impl Fn(&mut [u8]) -> Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> Result<usize>,
) -> Result<Xattrs> {
    let names = match read(list) {
        Err(Errno::OPNOTSUPP) => Vec::new(),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        if name == METACOPY.as_bytes() {
            return Err(Errno::XDEV);
        }
        // PAX has no way to write a key with an equals sign.
        if !is_kept(name) || name.contains(&b'=') {
            continue;
        }
        match read(|buffer| get(name, buffer)) {
            Err(Errno::NODATA) => {}
            value => xattrs.push((name.to_vec(), value?)),
        }
    }
    // As file systems list them, they are in no order.
    xattrs.sort();
    Ok(xattrs)
}

/// What `call` puts into a buffer. Nearly always it is short.
fn read(call: impl Fn(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    let length = match call(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(MAX_XATTR, 0);
            call(&mut buffer)?
        }
        length => length?,
    };
    buffer.truncate(length);
    Ok(buffer)
}
