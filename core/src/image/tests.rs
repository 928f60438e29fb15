//! Loading, finding, tagging and removing, and that bad input leaves a store as it was.

use std::path::Path;

use serde_json::json;

use super::fixture::{Store, Tar, config, docker_archive, gzip, is_root, read};
use super::*;
use crate::ErrorKind;

fn layers() -> Vec<Vec<u8>> {
    let lower = Tar::new().dir("bin").file("bin/app", b"app").file("gone", b"").end();
    vec![lower, Tar::new().file(".wh.gone", b"").file("new", b"2").end()]
}

fn archive(tags: &[&str]) -> Vec<u8> {
    docker_archive(&config(&layers()), &layers(), tags)
}

#[test]
fn a_docker_archive_is_loaded_found_and_unpacked() {
    let store = Store::new();
    let path = store.file("app.tar", &archive(&["app:1", "localhost/app:latest"]));
    let image = store.images.load(&path).unwrap();
    let id = Digest::of(&config(&layers()));
    assert_eq!(*image.id(), id);
    assert_eq!(image.config().config.cmd.as_deref().unwrap(), ["/bin/app"]);
    assert_eq!(image.config().config.env, [""; 0]);
    assert_eq!(image.config().config.healthcheck.as_ref().unwrap().test, ["NONE"]);
    let references: Vec<String> = image.references().iter().map(Reference::to_string).collect();
    assert_eq!(references, ["docker.io/library/app:1", "localhost/app:latest"]);
    let hex = id.hex();
    for name in ["app:1", "docker.io/library/app:1", "localhost/app", &hex, &hex[..4]] {
        assert_eq!(*store.images.find(name).unwrap().id(), id, "{name}");
    }
    assert_eq!(*store.images.find(&id.to_string()).unwrap().id(), id);
    let by_digest = format!("app:ignored@{}", image.digest());
    assert_eq!(*store.images.find(&by_digest).unwrap().id(), id);
    if is_root() {
        let layers = image.layers().unwrap();
        assert_eq!(layers.len(), 2);
        assert_eq!(read(&layers[0].join("bin/app")).unwrap(), "app");
        assert_eq!(read(&layers[1].join("new")).unwrap(), "2");
        assert_eq!(store.images.find("app:1").unwrap().layers().unwrap(), layers);
        assert_eq!(std::fs::read_dir(store.root().join("staging")).unwrap().count(), 0);
    }
}

#[test]
fn compressed_archives_and_layers_are_recognised() {
    let store = Store::new();
    let plain = archive(&["app:1"]);
    let zstd = zstd::encode_all(&*plain, 0).unwrap();
    let halves = [gzip(&plain[..1000]), gzip(&plain[1000..])].concat();
    for (name, bytes) in [("gz", gzip(&plain)), ("zst", zstd), ("two members", halves)] {
        let image = store.images.load(store.file(name, &bytes)).unwrap();
        assert_eq!(*image.id(), Digest::of(&config(&layers())), "{name}");
    }
    let squeezed = [gzip(&layers()[0]), zstd::encode_all(&*layers()[1], 0).unwrap()];
    let archive = docker_archive(&config(&layers()), &squeezed, &["squeezed"]);
    let image = Store::new();
    let image = image.images.load(store.file("squeezed", &archive)).map(|loaded| (image, loaded));
    let (_other, image) = image.unwrap();
    if is_root() {
        assert_eq!(read(&image.layers().unwrap()[1].join("new")).unwrap(), "2");
    }
}

#[test]
fn import_makes_the_same_image_of_the_same_archive() {
    let store = Store::new();
    let tar = layers().remove(0);
    let image = store.images.import(store.file("root.tar", &tar), Some("root:1")).unwrap();
    assert_eq!(image.references()[0].to_string(), "docker.io/library/root:1");
    assert_eq!(image.config().rootfs.diff_ids, [Digest::of(&tar)]);
    let again = store.images.import(store.file("root.tar.gz", &gzip(&tar)), None).unwrap();
    assert_eq!(again.id(), image.id());
    if is_root() {
        assert_eq!(read(&again.layers().unwrap()[0].join("bin/app")).unwrap(), "app");
        assert_eq!(again.layers().unwrap(), image.layers().unwrap());
    }
}

