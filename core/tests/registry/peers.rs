//! A real registry, and skopeo at its other end.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use skep::ErrorKind;
use skep::image::Digest;
use skep::image::registry::{Credentials, Progress, PullOptions, PushOptions, Registries};

use crate::image::{Made, Store, is_root};
use crate::peer::{PASSWORD, Peer, USER, have};

fn pull(registries: &Registries) -> PullOptions {
    PullOptions::new().registries(registries).unpack(is_root())
}

fn push(registries: &Registries) -> PushOptions {
    PushOptions::new().registries(registries)
}

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").arg("--insecure-policy").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_pushed_is_pulled_again() {
    let Some(peer) = Peer::plain() else { return };
    let (from, to) = (Store::new(), Store::new());
    let made = Made::new("again", &[100, 2 << 20]);
    let loaded = from.images.load(made.archive(from.root(), "again:1")).unwrap();
    let name = format!("{}/again:1", peer.name());
    let digest = from.images.push(&loaded, &name, &push(&peer.registries())).unwrap();
    assert_eq!(digest, *loaded.digest());

    let reports = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let seen = reports.clone();
    let options = pull(&peer.registries()).progress(move |p| seen.lock().unwrap().push(*p));
    let image = to.images.pull(&name, &options).unwrap();
    assert_eq!((image.id(), image.digest()), (&made.id(), loaded.digest()));
    assert_eq!(image.references()[0].to_string(), name);
    assert_eq!(to.images.find(&name).unwrap().id(), image.id());
    assert_eq!(to.names("partial"), [""; 0]);
    if is_root() {
        let file = image.layers().unwrap()[1].join("f1");
        assert_eq!(std::fs::metadata(file).unwrap().len(), 2 << 20);
    }
    for layer in &image.manifest().layers {
        let reports = reports.lock().unwrap();
        let of: Vec<_> = reports.iter().filter(|p| p.layer == layer.digest).collect();
        assert!(of.iter().all(|p| p.total == layer.size && p.fetched <= p.total));
        assert!(of.is_sorted_by_key(|p| (p.fetched, p.unpacked)), "{of:?}");
        assert_eq!((of[0].fetched, of.last().unwrap().fetched), (0, layer.size));
        assert_eq!(of.iter().filter(|p| p.unpacked).count(), usize::from(is_root()));
    }
}

