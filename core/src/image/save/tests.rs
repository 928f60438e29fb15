//! What is saved is loaded again, and read by others.

use std::path::Path;
use std::process::Command;

use super::ArchiveFormat::{Docker, Oci};
use crate::ErrorKind;
use crate::image::fixture::{Store, Tar, config, docker_archive, gzip};
use crate::image::{Digest, Images};

/// A store with `app:1` (one layer compressed), also called `app:2`, and `other:1`, which shares a
/// layer with it.
fn store() -> Store {
    let store = Store::new();
    let base = Tar::new().dir("bin").file("bin/app", b"app").end();
    let top = Tar::new().file("etc", &[b'x'; 5000]).end();
    let both = config(&[base.clone(), top.clone()]);
    let app = docker_archive(&both, &[base.clone(), gzip(&top)], &["app:1", "app:2"]);
    let one = config(std::slice::from_ref(&base));
    let other = docker_archive(&one, &[base], &["other:1"]);
    for (name, bytes) in [("app.tar", app), ("other.tar", other)] {
        store.images.load(store.file(name, &bytes)).unwrap();
    }
    store
}

/// Loads into an empty store and gives names and ids, in the order of the names.
fn loaded(archive: &Path) -> Vec<(Digest, Vec<String>)> {
    let store = Store::new();
    let images = store.images.load_all(archive).unwrap();
    let names = |image: &crate::Image| image.references().iter().map(|r| r.to_string()).collect();
    let mut found: Vec<(Digest, Vec<String>)> =
        images.iter().map(|image| (*image.id(), names(image))).collect();
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

fn complete(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("docker.io/library/{name}")).collect()
}

#[test]
fn images_come_back_by_id_and_name() {
    let store = store();
    let id = |name: &str| *store.images.find(name).unwrap().id();
    let (app, other) = (id("app:1"), id("other:1"));
    let hex = app.hex();
    for format in [Docker, Oci] {
        let path = store.dir.path().join("saved.tar");
        for (names, expected) in [
            (vec!["app:2"], vec![(app, complete(&["app:2"]))]),
            (vec![&*hex], vec![(app, complete(&["app:1", "app:2"]))]),
            (
                vec!["other:1", "app:1", "app:1", &hex[..12]],
                vec![(app, complete(&["app:1", "app:2"])), (other, complete(&["other:1"]))],
            ),
        ] {
            store.images.save(&names, &path, format).unwrap();
            assert_eq!(loaded(&path), expected, "{format:?} {names:?}");
        }
    }
}

#[test]
fn an_image_without_a_name_is_saved_by_its_id() {
    let store = store();
    store.images.tag("other:1", "app:1").unwrap();
    store.images.tag("other:1", "app:2").unwrap();
    let nameless = store.images.list().unwrap().into_iter().find(|i| i.references.is_empty());
    let id = nameless.unwrap().id;
    for format in [Docker, Oci] {
        let path = store.dir.path().join("saved.tar");
        store.images.save(&[id.hex()], &path, format).unwrap();
        assert_eq!(loaded(&path), [(id, Vec::new())]);
    }
}

#[test]
fn the_same_images_are_the_same_bytes_and_an_oci_archive_keeps_all_digests() {
    let store = store();
    let image = store.images.find("app:1").unwrap();
    for format in [Docker, Oci] {
        let save = |images: &Images, name: &str| {
            let path = store.dir.path().join(name);
            images.save(&["app:1"], &path, format).unwrap();
            path
        };
        let first = save(&store.images, "first.tar");
        let elsewhere = Store::new();
        let again = elsewhere.images.load(&first).unwrap();
        assert_eq!(again.id(), image.id());
        assert_eq!(again.digest() == image.digest(), format == Oci);
        let second = save(&elsewhere.images, "second.tar");
        assert!(std::fs::read(&first).unwrap() == std::fs::read(second).unwrap(), "{format:?}");
    }
}

