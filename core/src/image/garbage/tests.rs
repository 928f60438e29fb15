//! What goes and what stays, whoever is at work at the same moment.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::ErrorKind;
use crate::image::fixture::{Store, Tar, config, docker_archive, is_root};
use crate::image::{Commit, Digest, Images, Prune, Pruned};

/// Two layers; the lower one is that of all images here.
fn layers(name: &str) -> Vec<Vec<u8>> {
    let base = Tar::new().file("base", &[b'b'; 10_000]).end();
    vec![base, Tar::new().file(name, name.as_bytes()).end()]
}

fn archive(store: &Store, name: &str) -> PathBuf {
    let (layers, tag) = (layers(name), format!("{name}:1"));
    let bytes = docker_archive(&config(&layers), &layers, &[&tag]);
    store.file(&format!("{name}.tar"), &bytes)
}

/// A store with images `a:1` and `b:1` and one that has lost its name.
fn store() -> (Store, Digest) {
    let store = Store::new();
    for name in ["a", "b", "old"] {
        let image = store.images.load(archive(&store, name)).unwrap();
        if is_root() {
            image.layers().unwrap();
        }
    }
    let nameless = *store.images.find("old:1").unwrap().id();
    store.images.tag("b:1", "old:1").unwrap();
    (store, nameless)
}

fn ids(images: &Images) -> BTreeSet<Digest> {
    images.list().unwrap().into_iter().map(|image| image.id).collect()
}

#[test]
fn each_step_of_a_prune_takes_more() {
    let (store, nameless) = store();
    let images = &store.images;
    let all = ids(images);
    assert_eq!(images.prune(Prune::Files).unwrap(), Pruned::default());
    let stray = store.root().join("images/blobs/sha256").join("ab".repeat(32));
    std::fs::write(&stray, [0; 700]).unwrap();
    std::fs::create_dir_all(store.root().join("layers").join("cd".repeat(32)).join("fs")).unwrap();
    let foreign = store.root().join("images/blobs/sha256/foreign");
    std::fs::write(&foreign, "").unwrap();
    let pruned = images.prune(Prune::Files).unwrap();
    assert_eq!((&*pruned.images, pruned.blobs, pruned.layers), (&[][..], 1, 1));
    assert!(pruned.bytes >= 700 && !stray.exists() && foreign.exists());
    assert_eq!(ids(images), all);

    let lease = images.find(&nameless.hex()).unwrap().lease().unwrap();
    assert_eq!(images.prune(Prune::Nameless).unwrap(), Pruned::default());
    drop(lease);
    let pruned = images.prune(Prune::Nameless).unwrap();
    // Its config, its manifest and the layer that no other image has.
    assert_eq!((&*pruned.images, pruned.blobs), (&[nameless][..], 3));
    assert_eq!(pruned.layers, u64::from(is_root()));

    let lease = images.find("a:1").unwrap().lease().unwrap();
    assert_eq!(images.prune(Prune::Unused).unwrap().images.len(), 1);
    assert_eq!(images.list().unwrap().len(), 1);
    if is_root() {
        assert_eq!(images.find("a:1").unwrap().layers().unwrap().len(), 2);
    }
    drop(lease);
    images.prune(Prune::Unused).unwrap();
    assert_eq!(images.list().unwrap(), []);
    std::fs::remove_file(foreign).unwrap();
    assert_eq!(store.contents().len(), Store::new().contents().len());
}

