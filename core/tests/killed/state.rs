//! What a store has, for comparing, and whether it is consistent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use skep::image::{Digest, Images};

use crate::trees::{self, File};

/// All that an operation changes: what is in the index, blobs and layers by name, and what is being
/// prepared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    index: BTreeSet<String>,
    blobs: BTreeSet<String>,
    layers: BTreeSet<String>,
    staging: BTreeSet<String>,
}

impl State {
    /// Of a store as it lies there: it is not opened.
    pub(crate) fn of(store: &Path) -> State {
        let index = std::fs::read(store.join("images/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        State {
            index: manifests.iter().map(|entry| without_port(&entry.to_string())).collect(),
            blobs: names(&store.join("images/blobs/sha256")),
            layers: names(&store.join("layers")),
            // What a write that failed or was killed leaves is written over by the next.
            staging: names(&store.join("staging")).into_iter().filter(|n| n != ".new").collect(),
        }
    }

    /// Whether it is the same but for layers, each of which comes or goes for itself.
    pub(crate) fn is_like(&self, other: &State) -> bool {
        let State { index, blobs, layers: _, staging } = self;
        (index, blobs, staging) == (&other.index, &other.blobs, &other.staging)
    }
}

/// Every registry of the tests has another port.
fn without_port(text: &str) -> String {
    let mut pieces = text.split("127.0.0.1:");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}

pub(crate) fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

type Tree = BTreeMap<PathBuf, File>;

/// Every layer there may be, file by file.
pub(crate) struct Reference(BTreeMap<String, Tree>);

impl Reference {
    pub(crate) fn of(store: &Path) -> Reference {
        let mut reference = Reference(BTreeMap::new());
        reference.add(store);
        reference
    }

    pub(crate) fn add(&mut self, store: &Path) {
        for name in names(&store.join("layers")) {
            let tree = tree(&store.join("layers").join(&name));
            self.0.insert(name, tree);
        }
    }

    /// Asserts that an opened store is consistent: every blob is what its name says, every image has
    /// all of its own, every layer is whole, and there is nothing else.
    pub(crate) fn check(&self, images: &Images, store: &Path, at: &str) {
        let blobs = store.join("images/blobs/sha256");
        let (mut unneeded, mut missing) = (names(&blobs), Vec::new());
        for name in &unneeded {
            let digest = Digest::of(&std::fs::read(blobs.join(name)).unwrap());
            assert_eq!(digest.hex(), *name, "{at}: a damaged blob");
        }
        let mut layers = names(&store.join("layers"));
        for name in &layers {
            let expected = self.0.get(name).unwrap_or_else(|| panic!("{at}: a foreign layer"));
            trees::assert_same(&tree(&store.join("layers").join(name)), expected);
        }
        let had = names(&blobs);
        let index = std::fs::read(store.join("images/index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let listed = images.list().unwrap();
        let ids: BTreeSet<Digest> = listed.iter().map(|image| image.id).collect();
        assert!(index["manifests"].as_array().unwrap().len() >= ids.len(), "{at}");
        for id in ids {
            let image = images.find(&id.hex()).unwrap();
            let manifest = image.manifest();
            let of_layers = manifest.layers.iter().map(|layer| layer.digest);
            for digest in of_layers.chain([*image.digest(), manifest.config.digest]) {
                unneeded.remove(&digest.hex());
                missing.extend((!had.contains(&digest.hex())).then_some(digest));
            }
            for chain_id in chain_ids(&image.config().rootfs.diff_ids) {
                layers.remove(&chain_id.hex());
            }
        }
        assert_eq!((missing, unneeded, layers), Default::default(), "{at}");
        assert_eq!(names(&store.join("staging")), BTreeSet::new(), "{at}");
    }
}

/// A layer's files. Directories that an archive does not have bear the present as their time.
fn tree(layer: &Path) -> Tree {
    let mut tree = trees::tree(layer);
    for file in tree.values_mut() {
        file.mtime = (0, 0);
    }
    tree
}

/// Source: <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain = Vec::<Digest>::new();
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => *diff_id,
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}
