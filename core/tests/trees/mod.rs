//! Trees compared file by file, and overlays mounted nowhere, for several tests.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// What a file is: all that two trees are compared by.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) device: u64,
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    pub(crate) links: u64,
    pub(crate) contents: Vec<u8>,
    pub(crate) xattrs: BTreeMap<CString, Vec<u8>>,
}

/// An overlay of `layers` (bottom first), mounted nowhere. `writable` is an upper directory and one
/// for work.
pub(crate) fn overlay(layers: &[PathBuf], writable: Option<(&Path, &Path)>) -> OwnedFd {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    let set = |key: &str, path: &Path| {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, path.as_os_str()).unwrap();
    };
    for layer in layers.iter().rev() {
        set("lowerdir+", layer);
    }
    if let Some((upper, work)) = writable {
        set("upperdir", upper);
        set("workdir", work);
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let attributes = match writable {
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Some(_) => MountAttrFlags::empty(),
    };
    rustix::mount::fsmount(&context, flags, attributes).unwrap()
}

/// Where a mount that is nowhere is found.
pub(crate) fn path_of(mount: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", mount.as_raw_fd()).into()
}

/// What overlayfs shows of `layers`.
pub(crate) fn merged(layers: &[PathBuf]) -> BTreeMap<PathBuf, File> {
    match layers {
        // One alone is no overlay.
        [layer] => tree(layer),
        layers => tree(&path_of(&overlay(layers, None))),
    }
}

/// All below `root`, which is the empty path.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, File> {
    let mut tree = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(name) = pending.pop() {
        let path = root.join(&name);
        let file = describe(&path);
        if file.mode & 0o170_000 == 0o040_000 {
            for entry in std::fs::read_dir(&path).unwrap() {
                pending.push(name.join(entry.unwrap().file_name()));
            }
        }
        tree.insert(name, file);
    }
    tree
}

pub(crate) fn describe(path: &Path) -> File {
    // The root is reached through a magic link: a slash behind it is what follows that.
    let metadata = std::fs::symlink_metadata(path.join("")).or_else(|_| path.symlink_metadata());
    let metadata = if path.is_symlink() { path.symlink_metadata() } else { metadata }.unwrap();
    let directory = metadata.is_dir();
    let contents = match metadata.file_type() {
        kind if kind.is_file() => std::fs::read(path).unwrap(),
        kind if kind.is_symlink() => {
            std::fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
        }
        _ => Vec::new(),
    };
    File {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        device: metadata.rdev(),
        size: if directory { 0 } else { metadata.size() },
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        links: if directory { 0 } else { metadata.nlink() },
        contents,
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<CString, Vec<u8>> {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut found = BTreeMap::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        found.insert(CString::new(name).unwrap(), value[..length].to_vec());
    }
    found
}

/// Panics with the first difference, and not with a million bytes of a file.
pub(crate) fn assert_same(ours: &BTreeMap<PathBuf, File>, theirs: &BTreeMap<PathBuf, File>) {
    let names = |tree: &BTreeMap<PathBuf, File>| tree.keys().cloned().collect::<Vec<_>>();
    for name in names(ours).iter().chain(&names(theirs)) {
        let (Some(a), Some(b)) = (ours.get(name), theirs.get(name)) else {
            panic!("{name:?} is in one tree only; ours: {}", ours.contains_key(name));
        };
        assert!(a.contents == b.contents, "{name:?} has other contents");
        let short = |file: &File| {
            let File { mode, owner, device, size, mtime, links, xattrs, .. } = file;
            format!("{mode:o} {owner:?} {device} {size} {mtime:?} {links} {xattrs:?}")
        };
        assert_eq!(short(a), short(b), "{name:?}");
    }
}