#[test]
fn what_cannot_be_read_now_is_not_taken_for_unneeded() {
    let (store, _) = store();
    let manifest = *store.images.find("a:1").unwrap().digest();
    let blob = store.root().join("images/blobs/sha256").join(manifest.hex());
    let bytes = std::fs::read(&blob).unwrap();
    // Reading it fails for a reason that is none of its bytes.
    std::fs::remove_file(&blob).unwrap();
    std::fs::create_dir(&blob).unwrap();
    std::fs::create_dir_all(store.root().join("staging/dead")).unwrap();
    // But for leases' files, which mean nothing where nobody holds them.
    let files = || {
        let locks = store.root().join("locks");
        let all = store.contents().into_iter();
        all.filter(|(path, _)| !path.starts_with(&locks)).collect::<Vec<_>>()
    };
    let before = files();
    for what in [Prune::Files, Prune::Nameless] {
        store.images.prune(what).unwrap_err();
    }
    store.images.remove("b:1").unwrap_err();
    Images::open(&store.root()).unwrap_err();
    assert_eq!(files(), before);
    std::fs::remove_dir(&blob).unwrap();
    std::fs::write(&blob, bytes).unwrap();
    let images = Images::open(&store.root()).unwrap();
    assert_eq!(images.list().unwrap().len(), 3);
    assert_eq!(images.find("a:1").unwrap().digest(), &manifest);
}

#[test]
fn damaged_images_stay_until_they_are_removed() {
    let (store, _) = store();
    let manifest = *store.images.find("a:1").unwrap().digest();
    let blob = store.root().join("images/blobs/sha256").join(manifest.hex());
    std::fs::write(&blob, "damaged").unwrap();
    let images = Images::open(&store.root()).unwrap();
    images.prune(Prune::Unused).unwrap();
    assert_eq!(images.find("a:1").unwrap_err().kind(), ErrorKind::DigestMismatch);
    images.remove("a:1").unwrap();
    assert_eq!(images.find("a:1").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn who_uses_an_image_is_told() {
    let (store, _) = store();
    let _lease = store.images.find("a:1").unwrap().lease().unwrap();
    let message = store.refused("in use", ErrorKind::InUse, || store.images.remove("a:1"));
    let told = message.contains("a container of this process uses it");
    assert!(told || message.contains("a container uses it"), "{message}");
    let unknown = super::users(&[u32::MAX, std::process::id()]);
    assert_eq!(unknown, format!("containers of process {}, this process use", u32::MAX));
}

#[test]
fn images_that_come_while_others_go_are_complete() {
    let store = Store::new();
    let archives: Vec<PathBuf> = ["a", "b"].iter().map(|name| archive(&store, name)).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let loaders: Vec<_> = archives
            .iter()
            .map(|archive| {
                let root = store.root();
                scope.spawn(move || {
                    let images = Images::open(&root).unwrap();
                    for _ in 0..15 {
                        let image = images.load(archive).unwrap();
                        let _lease = image.lease().unwrap();
                        if is_root() {
                            image.layers().unwrap();
                            image
                                .commit(archive.parent().unwrap().join("none"), &Commit::new())
                                .unwrap_err();
                        }
                        let name = image.references()[0].to_string();
                        let saved = archive.with_extension("saved");
                        images.save(&[&name], saved, Default::default()).unwrap();
                        drop(_lease);
                        images.remove(&name).unwrap();
                    }
                })
            })
            .collect();
        let pruner = scope.spawn(|| {
            let images = Images::open(&store.root()).unwrap();
            while !done.load(relaxed) {
                images.prune(Prune::Nameless).unwrap();
                images.prune(Prune::Files).unwrap();
                images.disk_usage().unwrap();
            }
        });
        let loaded: Vec<_> = loaders.into_iter().map(|loader| loader.join()).collect();
        done.store(true, relaxed);
        pruner.join().unwrap();
        assert!(loaded.iter().all(Result::is_ok));
    });
    assert_eq!(store.images.list().unwrap(), []);
    assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
}

