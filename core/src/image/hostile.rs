//! Images that mean harm, from their archive to their layers: refused with a reason, and the store
//! is as before.

use serde_json::json;

use super::compression::Decoder;
use super::fixture::{Store, Tar, config, docker_archive, gzip, is_root};
use super::manifest::{
    DOCKER_MANIFEST, Index, MAX_DOCUMENT, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP,
    OCI_MANIFEST, resolve,
};
use super::*;
use crate::{Error, ErrorKind};

/// A layer of so many zeros, and the same squeezed.
fn zeros(size: usize) -> (Vec<u8>, Vec<u8>) {
    let layer = Tar::new().file("zeros", &vec![0; size]).end();
    let squeezed = gzip(&layer);
    (layer, squeezed)
}

/// A layer with a hole of so many bytes.
fn hole(size: u64) -> Vec<u8> {
    let size = size.to_string();
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", b"0,1")];
    Tar::new().pax(records).file("hole", b"x").end()
}

/// An archive of an image with one layer, stored as `blob`.
fn archive(layer: &[u8], blob: &[u8]) -> Vec<u8> {
    docker_archive(&config(&[layer.to_vec()]), &[blob.to_vec()], &["bad"])
}

#[test]
fn a_bomb_is_refused_wherever_it_is_unpacked() {
    let store = Store::new();
    let (layer, squeezed) = zeros(8 << 20);
    let bounded = store.images.max_size(1 << 20);
    let refused = |what: &str, work: &dyn Fn() -> crate::Result<()>| {
        let text = store.refused(what, ErrorKind::ResourceExhausted, work);
        assert!(text.contains("becomes more than 1048576 bytes"), "{text}");
    };
    let whole = store.file("whole.tar.gz", &gzip(&archive(&layer, &layer)));
    refused("load", &|| bounded.load(&whole).map(drop));
    let root = store.file("root.tar.gz", &squeezed);
    refused("import", &|| bounded.import(&root, None).map(drop));
    // A compressed layer is loaded as it is.
    let image = bounded.load(store.file("layer.tar", &archive(&layer, &squeezed))).unwrap();
    // Which leaves its lock's file.
    drop(image.lease().unwrap());
    let saved = store.dir.path().join("saved.tar");
    refused("save", &|| bounded.save(&["bad"], &saved, ArchiveFormat::Docker));
    assert!(!saved.exists());
    if is_root() {
        refused("unpack", &|| image.layers().map(drop));
        assert_eq!(std::fs::read_dir(store.root().join("layers")).unwrap().count(), 0);
        assert_eq!(store.images.find("bad").unwrap().layers().unwrap().len(), 1);
    }
}

#[test]
fn a_bomb_of_which_nobody_spoke_is_refused_too() {
    if !is_root() {
        return;
    }
    let store = Store::new();
    let layer = hole((16 << 30) + 1);
    let image = store.images.load(store.file("hole.tar", &archive(&layer, &layer))).unwrap();
    let text = store.refused("hole", ErrorKind::ResourceExhausted, || image.layers());
    assert!(text.contains("becomes more than 17179869184 bytes"), "{text}");
    let larger = store.images.max_size(u64::MAX).find("bad").unwrap();
    let size = std::fs::metadata(larger.layers().unwrap()[0].join("hole")).unwrap().len();
    assert_eq!(size, (16 << 30) + 1);
}

#[test]
fn a_budget_is_for_all_layers_together() {
    if !is_root() {
        return;
    }
    let layers: Vec<Vec<u8>> =
        (0..3u8).map(|i| Tar::new().file("f", &vec![i; 100 << 10]).end()).collect();
    let store = Store::new();
    let path = store.file("three.tar", &docker_archive(&config(&layers), &layers, &["three"]));
    store.images.load(path).unwrap();
    let all: u64 = layers.iter().map(|layer| layer.len() as u64).sum();
    let within = |most| store.images.max_size(most).find("three").unwrap().layers();
    store.refused("all but one byte", ErrorKind::ResourceExhausted, || within(all - 1));
    within(all).unwrap();
}

fn decoded(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = Decoder::new(bytes)?;
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut decoded)?;
    Ok(decoded)
}

