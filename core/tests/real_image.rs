//! A real Debian image, in the three forms tools save it in, against what umoci unpacks.
//!
//! Runs when `SKEP_TEST_IMAGES` names the directory that `tests/images/make.sh` filled; needs root
//! and umoci. The layers are looked at through an overlay mounted nowhere, so that the kernel is
//! the judge of whiteouts and opaque marks.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use skep::image::Images;

/// What a file is: all that two trees are compared by.
#[derive(Debug, PartialEq)]
struct File {
    mode: u32,
    owner: (u32, u32),
    device: u64,
    size: u64,
    mtime: (i64, i64),
    links: u64,
    contents: Vec<u8>,
    xattrs: BTreeMap<CString, Vec<u8>>,
}

fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("SKEP_TEST_IMAGES").map(PathBuf::from);
    if cache.is_none() {
        assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "SKEP_TEST_IMAGES is not set");
        eprintln!("skipped: SKEP_TEST_IMAGES does not name what tests/images/make.sh filled");
    }
    cache
}

fn store() -> (tempfile::TempDir, Images) {
    let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    (dir, images)
}

/// An overlay of `layers` (bottom first), mounted nowhere.
fn overlay(layers: &[PathBuf]) -> OwnedFd {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for layer in layers.iter().rev() {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer.as_os_str()).unwrap();
    }
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap()
}

fn tree(root: &Path) -> BTreeMap<PathBuf, File> {
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

fn describe(path: &Path) -> File {
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
fn assert_same(ours: &BTreeMap<PathBuf, File>, theirs: &BTreeMap<PathBuf, File>) {
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

#[test]
fn the_layers_are_what_umoci_unpacks() {
    let Some(cache) = cache() else { return };
    let (dir, images) = store();
    let image = images.load(cache.join("app-oci.tar")).unwrap();
    let layers = image.layers().unwrap();
    let overlay = overlay(&layers);
    let ours = tree(&PathBuf::from(format!("/proc/self/fd/{}", overlay.as_raw_fd())));

    let started = describe(dir.path()).mtime;
    let bundle = dir.path().join("bundle");
    let mut name = cache.join("app-oci").into_os_string();
    name.push(":app");
    let umoci = Command::new("umoci").args(["unpack", "--image"]).arg(name).arg(&bundle).output();
    let umoci = umoci.unwrap();
    assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
    let mut theirs = tree(&bundle.join("rootfs"));
    for (name, theirs) in &mut theirs {
        // Directories that the upper layer only implies: umoci leaves them the time of unpacking.
        if theirs.mtime >= started && theirs.mode & 0o170_000 == 0o040_000 {
            theirs.mtime = ours.get(name).map_or(theirs.mtime, |ours| ours.mtime);
        }
    }
    assert_same(&ours, &theirs);

    assert!(ours.len() > 2000, "{} files", ours.len());
    let file = |name: &str| ours.get(Path::new(name));
    assert!(file("etc/issue").is_none() && file("usr/share/doc/dpkg").is_none());
    assert_eq!(file("usr/lib/skep/through-usrmerge").unwrap().owner, (33, 33));
    assert_eq!(file("usr/bin/linked-sh").unwrap().contents, file("usr/bin/dash").unwrap().contents);
    assert_eq!(file("usr/bin/capable").unwrap().xattrs.len(), 2);
}

#[test]
fn all_forms_of_the_image_have_the_same_layers() {
    let Some(cache) = cache() else { return };
    let (_dir, images) = store();
    let docker = images.load(cache.join("app.tar")).unwrap();
    let archive = images.load(cache.join("app-oci.tar")).unwrap();
    let layout = images.load(cache.join("app-oci")).unwrap();
    assert_eq!(archive.id(), layout.id());
    assert_eq!(docker.references()[0].to_string(), "localhost/app:1");
    for image in [&docker, &archive, &layout] {
        let config = &image.config().config;
        assert_eq!(config.cmd.as_deref().unwrap(), ["python3", "/srv/app.py"]);
        assert_eq!(config.env, ["PATH=/usr/local/bin:/usr/bin:/bin", "APP=skep"]);
        assert_eq!((&*config.user, &*config.working_dir), ("1000:1000", "/srv"));
        assert_eq!(config.labels["made-by"], "skep");
        assert_eq!(image.layers().unwrap(), docker.layers().unwrap());
    }
}

#[test]
fn the_root_file_system_is_imported_and_skopeo_reads_the_store() {
    let Some(cache) = cache() else { return };
    let (dir, images) = store();
    let image = images.import(cache.join("base.tar"), Some("base:1")).unwrap();
    assert!(image.layers().unwrap()[0].join("usr/bin/python3").exists());
    let layout = dir.path().join("images");
    let name = [b"oci:", layout.as_os_str().as_bytes(), b":docker.io/library/base:1"].concat();
    let skopeo = Command::new("skopeo")
        .args(["--insecure-policy", "inspect"])
        .arg(std::ffi::OsStr::from_bytes(&name))
        .output()
        .unwrap();
    assert!(skopeo.status.success(), "{}", String::from_utf8_lossy(&skopeo.stderr));
    let layer = image.manifest().layers[0].digest.to_string();
    assert!(String::from_utf8_lossy(&skopeo.stdout).contains(&layer));
}
