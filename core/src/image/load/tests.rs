//! OCI layouts: names, platforms, nesting, and blobs that are not what was announced.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::ErrorKind;
use crate::image::Digest;
use crate::image::fixture::{Store, Tar, config, gzip};
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The blobs of a layout in the making.
#[derive(Default)]
struct Layout {
    blobs: Vec<Vec<u8>>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor =
            json!({"mediaType": media_type, "digest": Digest::of(&bytes), "size": bytes.len()});
        self.blobs.push(bytes);
        descriptor
    }

    fn json(&mut self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().into_bytes())
    }

    /// An image whose only layer holds `content`.
    fn image(&mut self, content: &str) -> Value {
        let layer = Tar::new().file("f", content.as_bytes()).end();
        let config = self.blob(OCI_CONFIG, config(std::slice::from_ref(&layer)));
        let layer = self.blob(OCI_LAYER_GZIP, gzip(&layer));
        json!({"schemaVersion": 2, "config": config, "layers": [layer], "annotations": null})
    }

    fn manifest(&mut self, content: &str) -> Value {
        let image = self.image(content);
        self.json(OCI_MANIFEST, &image)
    }

    /// The layout as an archive.
    fn archive(&self, manifests: &[Value]) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        let mut tar = Tar::new().file("oci-layout", b"{}").file("index.json", index.as_bytes());
        for blob in &self.blobs {
            tar = tar.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob);
        }
        tar.end()
    }

    /// The layout as a directory.
    fn directory(&self, store: &Store, manifests: &[Value]) -> PathBuf {
        let root = store.dir.path().join("layout");
        std::fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string();
        std::fs::write(root.join("index.json"), index).unwrap();
        for blob in &self.blobs {
            std::fs::write(root.join("blobs/sha256").join(Digest::of(blob).hex()), blob).unwrap();
        }
        root
    }
}

fn named(descriptor: &Value, name: &str) -> Value {
    with(descriptor, "annotations", json!({"org.opencontainers.image.ref.name": name}))
}

fn on(descriptor: &Value, os: &str, architecture: &str) -> Value {
    with(descriptor, "platform", json!({"os": os, "architecture": architecture}))
}

fn host() -> &'static str {
    crate::image::platform::host_architecture()
}

fn with(descriptor: &Value, key: &str, value: Value) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor[key] = value;
    descriptor
}

#[test]
fn a_layout_is_the_same_as_a_directory_and_as_an_archive() {
    let store = Store::new();
    let mut layout = Layout::default();
    let manifest = named(&layout.manifest("x"), "localhost/app:1");
    let directory = layout.directory(&store, std::slice::from_ref(&manifest));
    let archive = store.file("oci.tar", &layout.archive(&[manifest]));
    let (a, b) = (store.images.load(directory).unwrap(), store.images.load(archive).unwrap());
    assert_eq!((a.id(), a.digest(), a.references()), (b.id(), b.digest(), b.references()));
    assert_eq!(a.references()[0].to_string(), "localhost/app:1");
    assert_eq!(store.images.list().unwrap().len(), 1);
    // The store is a layout itself.
    let other = Store::new();
    let copy = other.images.load(store.root().join("images")).unwrap();
    assert_eq!((copy.digest(), copy.references()), (a.digest(), a.references()));
}

