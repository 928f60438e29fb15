//! What the fuzz targets reach: the parsers of images, which are hostile. It exists with
//! `--cfg fuzzing` only.

use std::os::fd::AsFd;
use std::path::Path;

use super::budget::Budget;
use super::config::ImageConfig;
use super::manifest::{Index, Manifest, resolve};
use super::platform::Platform;
use super::reference::Reference;
use super::tar::Archive;
use super::unpack::{Lowers, open_root, unpack as unpack_layer};
use super::{Descriptor, Digest};
use crate::{Error, ErrorKind};

/// Reads an archive to its end; what comes out is what the types promise.
pub fn tar(bytes: &[u8]) {
    let mut archive = Archive::new(bytes, "it");
    while let Ok(Some(entry)) = archive.next() {
        assert!(!entry.name.is_empty() && !entry.name.contains(&0) && entry.name.len() < 4096);
        assert!(entry.mode <= 0o7777 && entry.uid != u32::MAX && entry.gid != u32::MAX);
        assert!(entry.mtime.1 < 1_000_000_000);
        let mut stored = entry.size;
        if let Some(segments) = &entry.segments {
            let end = segments.last().map_or(0, |last| last.offset + last.length);
            assert!(end <= entry.size && i64::try_from(entry.size).is_ok());
            stored = segments.iter().map(|segment| segment.length).sum();
        }
        if archive.copy(stored, |_| Ok::<_, Error>(())).is_err() {
            return;
        }
    }
    let _ = archive.finish();
}

/// Unpacks an archive into `upper` of the directory `bench`, onto its `lower`. Nothing beside it may
/// change, and whatever is wrong is the archive.
pub fn unpack(bytes: &[u8], bench: &Path) {
    let root = bench.join("upper");
    std::fs::create_dir(&root).expect("it was removed");
    let mut lowers = Lowers::within(&Budget::new(Some(1 << 20), 0));
    lowers.push(open(&bench.join("lower")));
    let upper = open(&root);
    let mut archive = Archive::new(bytes, "it");
    if let Err(error) = unpack_layer(&mut archive, upper.as_fd(), &lowers, "it") {
        use ErrorKind::{InvalidData, PermissionDenied, ResourceExhausted, Unsupported};
        // The last two: xattrs that the kernel or the file system does not have.
        let kinds = [InvalidData, Unsupported, ResourceExhausted, PermissionDenied];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
    crate::sys::path::remove_path(&root).expect("what was unpacked can be removed");
    let mut names: Vec<_> = std::fs::read_dir(bench)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["lower", "outside"]);
    assert_eq!(std::fs::read(bench.join("outside")).expect("it is there"), b"untouched");
}

fn open(path: &Path) -> std::os::fd::OwnedFd {
    open_root(rustix::fs::CWD, path).expect("it is there")
}

/// Manifests, indexes, configs: the same bytes as each, and as an index that leads to itself.
pub fn documents(bytes: &[u8]) {
    let manifest = Manifest::parse(bytes, "it");
    let index = Index::parse(bytes, "it");
    // CVE-2021-41190.
    assert!(manifest.is_err() || index.is_err());
    if let Ok(manifest) = &manifest {
        let _ = manifest.size();
        let json = serde_json::to_vec(manifest).expect("what was read can be written");
        assert_eq!(Manifest::parse(&json, "it").expect("and read"), *manifest);
        if let Ok(config) = ImageConfig::parse(bytes, manifest, "it") {
            assert_eq!(config.chain_ids().len(), manifest.layers.len());
        }
    }
    if let Ok(config) = serde_json::from_slice::<ImageConfig>(bytes) {
        assert_eq!(config.chain_ids().len(), config.rootfs.diff_ids.len());
    }
    let top = Descriptor::new(super::manifest::OCI_INDEX, Digest::of(bytes), bytes.len() as u64);
    let _ = resolve(&top, &Platform::host(), |_| Ok(bytes.to_vec()));
}

/// A reference that is taken reads as itself again.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(reference) = Reference::parse(text) {
        let shown = reference.to_string();
        assert_eq!(Reference::parse(&shown).expect("it was shown"), reference);
        assert!(reference.domain().len() <= 255 && reference.path().len() <= 255);
        assert!(reference.path().split('/').all(|part| !matches!(part, "" | "." | "..")));
        assert!(reference.tag().is_some() || reference.digest().is_some());
    }
    let _ = Digest::parse(text);
    let _ = text.parse::<Platform>();
}
