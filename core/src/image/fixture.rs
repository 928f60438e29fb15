//! What the tests of this module build archives and stores from.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::digest::Digest;
use super::store::Images;
use crate::ErrorKind;

/// A store in a temporary directory.
pub(super) struct Store {
    pub(super) dir: tempfile::TempDir,
    pub(super) images: Images,
}

impl Store {
    pub(super) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let root = dir.path().join("store");
        std::fs::create_dir(&root).unwrap();
        let images = Images::open(&root).unwrap();
        Store { dir, images }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Writes `bytes` beside the store.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Asserts that `work` fails with `kind` and leaves the store as it was; returns the message.
    pub(super) fn refused<T>(
        &self,
        what: &str,
        kind: ErrorKind,
        work: impl FnOnce() -> crate::Result<T>,
    ) -> String {
        let (before, contents) = (self.images.list().unwrap(), self.contents());
        let Err(error) = work() else { panic!("{what} was taken") };
        assert_eq!(error.kind(), kind, "{what}: {error}");
        let fix = error.to_string().contains("; ");
        let wants = matches!(kind, ErrorKind::InvalidData | ErrorKind::DigestMismatch);
        assert!(fix || !wants, "{what} has no fix: {error}");
        assert_eq!(self.images.list().unwrap(), before, "{what}");
        assert_eq!(self.contents(), contents, "{what}");
        error.to_string()
    }

    /// Every file of the store but locks, with its size: what must be as before after an error.
    pub(super) fn contents(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut directories = vec![self.root()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    directories.push(entry.path());
                }
                if entry.file_name() != "images.lock" {
                    let size = if metadata.is_file() { metadata.len() } else { 0 };
                    found.push((entry.path(), size));
                }
            }
        }
        found.sort();
        found
    }
}

/// Whether the tests may set owners and make devices; says so if not.
pub(super) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: unpacking needs root");
    }
    root
}

/// Builds tar archives that tools would refuse to write.
#[derive(Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

impl Tar {
    pub(super) fn new() -> Self {
        Tar::default()
    }

    /// A member with default attributes: mode 0644 or 0755, owner 0, time 1000.
    pub(super) fn add(self, flag: u8, name: &str, target: &str, data: &[u8]) -> Self {
        self.header(flag, name, target, data.len() as u64, |_| {}).data(data)
    }

    pub(super) fn file(self, name: &str, data: &[u8]) -> Self {
        self.add(b'0', name, "", data)
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.add(b'5', name, "", b"")
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.add(b'2', name, target, b"")
    }

    pub(super) fn hardlink(self, name: &str, target: &str) -> Self {
        self.add(b'1', name, target, b"")
    }

    /// A PAX header for the next member.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut length = body + 1;
            while length != body + length.to_string().len() {
                length = body + length.to_string().len();
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.add(b'x', "pax", "", &data)
    }

    /// A header alone, changed by `change` before its checksum is set.
    pub(super) fn header(
        mut self,
        flag: u8,
        name: &str,
        target: &str,
        size: u64,
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        let mode = if flag == b'5' { 0o755 } else { 0o644 };
        octal(&mut block[100..108], mode);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[124..136], size);
        octal(&mut block[136..148], 1000);
        block[156] = flag;
        block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        change(&mut block);
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..156], sum);
        self.0.extend_from_slice(&block);
        self
    }

    /// Data of the member before, padded.
    pub(super) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive with its end marker.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(super) fn octal(field: &mut [u8], number: u64) {
    let digits = format!("{number:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The config of an image with these layers.
pub(super) fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    serde_json::to_vec(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/app"], "Env": null, "Healthcheck": {"Test": ["NONE"]}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }))
    .unwrap()
}

/// A docker-archive of one image.
pub(super) fn docker_archive(config: &[u8], layers: &[Vec<u8>], tags: &[&str]) -> Vec<u8> {
    let config_name = format!("{}.json", Digest::of(config).hex());
    let mut tar = Tar::new().file(&config_name, config);
    let mut names = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        names.push(format!("{i}/layer.tar"));
        tar = tar.file(&names[i], layer);
    }
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]);
    tar.file("manifest.json", manifest.to_string().as_bytes()).end()
}

/// What a path is, for comparing: `None` if it does not exist.
pub(super) fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