#[test]
fn an_archive_of_several_images_is_loaded_as_a_whole_only() {
    let store = Store::new();
    let (a, b) = (config(&layers()[..1]), config(&layers()[1..]));
    let manifest = json!([
        {"Config": "a.json", "RepoTags": ["a:1"], "Layers": ["0"]},
        {"Config": "b.json", "RepoTags": null, "Layers": ["link"]},
    ]);
    let tar = Tar::new()
        .file("a.json", &a)
        .file("b.json", &b)
        .file("0", &layers()[0])
        .file("1/layer", &layers()[1])
        .symlink("link", "./2/../1/layer")
        .file("manifest.json", manifest.to_string().as_bytes());
    let path = store.file("both.tar", &tar.end());
    let kind = ErrorKind::InvalidInput;
    let message = store.refused("several", kind, || store.images.load(&path));
    let names = format!("it holds 2 images: docker.io/library/a:1, {}", Digest::of(&b));
    assert!(message.contains(&names), "{message}");
    let images = store.images.load_all(&path).unwrap();
    assert_eq!(
        images.iter().map(|i| *i.id()).collect::<Vec<_>>(),
        [Digest::of(&a), Digest::of(&b)]
    );
    assert_eq!(store.images.list().unwrap().len(), 2);
}

#[test]
fn tags_move_and_the_last_removal_takes_everything() {
    let store = Store::new();
    let images = &store.images;
    let empty = store.contents();
    let image = images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    let other = images.import(store.file("root.tar", &layers()[0]), Some("root:1")).unwrap();
    images.tag("app:1", "app:2").unwrap();
    images.tag("app:1", "root:1").unwrap();
    assert_eq!(images.find("root:1").unwrap().id(), image.id());
    assert!(images.find(&other.id().hex()).unwrap().references().is_empty());
    if is_root() {
        assert_eq!(image.layers().unwrap()[0], other.layers().unwrap()[0]);
    }
    images.remove("app:1").unwrap();
    images.remove("root:1").unwrap();
    assert_eq!(images.find("app:1").unwrap_err().kind(), ErrorKind::NotFound);
    images.remove("app:2").unwrap();
    assert_eq!(images.find(&image.id().hex()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(image.lease().unwrap_err().kind(), ErrorKind::NotFound);
    if is_root() {
        let left = std::fs::read_dir(store.root().join("layers")).unwrap().count();
        assert_eq!(left, 1, "the layer that the other image shares");
    }
    images.remove(&other.id().hex()[..12]).unwrap();
    let sizes = |contents: Vec<(std::path::PathBuf, u64)>| {
        contents.into_iter().map(|(path, _)| path).collect::<Vec<_>>()
    };
    assert_eq!(sizes(store.contents()), sizes(empty));
}

#[test]
fn handles_go_to_any_thread() {
    fn assert<T: Send + Sync + Clone>() {}
    assert::<Images>();
    assert::<Image>();
    fn assert_lease<T: Send + Sync>() {}
    assert_lease::<Lease>();
}

#[test]
fn a_lease_keeps_an_image() {
    let store = Store::new();
    let path = store.file("app.tar", &archive(&["app:1", "app:2"]));
    let image = store.images.load(path).unwrap();
    let leases = (image.lease().unwrap(), image.lease().unwrap());
    let elsewhere = Images::open(&store.root()).unwrap();
    elsewhere.remove("app:2").unwrap();
    store.refused("leased", ErrorKind::InUse, || elsewhere.remove("app:1"));
    store.refused("leased", ErrorKind::InUse, || elsewhere.remove(&image.id().hex()));
    drop(leases.0);
    store.refused("leased", ErrorKind::InUse, || elsewhere.remove("app:1"));
    drop(leases.1);
    elsewhere.remove("app:1").unwrap();
    assert_eq!(store.images.list().unwrap(), []);
}

#[test]
fn names_that_mean_nothing_are_not_found() {
    let store = Store::new();
    store.images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    for (name, kind) in [
        ("app", ErrorKind::NotFound),
        ("ffffffffffff", ErrorKind::NotFound),
        ("App", ErrorKind::InvalidInput),
        ("", ErrorKind::InvalidInput),
    ] {
        assert_eq!(store.images.find(name).unwrap_err().kind(), kind, "{name}");
        store.refused(name, kind, || store.images.remove(name));
        store.refused(name, kind, || store.images.tag(name, "x"));
    }
    store.refused("digest", ErrorKind::InvalidInput, || {
        store.images.tag("app:1", &format!("x@{}", Digest::of(b"")))
    });
}

#[test]
fn an_ambiguous_prefix_is_an_error() {
    let store = Store::new();
    // Ids are hashes: import until two begin alike.
    let mut seen = std::collections::HashMap::new();
    let found = (0..2000u32).find_map(|i| {
        let layer = vec![Tar::new().file("f", &i.to_le_bytes()).end()];
        let prefix = Digest::of(&config(&layer)).hex()[..4].to_owned();
        seen.insert(prefix.clone(), layer.clone()).map(|other| (prefix, layer, other))
    });
    let (prefix, a, b) = found.unwrap();
    for layers in [a, b] {
        let path = store.file("x.tar", &docker_archive(&config(&layers), &layers, &[]));
        store.images.load(path).unwrap();
    }
    let error = store.images.find(&prefix).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("2 images"), "{error}");
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let store = Store::new();
    store.images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    let plain = archive(&["new:1"]);
    let squeezed = gzip(&plain);
    let plain_cuts = (0..plain.len() - 1024).step_by(509).map(|at| &plain[..at]);
    let gzip_cuts = (0..squeezed.len()).step_by(41).map(|at| &squeezed[..at]);
    for bytes in plain_cuts.chain(gzip_cuts) {
        let what = format!("{} bytes", bytes.len());
        let path = store.file("cut.tar", bytes);
        store.refused(&what, ErrorKind::InvalidData, || store.images.load(&path));
        store.refused(&what, ErrorKind::InvalidData, || store.images.load_all(&path));
    }
    let layer = &layers()[0];
    for at in (0..layer.len() - 1024).step_by(101) {
        let path = store.file("cut.tar", &layer[..at]);
        store.refused("import", ErrorKind::InvalidData, || store.images.import(&path, None));
    }
}

#[test]
fn archives_that_do_not_hold_what_they_say_are_refused() {
    let store = Store::new();
    let good = config(&layers());
    let manifest = |text: &str| Tar::new().file("manifest.json", text.as_bytes()).end();
    let item = r#"[{"Config":"c.json","Layers":["0"]}]"#;
    let one = config(&layers()[..1]);
    let named = format!("{}.json", Digest::of(b"other").hex());
    let by_name = json!([{"Config": named, "Layers": ["0"]}]).to_string();
    let tagged = json!([{"Config": "c.json", "Layers": ["0"], "RepoTags": ["Bad"]}]).to_string();
    let full = |manifest: &str, name: &str, config: &[u8], layer: &[u8]| {
        let tar = Tar::new().file(name, config).file("0", layer);
        tar.file("manifest.json", manifest.as_bytes()).end()
    };
    let loop_ = Tar::new().symlink("0", "1").symlink("1", "0").file("c.json", &one);
    for (what, bytes, kind) in [
        ("garbage", vec![b'x'; 4096], ErrorKind::InvalidData),
        ("empty file", Vec::new(), ErrorKind::InvalidData),
        ("xz", b"\xfd7zXZ\0\0\x04".to_vec(), ErrorKind::Unsupported),
        ("empty archive", Tar::new().end(), ErrorKind::InvalidData),
        ("a root file system", layers().remove(0), ErrorKind::InvalidData),
        ("no images", manifest("[]"), ErrorKind::InvalidData),
        ("no list", manifest("{}"), ErrorKind::InvalidData),
        ("no config", manifest(item), ErrorKind::InvalidData),
        ("nested", manifest(&"[".repeat(100_000)), ErrorKind::InvalidData),
        ("large", manifest(&" ".repeat((4 << 20) + 1)), ErrorKind::InvalidData),
        (
            "no layer",
            Tar::new().file("c.json", &one).file("manifest.json", item.as_bytes()).end(),
            ErrorKind::InvalidData,
        ),
        ("link loop", loop_.file("manifest.json", item.as_bytes()).end(), ErrorKind::InvalidData),
        ("layer count", full(item, "c.json", &good, &layers()[0]), ErrorKind::InvalidData),
        ("bad name", full(&tagged, "c.json", &one, &layers()[0]), ErrorKind::InvalidData),
        ("diff_id", full(item, "c.json", &one, &layers()[1]), ErrorKind::DigestMismatch),
        ("config's name", full(&by_name, &named, &one, &layers()[0]), ErrorKind::DigestMismatch),
    ] {
        let path = store.file("bad.tar", &bytes);
        store.refused(what, kind, || store.images.load(&path));
    }
    store.refused("no file", ErrorKind::NotFound, || store.images.load("/skep/no/such.tar"));
    let garbage = store.file("bad.tar", &[b'x'; 4096]);
    store.refused("garbage", ErrorKind::InvalidData, || store.images.import(&garbage, None));
    let end = store.file("bad.tar", &[0; 1024]);
    store.refused("empty", ErrorKind::InvalidData, || store.images.import(&end, None));
}

#[test]
fn a_layer_that_is_hostile_or_not_what_the_config_says_is_not_published() {
    if !is_root() {
        return;
    }
    let good = layers().remove(0);
    let climbing = Tar::new().file("../../outside", b"").end();
    let cases = [
        ("diff_id", vec![good.clone(), good.clone()], 1, ErrorKind::DigestMismatch),
        (
            "trailing bytes",
            vec![good.clone(), [&*good, b"x"].concat()],
            1,
            ErrorKind::DigestMismatch,
        ),
        ("garbage", vec![good.clone(), vec![b'x'; 4096]], 1, ErrorKind::InvalidData),
        ("truncated", vec![good.clone(), good[..700].to_vec()], 1, ErrorKind::InvalidData),
        ("climbing", vec![good.clone(), climbing.clone()], 9, ErrorKind::InvalidData),
    ];
    for (what, mut layers, wrong, kind) in cases {
        let store = Store::new();
        let mut promised = layers.clone();
        if let Some(layer) = promised.get_mut(wrong) {
            *layer = Tar::new().file("promised", b"").end();
        }
        // A compressed layer is checked when it is unpacked.
        layers[1] = gzip(&layers[1]);
        let bytes = docker_archive(&config(&promised), &layers, &["bad"]);
        let image = store.images.load(store.file("bad.tar", &bytes)).unwrap();
        store.refused(what, kind, || image.layers());
        assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn a_damaged_blob_is_not_unpacked() {
    if !is_root() {
        return;
    }
    let store = Store::new();
    let image = store.images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    let blob =
        store.root().join("images/blobs/sha256").join(image.manifest().layers[1].digest.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[1024] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let error = image.layers().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DigestMismatch | ErrorKind::InvalidData), "{error}");
    assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
}

#[test]
fn what_a_dead_process_left_is_swept() {
    let store = Store::new();
    store.images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    let before = store.contents();
    let root = store.root();
    let stray = "ab".repeat(32);
    std::fs::create_dir_all(root.join("staging/dead/deep")).unwrap();
    std::fs::write(root.join("staging/.new"), "half").unwrap();
    std::fs::write(root.join("images/blobs/sha256").join(&stray), "blob").unwrap();
    std::fs::write(root.join("images/blobs/sha256/foreign"), "kept").unwrap();
    std::fs::create_dir_all(root.join("layers").join(&stray).join("fs")).unwrap();
    std::fs::write(root.join("locks").join(&stray), "").unwrap();
    let images = Images::open(&root).unwrap();
    std::fs::remove_file(root.join("images/blobs/sha256/foreign")).unwrap();
    assert_eq!(store.contents(), before);
    assert_eq!(images.list().unwrap().len(), 1);
}

#[test]
fn what_a_living_process_prepares_is_not_swept() {
    let store = Store::new();
    let staging = store.images.layout.stage().unwrap();
    std::fs::write(staging.path().join("blob"), "half").unwrap();
    Images::open(&store.root()).unwrap();
    assert!(staging.path().join("blob").exists());
    let path = staging.path();
    drop(staging);
    assert!(!Path::new(&path).exists());
}

#[test]
fn two_processes_may_unpack_the_same_image() {
    if !is_root() {
        return;
    }
    let store = Store::new();
    store.images.load(store.file("app.tar", &archive(&["app:1"]))).unwrap();
    let unpack = || Images::open(&store.root()).unwrap().find("app:1").unwrap().layers().unwrap();
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(unpack)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(std::fs::read_dir(store.root().join("staging")).unwrap().count(), 0);
}