#[test]
fn what_images_share_is_told_from_what_they_have_alone() {
    let (store, nameless) = store();
    let usage = store.images.disk_usage().unwrap();
    assert_eq!(usage.images.len(), 3);
    assert_eq!(usage.unneeded, 0);
    let all: u64 = usage.images.iter().map(|image| image.blobs + image.layers).sum();
    assert!(all > usage.blobs + usage.layers, "what is shared counts for each");
    for image in &usage.images {
        assert!(image.shared >= 10_000 && image.shared < image.blobs + image.layers, "{image:?}");
        assert!(!image.in_use);
        assert_eq!(image.references.is_empty(), image.id == nameless);
        assert_eq!(image.layers > 0, is_root());
    }
    let blob = store.root().join("images/blobs/sha256").join("ab".repeat(32));
    std::fs::write(blob, [1; 5000]).unwrap();
    let _lease = store.images.find("a:1").unwrap().lease().unwrap();
    let usage = store.images.disk_usage().unwrap();
    assert!(usage.unneeded >= 5000);
    let in_use: Vec<_> = usage.images.iter().filter(|image| image.in_use).map(|i| i.id).collect();
    assert_eq!(in_use, [*store.images.find("a:1").unwrap().id()]);
}

#[test]
fn a_history_tells_of_layers() {
    let store = Store::new();
    let (mut layers, config_of) = (layers("a"), config);
    layers.push(Tar::new().file("top", b"").end());
    let mut document: serde_json::Value = serde_json::from_slice(&config_of(&layers)).unwrap();
    document["history"] = json!([
        {"created_by": "COPY"},
        {"created_by": "CMD", "empty_layer": true},
        {"created_by": "RUN", "comment": "last"},
    ]);
    let bytes = docker_archive(&serde_json::to_vec(&document).unwrap(), &layers, &["a:1"]);
    let image = store.images.load(store.file("a.tar", &bytes)).unwrap();
    let told: Vec<_> = image
        .history()
        .into_iter()
        .map(|step| (step.history.created_by.unwrap_or_default(), step.layer.map(|l| l.digest)))
        .collect();
    let layer = |i: usize| Some(image.manifest().layers[i].digest);
    let expected = [("", layer(0)), ("COPY", layer(1)), ("CMD", None), ("RUN", layer(2))];
    assert_eq!(told, expected.map(|(by, layer)| (by.to_owned(), layer)));
}

#[test]
fn a_lease_keeps_the_blobs_of_each_of_an_image_s_manifests() {
    use crate::image::fixture::gzip;
    let store = Store::new();
    let layers = layers("a");
    let compressed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    let load = |layers: &[Vec<u8>], tag: &str| {
        let bytes = docker_archive(&config(&self::layers("a")), layers, &[tag]);
        store.images.load(store.file("a.tar", &bytes)).unwrap()
    };
    let (plain, other) = (load(&layers, "a:1"), load(&compressed, "a:2"));
    assert_eq!(plain.id(), other.id());
    assert_ne!(plain.digest(), other.digest());
    let lease = plain.lease().unwrap();
    store.refused("leased", ErrorKind::InUse, || store.images.remove("a:1"));
    drop(lease);
    store.images.remove("a:1").unwrap();
    let blob =
        |image: &crate::Image| store.images.layout.has_blob(&image.manifest().layers[0].digest);
    assert_eq!((blob(&plain), blob(&other)), (false, true));
    // Others may take a lease again.
    drop(other.lease().unwrap());
    store.images.remove("a:2").unwrap();
}

#[test]
fn a_manifest_that_lost_its_name_to_another_of_the_same_image_is_nameless() {
    use crate::image::fixture::gzip;
    let store = Store::new();
    let layers = layers("a");
    let compressed: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
    for blobs in [&layers, &compressed] {
        let bytes = docker_archive(&config(&layers), blobs, &["a:1"]);
        store.images.load(store.file("a.tar", &bytes)).unwrap();
    }
    let image = store.images.find("a:1").unwrap();
    let lease = image.lease().unwrap();
    assert_eq!(store.images.prune(Prune::Nameless).unwrap(), Pruned::default());
    drop(lease);
    let pruned = store.images.prune(Prune::Nameless).unwrap();
    // Its manifest and two layers; the image stays.
    assert_eq!((&*pruned.images, pruned.blobs), (&[][..], 3));
    assert_eq!(store.images.find("a:1").unwrap().digest(), image.digest());
    assert_eq!(store.images.disk_usage().unwrap().unneeded, 0);
    image.lease().unwrap();
}
