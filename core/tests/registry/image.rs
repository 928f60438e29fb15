//! Images made by the tests, as blobs, archives and stores.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep::image::{Digest, Images};

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A store in a temporary directory.
pub(crate) struct Store {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) images: Images,
}

impl Store {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let images = Images::open(dir.path()).unwrap();
        Store { dir, images }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The names in one of its directories.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root().join(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// An image of the tests' own.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Made {
    /// An image of layers with one file each, `f0`, `f1`, ... of so many bytes, that differ by
    /// `salt`.
    pub(crate) fn new(salt: &str, sizes: &[usize]) -> Self {
        Made::for_platform(salt, sizes, "linux", architecture())
    }

    pub(crate) fn for_platform(salt: &str, sizes: &[usize], os: &str, arch: &str) -> Self {
        let layer = |(i, size): (usize, &usize)| {
            let bytes: Vec<u8> = salt.bytes().cycle().take(*size).collect();
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            let mut tar = tar::Builder::new(Vec::new());
            tar.append_data(&mut header, format!("f{i}"), &*bytes).unwrap();
            tar.into_inner().unwrap()
        };
        Made::of(salt, sizes.iter().enumerate().map(layer).collect(), os, arch)
    }

    /// An image of these layers, tar archives.
    pub(crate) fn of(salt: &str, layers: Vec<Vec<u8>>, os: &str, arch: &str) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "architecture": arch,
            "os": os,
            "config": {"Cmd": ["/bin/app"], "Labels": {"salt": salt}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": layers.iter().map(|l| descriptor(OCI_LAYER, l)).collect::<Vec<_>>(),
        });
        Made { layers, config, manifest: manifest.to_string().into_bytes() }
    }

    pub(crate) fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Its blobs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layers.iter().chain([&self.config])
    }

    /// A docker-archive of it, for `load`.
    pub(crate) fn archive(&self, directory: &Path, tag: &str) -> PathBuf {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        add("config.json", &self.config);
        let names: Vec<String> = (0..self.layers.len()).map(|i| format!("{i}.tar")).collect();
        for (name, layer) in names.iter().zip(&self.layers) {
            add(name, layer);
        }
        let item = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": names}]);
        add("manifest.json", item.to_string().as_bytes());
        let path = directory.join("made.tar");
        std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
        path
    }
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// This machine's processor as Go names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Whether the tests may unpack.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