#[test]
fn streams_of_several_parts_are_one_and_garbage_is_none() {
    let skippable = |n: u8| [&[0x50 + n, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let (a, b) = (gzip(b"a"), gzip(b"b"));
    let (x, y) = (zstd::encode_all(&b"x"[..], 0).unwrap(), zstd::encode_all(&b"y"[..], 0).unwrap());
    for (what, bytes, expected) in [
        ("two members", [&*a, &b].concat(), &b"ab"[..]),
        ("an empty member", [&*a, &gzip(b""), &b].concat(), b"ab"),
        ("two frames", [&*x, &y].concat(), b"xy"),
        (
            "skippable frames",
            [&*skippable(0), &x, &skippable(7), &y, &skippable(15)].concat(),
            b"xy",
        ),
        ("nothing", Vec::new(), b""),
    ] {
        assert_eq!(decoded(&bytes).unwrap(), expected, "{what}");
    }
    for (what, bytes) in [
        ("garbage behind gzip", [&*a, b"garbage"].concat()),
        ("zeros behind gzip", [&*a, &[0; 512]].concat()),
        ("a member cut", [&*a, &b[..b.len() - 1]].concat()),
        ("garbage behind zstd", [&*x, b"garbage"].concat()),
        ("a frame cut", x[..x.len() - 1].to_vec()),
        ("a skippable frame cut", skippable(3)[..9].to_vec()),
        ("a wrong checksum", [&a[..a.len() - 8], &[0; 8]].concat()),
    ] {
        let error = tar::read_error(decoded(&bytes).expect_err(what), "it");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error}");
    }
}

#[test]
fn a_window_of_8_mib_is_the_largest() {
    // A frame without a size: its window as a power of two, then one empty block, the last.
    let frame = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0];
    assert_eq!(decoded(&frame(23)).unwrap(), b"");
    for log in [24, 27, 31, 41] {
        let error = tar::read_error(decoded(&frame(log)).unwrap_err(), "it");
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    }
}

#[test]
fn blobs_that_are_something_else_are_refused_when_they_are_unpacked() {
    if !is_root() {
        return;
    }
    let some_config = config(&[]);
    let archive_of =
        |layer: &[u8]| docker_archive(&config(&[layer.to_vec()]), &[layer.to_vec()], &[]);
    for (what, layer) in [
        ("a config", some_config.clone()),
        (
            "garbage behind a layer",
            [gzip(&Tar::new().file("f", b"").end()), b"x".to_vec()].concat(),
        ),
        ("a layer cut", gzip(&Tar::new().file("f", b"").end())[..40].to_vec()),
    ] {
        let store = Store::new();
        let image = store.images.load(store.file("bad.tar", &archive_of(&layer))).unwrap();
        store.refused(what, ErrorKind::InvalidData, || image.layers());
    }
    // No bytes are an empty layer.
    let store = Store::new();
    let image = store.images.load(store.file("empty.tar", &archive_of(b""))).unwrap();
    let layers = image.layers().unwrap();
    assert_eq!(std::fs::read_dir(&layers[0]).unwrap().count(), 0);
}