#[test]
fn a_damaged_image_is_not_saved_and_the_former_file_stays() {
    let store = store();
    let image = store.images.find("app:1").unwrap();
    let place = store.file("saved.tar", b"former");
    for layer in &image.manifest().layers {
        let blob = store.root().join("images/blobs/sha256").join(layer.digest.hex());
        let good = std::fs::read(&blob).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        let longer = [&*good, b"x"].concat();
        for bad in [flipped, good[..good.len() - 1].to_vec(), longer] {
            std::fs::write(&blob, bad).unwrap();
            for format in [Docker, Oci] {
                let error = store.images.save(&["app:1"], &place, format).unwrap_err();
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::DigestMismatch | ErrorKind::InvalidData),
                    "{error}"
                );
                assert_eq!(std::fs::read(&place).unwrap(), b"former");
            }
        }
        std::fs::write(&blob, good).unwrap();
    }
    assert_eq!(std::fs::read_dir(store.dir.path()).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn what_cannot_be_saved_is_an_error() {
    let store = store();
    let place = store.dir.path().join("saved.tar");
    let save = |names: &[&str]| store.images.save(names, &place, Docker).unwrap_err().kind();
    assert_eq!(save(&[]), ErrorKind::InvalidInput);
    assert_eq!(save(&["app:1", "missing:1"]), ErrorKind::NotFound);
    assert_eq!(save(&["App"]), ErrorKind::InvalidInput);
    assert!(!place.exists());
}

/// Runs a peer, or says that it is not there.
fn peer(program: &str, args: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(program).args(args).output() else {
        assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "{program} is missing");
        eprintln!("skipped: {program} is missing");
        return None;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn skopeo_reads_each_of_several_images() {
    let store = store();
    let path = store.dir.path().join("saved.tar");
    for (format, transport) in [(Docker, "docker-archive"), (Oci, "oci-archive")] {
        store.images.save(&["app:1", "other:1"], &path, format).unwrap();
        for (name, layers) in [("app:1", 2), ("other:1", 1)] {
            let name = format!("{transport}:{}:docker.io/library/{name}", path.display());
            let copy = format!("dir:{}", store.dir.path().join("copy").display());
            // A copy checks all digests, and the layers' diff_ids where it has to compress.
            let args = ["--insecure-policy", "copy", "--dest-compress", &name, &copy];
            let Some(_) = peer("skopeo", &args) else { return };
            let inspected = peer("skopeo", &["--insecure-policy", "inspect", &name]).unwrap();
            let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
            assert_eq!(inspected["Layers"].as_array().unwrap().len(), layers, "{name}");
        }
    }
}

#[test]
fn podman_loads_what_is_saved() {
    let store = store();
    let path = store.dir.path().join("saved.tar");
    for (format, names) in [(Docker, &["app:1", "other:1"][..]), (Oci, &["app:1"])] {
        store.images.save(names, &path, format).unwrap();
        let storage = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let place = |name: &str| storage.path().join(name).display().to_string();
        let (root, run) = (place("root"), place("run"));
        let podman = |args: &[&str]| {
            let global = ["--root", &root, "--runroot", &run, "--storage-driver", "vfs"];
            peer("podman", &[&global, args].concat())
        };
        let Some(_) = podman(&["load", "--input", &path.display().to_string()]) else { return };
        for name in names {
            let id = podman(&["image", "inspect", "--format", "{{.Id}}", name]).unwrap();
            assert_eq!(id.trim(), store.images.find(name).unwrap().id().hex());
        }
    }
}

#[test]
fn names_that_nobody_would_take_are_left_out() {
    use crate::image::{Reference, store::set_reference};
    let store = store();
    let image = store.images.find("other:1").unwrap();
    // As a pull by the digest of an index leaves it.
    let pinned = format!("localhost/other@{}", Digest::of(b"an index"));
    let layout = &store.images.layout;
    let mut index = layout.index().unwrap();
    let top = index.manifests.iter().find(|top| top.digest == *image.digest()).unwrap().clone();
    set_reference(&mut index, Some(&Reference::parse(&pinned).unwrap()), &top);
    layout.write_index(&index).unwrap();
    let path = store.dir.path().join("saved.tar");
    for (name, expected) in [(&*pinned, vec![]), (&image.id().hex(), complete(&["other:1"]))] {
        for format in [Docker, Oci] {
            store.images.save(&[name], &path, format).unwrap();
            assert_eq!(loaded(&path), [(*image.id(), expected.clone())], "{format:?} {name}");
            let archive = std::fs::read(&path).unwrap();
            assert!(!String::from_utf8_lossy(&archive).contains(&pinned), "{format:?} {name}");
        }
    }
}

#[test]
fn what_an_image_may_become_bounds_all_of_its_layers_together() {
    let store = store();
    let path = store.dir.path().join("saved.tar");
    let save = |bytes| store.images.max_size(bytes).save(&["app:1"], &path, Docker);
    // 2,560 and 6,656 bytes.
    save(9216).unwrap();
    assert_eq!(save(9215).unwrap_err().kind(), ErrorKind::ResourceExhausted);
}