#[test]
fn names_are_complete_or_none() {
    let mut layout = Layout::default();
    let manifest = layout.manifest("x");
    let containerd = json!({
        "io.containerd.image.name": "docker.io/library/app:1",
        "org.opencontainers.image.ref.name": "1",
    });
    for (descriptor, expected) in [
        (manifest.clone(), None),
        (named(&manifest, "latest"), None),
        (named(&manifest, "Not/Valid"), None),
        (named(&manifest, "app:1"), Some("docker.io/library/app:1")),
        (named(&manifest, "quay.io/a/b"), Some("quay.io/a/b:latest")),
        (with(&manifest, "annotations", containerd), Some("docker.io/library/app:1")),
        (with(&manifest, "annotations", Value::Null), None),
    ] {
        let store = Store::new();
        let image = store.images.load(store.file("a", &layout.archive(&[descriptor]))).unwrap();
        let references: Vec<String> = image.references().iter().map(|r| r.to_string()).collect();
        assert_eq!(references, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn the_image_for_this_machine_is_chosen() {
    let store = Store::new();
    let mut layout = Layout::default();
    let (other, mine) = (layout.manifest("other"), layout.manifest("mine"));
    let attestation = on(&layout.manifest("attestation"), "unknown", "unknown");
    let platforms = [on(&other, "linux", "s390x"), attestation, on(&mine, "linux", host())];
    let inner = json!({"schemaVersion": 2, "manifests": platforms});
    let inner = layout.json(DOCKER_LIST, &inner);
    let outer = json!({"schemaVersion": 2, "manifests": [inner]});
    let outer = layout.json(OCI_INDEX, &outer);
    for (what, manifests) in [
        ("nested", vec![named(&outer, "app:1")]),
        ("of one name", platforms.iter().map(|d| named(d, "app:1")).collect()),
        ("without a name", platforms.to_vec()),
    ] {
        let path = store.file("oci.tar", &layout.archive(&manifests));
        let image = store.images.load(path).unwrap();
        assert_eq!(image.digest().to_string(), mine["digest"].as_str().unwrap(), "{what}");
    }
}

#[test]
fn several_names_are_several_images_and_docker_s_types_are_read() {
    let store = Store::new();
    let mut layout = Layout::default();
    let mut image = layout.image("b");
    image["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
    image["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    let b = layout.json(DOCKER_MANIFEST, &image);
    let a = layout.manifest("a");
    let manifests = [named(&a, "a:1"), named(&b, "b:1"), named(&a, "a:2")];
    let path = store.file("oci.tar", &layout.archive(&manifests));
    store.refused("several", ErrorKind::InvalidInput, || store.images.load(&path));
    let images = store.images.load_all(&path).unwrap();
    let names = |i: usize| images[i].references().iter().map(|r| r.to_string()).collect::<Vec<_>>();
    assert_eq!(names(0), ["docker.io/library/a:1", "docker.io/library/a:2"]);
    assert_eq!(names(1), ["docker.io/library/b:1"]);
    assert_eq!(images.len(), 2);
}

#[test]
fn what_is_not_as_announced_is_refused() {
    let mut layout = Layout::default();
    let good = layout.manifest("x");
    let image = layout.image("x");
    let mut wrong = |key: &str, value: Value| {
        let mut image = image.clone();
        image["layers"][0][key] = value;
        layout.json(OCI_MANIFEST, &image)
    };
    let missing = wrong("digest", json!(Digest::of(b"missing")));
    let short = wrong("size", json!(1));
    let negative = wrong("size", json!(-1));
    let encrypted = wrong("mediaType", json!("application/vnd.oci.image.layer.v1.tar+encrypted"));
    let mut change = |key: &str, value: Value| {
        let changed = with(&image, key, value);
        layout.json(OCI_MANIFEST, &changed)
    };
    let both = change("manifests", json!([]));
    let version = change("schemaVersion", json!(1));
    let layers = change("layers", json!([]));
    let many = change("layers", Value::Array(vec![image["layers"][0].clone(); 501]));
    let artifact = change("config", with(&image["config"], "mediaType", json!("application/x")));
    let mut nested = good.clone();
    for _ in 0..5 {
        let index = json!({"schemaVersion": 2, "manifests": [nested]});
        nested = layout.json(OCI_INDEX, &index);
    }
    let foreign = json!({"schemaVersion": 2, "manifests": [on(&good, "linux", "s390x")]});
    let foreign = layout.json(OCI_INDEX, &foreign);
    for (what, descriptor, kind) in [
        ("missing layer", missing, ErrorKind::InvalidData),
        ("size", short, ErrorKind::DigestMismatch),
        ("negative size", negative, ErrorKind::InvalidData),
        ("encrypted", encrypted, ErrorKind::Unsupported),
        ("manifest and index", both, ErrorKind::InvalidData),
        ("schema 1", version, ErrorKind::Unsupported),
        ("layer count", layers, ErrorKind::InvalidData),
        ("501 layers", many, ErrorKind::InvalidData),
        ("artifact", artifact, ErrorKind::Unsupported),
        ("nesting", nested, ErrorKind::InvalidData),
        ("other machine", foreign, ErrorKind::Unsupported),
        ("manifest's size", with(&good, "size", json!(1)), ErrorKind::DigestMismatch),
        ("no image", with(&good, "mediaType", json!("text/plain")), ErrorKind::InvalidData),
        ("digest", with(&good, "digest", json!("sha256:../../x")), ErrorKind::InvalidData),
    ] {
        let store = Store::new();
        let path = store.file("oci.tar", &layout.archive(std::slice::from_ref(&descriptor)));
        store.refused(what, kind, || store.images.load(&path));
        let path = layout.directory(&store, &[descriptor]);
        store.refused(what, kind, || store.images.load(&path));
    }
}

#[test]
fn a_blob_with_other_bytes_is_refused() {
    let store = Store::new();
    let mut layout = Layout::default();
    let manifest = named(&layout.manifest("x"), "app:1");
    for i in 0..layout.blobs.len() {
        let directory = layout.directory(&store, std::slice::from_ref(&manifest));
        let mut bytes = layout.blobs[i].clone();
        let name = directory.join("blobs/sha256").join(Digest::of(&bytes).hex());
        bytes[5] ^= 1;
        std::fs::write(&name, &bytes).unwrap();
        store.refused("other bytes", ErrorKind::DigestMismatch, || store.images.load(&directory));
    }
}

#[test]
fn a_layout_s_symlinks_do_not_lead_out_of_it() {
    let store = Store::new();
    let mut layout = Layout::default();
    let manifest = layout.manifest("x");
    let directory = layout.directory(&store, &[manifest]);
    std::fs::rename(directory.join("blobs"), store.dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", directory.join("blobs")).unwrap();
    store.refused("symlink", ErrorKind::InvalidData, || store.images.load(&directory));
}

#[test]
fn what_is_no_file_in_a_layout_is_not_read() {
    use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat};
    let store = Store::new();
    let mut layout = Layout::default();
    let manifest = layout.manifest("x");
    let directory = layout.directory(&store, std::slice::from_ref(&manifest));
    let blob = directory.join("blobs/sha256").join(Digest::of(&layout.blobs[1]).hex());
    let kinds = [FileType::Fifo, FileType::Socket, FileType::Directory, FileType::Symlink];
    for kind in kinds {
        std::fs::remove_file(&blob).or_else(|_| std::fs::remove_dir(&blob)).unwrap();
        match kind {
            FileType::Directory => mkdirat(CWD, &blob, Mode::RWXU).unwrap(),
            FileType::Symlink => std::os::unix::fs::symlink("/dev/zero", &blob).unwrap(),
            kind => mknodat(CWD, &blob, kind, Mode::RWXU, 0).unwrap(),
        }
        let what = format!("{kind:?}");
        store.refused(&what, ErrorKind::InvalidData, || store.images.load(&directory));
    }
}

#[test]
fn one_damaged_image_leaves_the_others_usable() {
    let store = Store::new();
    let mut layout = Layout::default();
    let manifests = [named(&layout.manifest("a"), "a:1"), named(&layout.manifest("b"), "b:1")];
    let path = store.file("oci.tar", &layout.archive(&manifests));
    let images = store.images.load_all(path).unwrap();
    let blob = store.root().join("images/blobs/sha256").join(images[0].digest().hex());
    std::fs::write(blob, "damaged").unwrap();
    let fresh = crate::image::Images::open(&store.root()).unwrap();
    assert_eq!(fresh.list().unwrap().len(), 1);
    assert_eq!(fresh.find("b:1").unwrap().id(), images[1].id());
    assert_eq!(fresh.find("a:1").unwrap_err().kind(), ErrorKind::DigestMismatch);
    fresh.remove("a:1").unwrap();
    assert_eq!(fresh.find("a:1").unwrap_err().kind(), ErrorKind::NotFound);
    fresh.remove("b:1").unwrap();
}

#[test]
fn a_name_with_a_digest_is_for_what_has_it() {
    let mut layout = Layout::default();
    let manifest = layout.manifest("x");
    let index = layout.json(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": [manifest]}));
    let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
    let foreign = Digest::of(b"another image").to_string();
    for (descriptor, wanted, kept) in [
        (&manifest, &digest(&manifest), true),
        (&index, &digest(&index), true),
        (&index, &digest(&manifest), true),
        (&manifest, &digest(&index), false),
        (&manifest, &foreign, false),
    ] {
        let store = Store::new();
        let pinned = format!("localhost/app@{wanted}");
        let archive = layout.archive(&[named(descriptor, &pinned)]);
        let image = store.images.load(store.file("a", &archive)).unwrap();
        assert_eq!(image.references().len(), usize::from(kept), "{pinned}");
        assert_eq!(store.images.find(&pinned).is_ok(), kept, "{pinned}");
    }
}

#[test]
fn a_pipe_that_begins_slowly_is_recognised() {
    use std::io::Write;
    let store = Store::new();
    let mut layout = Layout::default();
    let manifest = layout.manifest("x");
    let bytes = gzip(&layout.archive(&[manifest]));
    let path = store.dir.path().join("fifo");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            pipe.write_all(&bytes[..1]).unwrap();
            while rustix::io::ioctl_fionread(&pipe).unwrap() > 0 {
                std::thread::yield_now();
            }
            // Whoever has read the first byte and given up is no failure of this thread.
            let _ = pipe.write_all(&bytes[1..]);
        });
        store.images.load(&path).unwrap();
    });
}