#[test]
fn a_document_is_one_thing_only() {
    let blob = Descriptor::of(OCI_CONFIG, b"{}");
    let layer = Descriptor::of(OCI_LAYER_GZIP, b"");
    let manifest = json!({"schemaVersion": 2, "config": blob, "layers": [layer]});
    let index = json!({"schemaVersion": 2, "manifests": []});
    let with = |document: &serde_json::Value, key: &str, value: serde_json::Value| {
        let mut document = document.clone();
        document[key] = value;
        document.to_string().into_bytes()
    };
    let bytes = |document: &serde_json::Value| document.to_string().into_bytes();
    Manifest::parse(&with(&manifest, "mediaType", json!(DOCKER_MANIFEST)), "it").unwrap();
    Manifest::parse(&with(&manifest, "mediaType", json!(null)), "it").unwrap();
    Index::parse(&bytes(&index), "it").unwrap();
    let schema_1 = json!({
        "schemaVersion": 1, "name": "a", "tag": "b", "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest}], "history": [{"v1Compatibility": "{}"}],
        "signatures": [],
    });
    let twice = manifest.to_string().replacen('{', r#"{"layers":[],"#, 1);
    let many_layers = vec![json!(layer); 501];
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let nondistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let of_type = |kind: &str| {
        let layer = json!({"mediaType": kind, "digest": layer.digest, "size": 0, "urls": ["http://localhost/"]});
        with(&manifest, "layers", json!([layer]))
    };
    for (what, manifest, kind) in [
        ("an index's type", with(&manifest, "mediaType", json!(OCI_INDEX)), ErrorKind::InvalidData),
        ("any type", with(&manifest, "mediaType", json!("text/html")), ErrorKind::InvalidData),
        ("an index, too", with(&manifest, "manifests", json!([])), ErrorKind::InvalidData),
        ("layers twice", twice.into_bytes(), ErrorKind::InvalidData),
        ("schema 1", bytes(&schema_1), ErrorKind::Unsupported),
        ("schema 3", with(&manifest, "schemaVersion", json!(3)), ErrorKind::Unsupported),
        ("no schema", with(&manifest, "schemaVersion", json!(null)), ErrorKind::InvalidData),
        ("501 layers", with(&manifest, "layers", json!(many_layers)), ErrorKind::InvalidData),
        ("a foreign layer", of_type(foreign), ErrorKind::Unsupported),
        ("a layer not to be distributed", of_type(nondistributable), ErrorKind::Unsupported),
        ("a config as a layer", of_type(OCI_CONFIG), ErrorKind::Unsupported),
        ("a manifest as a layer", of_type(OCI_MANIFEST), ErrorKind::Unsupported),
        ("a layer as config", with(&manifest, "config", json!(layer)), ErrorKind::Unsupported),
        ("deep", with(&manifest, "x", deep(200)), ErrorKind::InvalidData),
        ("too large", vec![b' '; MAX_DOCUMENT as usize + 1], ErrorKind::InvalidData),
    ] {
        let error = Manifest::parse(&manifest, "it").expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    for (what, index, kind) in [
        (
            "a manifest's type",
            with(&index, "mediaType", json!(OCI_MANIFEST)),
            ErrorKind::InvalidData,
        ),
        ("a manifest, too", with(&index, "layers", json!([])), ErrorKind::InvalidData),
        ("a config, too", with(&index, "config", json!({})), ErrorKind::InvalidData),
        ("schema 1", with(&index, "schemaVersion", json!(1)), ErrorKind::Unsupported),
    ] {
        let error = Index::parse(&index, "it").expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
}

fn deep(levels: usize) -> serde_json::Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn a_document_of_many_small_parts_is_refused() {
    for part in [r#"{"":0}"#, "[]", "0"] {
        let parts = vec![part; (MAX_DOCUMENT as usize - 100) / (part.len() + 1)].join(",");
        let index = format!(r#"{{"schemaVersion": 2, "manifests": [], "x": [{parts}]}}"#);
        let error = Index::parse(index.as_bytes(), "it").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("too many objects"), "{error}");
    }
    // The index of a store with ten thousand images.
    let mut image = Descriptor::of(OCI_MANIFEST, b"");
    image.annotations.insert(manifest::REF_NAME.to_owned(), "docker.io/library/app:1".to_owned());
    let index = json!({"schemaVersion": 2, "manifests": vec![image; 10_000]}).to_string();
    assert_eq!(Index::parse(index.as_bytes(), "it").unwrap().manifests.len(), 10_000);
}

/// None can be made, for a digest is of what it names; but who checks is not who follows.
#[test]
fn an_index_that_leads_to_itself_ends() {
    let mut child = Descriptor::of(OCI_INDEX, b"cycle");
    child.platform = Some(Platform::host());
    let index = json!({"schemaVersion": 2, "manifests": [child]}).to_string().into_bytes();
    let mut asked = 0;
    let error = resolve(&child, &Platform::host(), |_| {
        asked += 1;
        Ok::<_, Error>(index.clone())
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(asked, 4);
}

#[test]
fn thousands_of_names_are_refused() {
    let layers = [Tar::new().file("f", b"").end()];
    let tags: Vec<String> = (0..1001).map(|i| format!("a:{i}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let of = |tags: &[&str]| docker_archive(&config(&layers), &layers, tags);
    let store = Store::new();
    let path = store.file("many.tar", &of(&tags));
    let text = store.refused("1001 names", ErrorKind::InvalidData, || store.images.load_all(&path));
    assert!(text.contains("1001 images or names"), "{text}");
    let path = store.file("many.tar", &of(&tags[..20]));
    assert_eq!(store.images.load(&path).unwrap().references().len(), 20);
}

/// Runs `work` in a thread that has no rights to files but those of a user: no owner but itself, no
/// devices.
fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    let as_user = || {
        nix::unistd::setfsgid(uid.into());
        nix::unistd::setfsuid(uid.into());
        work()
    };
    std::thread::scope(|scope| scope.spawn(as_user).join().unwrap())
}

/// Rootless stores do not exist yet: owners and devices are refused, and not left out in silence.
#[test]
fn without_root_an_image_is_loaded_and_not_unpacked() {
    if !is_root() {
        return;
    }
    let user = 65_534;
    let store = Store::new();
    for path in [store.dir.path().to_owned(), store.root()] {
        std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
    }
    let root = store.root().join("theirs");
    for (what, layer) in [
        ("owner", Tar::new().file("f", b"").end()),
        ("device", Tar::new().dir("./").add(b'4', "sda", "", b"").end()),
        ("whiteout", Tar::new().dir("./").file(".wh.x", b"").end()),
    ] {
        let path = store.file("app.tar", &archive(&layer, &layer));
        let error = as_user(user, || {
            std::fs::create_dir(&root).unwrap();
            let images = Images::open(&root).unwrap();
            images.load(&path).unwrap().layers().unwrap_err()
        });
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
        for directory in ["layers", "staging"] {
            assert_eq!(std::fs::read_dir(root.join(directory)).unwrap().count(), 0, "{what}");
        }
        std::fs::remove_dir_all(&root).unwrap();
    }
}