#[test]
fn an_image_is_named_by_the_digest_it_was_pulled_by() {
    let Some(peer) = Peer::plain() else { return };
    let (from, to) = (Store::new(), Store::new());
    let made = Made::new("digest", &[100]);
    let loaded = from.images.load(made.archive(from.root(), "x:1")).unwrap();
    let name = format!("{}/digest", peer.name());
    let digest =
        from.images.push(&loaded, &format!("{name}:1"), &push(&peer.registries())).unwrap();
    let by_digest = format!("{name}@{digest}");
    for reference in [&by_digest, &format!("{name}:ignored@{digest}")] {
        let image = to.images.pull(reference, &pull(&peer.registries())).unwrap();
        assert_eq!(image.references()[0].to_string(), by_digest);
        assert_eq!(to.images.find(reference).unwrap().id(), image.id());
    }
    let other = format!("{name}@{}", Digest::of(b"other"));
    let error = to.images.pull(&other, &pull(&peer.registries())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&other), "{error}");
    let error = from.images.push(&loaded, &other, &push(&peer.registries())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn chunks_and_mounts_are_uploads_too() {
    let Some(peer) = Peer::plain() else { return };
    let (from, to) = (Store::new(), Store::new());
    let made = Made::new("chunks", &[100_000, 10]);
    let loaded = from.images.load(made.archive(from.root(), "x:1")).unwrap();
    let first = format!("{}/chunks/first:1", peer.name());
    let options = push(&peer.registries()).chunk(30_000).parallel(1);
    from.images.push(&loaded, &first, &options).unwrap();
    let second = format!("{}/chunks/second:1", peer.name());
    let options = push(&peer.registries()).mount_from("chunks/first");
    from.images.push(&loaded, &second, &options).unwrap();
    for name in [&first, &second] {
        let image = to.images.pull(name, &pull(&peer.registries())).unwrap();
        assert_eq!(*image.id(), made.id());
    }
}

#[test]
fn skopeo_reads_what_is_pushed() {
    let Some(peer) = Peer::plain() else { return };
    if !have("skopeo") {
        return;
    }
    let store = Store::new();
    let made = Made::new("to skopeo", &[1000, 2000, 3000]);
    let loaded = store.images.load(made.archive(store.root(), "x:1")).unwrap();
    let name = format!("{}/to-skopeo:1", peer.name());
    store.images.push(&loaded, &name, &push(&peer.registries())).unwrap();
    let copy = store.root().join("copy");
    let target = format!("oci:{}:copy", copy.display());
    skopeo(&["copy", "--src-tls-verify=false", &format!("docker://{name}"), &target]);
    for blob in made.blobs() {
        let place = copy.join("blobs/sha256").join(Digest::of(blob).hex());
        // Skopeo compresses layers on its way to a layout, and leaves the config.
        assert!(place.exists() || made.layers.contains(blob), "{}", place.display());
    }
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    assert_eq!(Digest::of(raw.as_bytes()), *loaded.digest());
}

#[test]
fn what_skopeo_pushes_is_pulled_in_both_formats() {
    let Some(peer) = Peer::plain() else { return };
    if !have("skopeo") {
        return;
    }
    let store = Store::new();
    let made = Made::new("from skopeo", &[1000, 50_000]);
    let archive = made.archive(store.root(), "x:1");
    let source = format!("docker-archive:{}", archive.display());
    for format in ["oci", "v2s2"] {
        let name = format!("{}/from-skopeo:{format}", peer.name());
        let target = format!("docker://{name}");
        skopeo(&["copy", "--format", format, "--dest-tls-verify=false", &source, &target]);
        let image = store.images.pull(&name, &pull(&peer.registries())).unwrap();
        let media_type = image.manifest().media_type.clone().unwrap();
        assert_eq!(media_type.contains("docker"), format == "v2s2", "{media_type}");
        assert_eq!(image.config().rootfs.diff_ids, [0, 1].map(|i| Digest::of(&made.layers[i])));
        if is_root() {
            let file = image.layers().unwrap()[1].join("f1");
            assert_eq!(std::fs::metadata(file).unwrap().len(), 50_000);
        }
        let again = format!("{}/pushed-again:{format}", peer.name());
        let digest = store.images.push(&image, &again, &push(&peer.registries())).unwrap();
        assert_eq!(digest, *image.digest(), "the manifest stays byte for byte");
    }
    let tags = peer.registries().tags(&format!("{}/from-skopeo", peer.name())).unwrap();
    assert_eq!(tags, ["oci", "v2s2"]);
}

#[test]
fn a_closed_registry_opens_to_the_right_credentials_only() {
    let Some(peer) = Peer::closed() else { return };
    let store = Store::new();
    let made = Made::new("closed", &[100]);
    let loaded = store.images.load(made.archive(store.root(), "x:1")).unwrap();
    let name = format!("{}/closed:1", peer.name());
    let given = |user: &str, password: &str| {
        let credentials = Credentials::password(user, password);
        peer.registries().access(peer.name(), peer.access().credentials(credentials))
    };
    for registries in [peer.registries(), given(USER, "wrong"), given("nobody", PASSWORD)] {
        let error = store.images.push(&loaded, &name, &push(&registries)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(registries.ping(peer.name()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    given(USER, PASSWORD).ping(peer.name()).unwrap();
    store.images.push(&loaded, &name, &push(&given(USER, PASSWORD))).unwrap();

    let file = store.root().join("auth.json");
    // The same user and password, in base64.
    let json = format!(r#"{{"auths": {{"{}": {{"auth": "YmVlOnNrZXAtc2VjcmV0"}}}}}}"#, peer.name());
    std::fs::write(&file, json).unwrap();
    let found = peer.registries().credential_files([file]);
    let image = Store::new().images.pull(&name, &pull(&found)).unwrap();
    assert_eq!(*image.id(), made.id());
}

#[test]
fn a_certificate_of_nobody_known_is_refused() {
    let Some(peer) = Peer::closed() else { return };
    assert!(Path::new(peer.directory()).join("ca.pem").exists());
    let error = crate::scripted::quick().ping(peer.name()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let text = error.to_string();
    assert!(text.contains("certificate") && text.contains("; give the certificate"), "{text}");
}

#[test]
fn a_registry_that_is_none_or_has_no_such_name_is_told() {
    let Some(peer) = Peer::plain() else { return };
    peer.registries().ping(peer.name()).unwrap();
    for bad in ["", "a", "a/b", "localhost/b", "-", "a b", "http://localhost"] {
        let error = peer.registries().ping(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
    }
    let missing = format!("{}/no/such:1", peer.name());
    let error = Store::new().images.pull(&missing, &pull(&peer.registries())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot pull {missing}: ")), "{text}");
    assert!(text.contains("MANIFEST_UNKNOWN"), "{text}");
    let error = peer.registries().tags(&missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let found =
        peer.registries().referrers(&format!("{}/x@{}", peer.name(), Digest::of(b"")), None);
    assert_eq!(found.unwrap(), []);
}
