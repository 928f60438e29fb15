//! Signatures that others made: openssl and skopeo, kept in Debian's docker-registry.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use skep::ErrorKind;
use skep::image::Digest;
use skep::image::registry::{PullOptions, PushOptions};
use skep::image::signature::{Identity, Policy, PublicKey, Signed};
use ureq::http::header::{CONTENT_TYPE, LOCATION};

use crate::image::{Made, OCI_INDEX, OCI_MANIFEST, Store};
use crate::peer::{Peer, have};
use crate::signer::{Signatures, payload, tag};

/// A key pair of a kind that cosign uses, encrypted as cosign does, with `skep-secret`. It is for
/// these tests alone.
const COSIGN_KEY: &str = include_str!("testdata/cosign.key");
const COSIGN_PUB: &[u8] = include_bytes!("testdata/cosign.pub");
const COSIGN_PASSWORD: &str = "skep-secret";

fn run(program: &str, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Pushes what no image is.
struct Raw {
    agent: ureq::Agent,
    repository: String,
}

impl Raw {
    fn new(peer: &Peer, repository: &str) -> Self {
        let agent = ureq::Agent::config_builder().proxy(None).build().into();
        Raw { agent, repository: format!("http://{}/v2/{repository}", peer.name()) }
    }

    fn blob(&self, bytes: &[u8]) {
        let begun = self.agent.post(format!("{}/blobs/uploads/", self.repository));
        let begun = begun.send_empty().unwrap();
        let location = begun.headers()[LOCATION].to_str().unwrap();
        let url = format!("{location}&digest={}", Digest::of(bytes));
        self.agent.put(url).send(bytes).unwrap();
    }

    fn manifest(&self, target: &str, media_type: &str, bytes: &[u8]) {
        let url = format!("{}/manifests/{target}", self.repository);
        self.agent.put(url).header(CONTENT_TYPE, media_type).send(bytes).unwrap();
    }
}

/// Pushes an image as `<repository>:1`, and returns its digest.
fn push(peer: &Peer, store: &Store, repository: &str) -> (Made, Digest, Vec<u8>) {
    let made = Made::new(repository, &[1000]);
    let loaded = store.images.load(made.archive(store.root(), "x:1")).unwrap();
    let options = PushOptions::new().registries(&peer.registries());
    let name = format!("{}/{repository}:1", peer.name());
    let digest = store.images.push(&loaded, &name, &options).unwrap();
    let manifest = store.root().join("images/blobs/sha256").join(digest.hex());
    (made, digest, std::fs::read(manifest).unwrap())
}

fn signed(pem: &[u8]) -> Signed {
    Signed::by([PublicKey::from_pem(pem).unwrap()]).unwrap()
}

fn pull(peer: &Peer, name: &str, signed: Signed) -> skep::Result<skep::Image> {
    let policy = Policy::default().prefix(peer.name(), signed).unwrap();
    let options = PullOptions::new().registries(&peer.registries()).policy(&policy).unpack(false);
    Store::new().images.pull(&format!("{}/{name}", peer.name()), &options)
}

/// Makes a key with openssl, which signs `payload`; its public key, and the signature in base64.
fn openssl_signed(directory: &Path, key: &str, payload: &[u8]) -> (Vec<u8>, String) {
    let openssl = |arguments: &str| {
        run("openssl", &arguments.split(' ').collect::<Vec<_>>(), directory);
    };
    std::fs::write(directory.join("payload"), payload).unwrap();
    openssl(&format!("genpkey {key} -out key"));
    openssl("pkey -in key -pubout -out pub");
    openssl("pkeyutl -sign -rawin -inkey key -in payload -out signature");
    openssl("base64 -A -in signature -out base64");
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    (read("pub"), String::from_utf8(read("base64")).unwrap())
}

#[test]
fn what_openssl_signed_is_taken_by_tag_and_by_referrer() {
    let Some(peer) = Peer::plain() else { return };
    let store = Store::new();
    for (name, key) in [
        ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("ed25519", "-algorithm ED25519"),
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
    ] {
        let repository = format!("signed/{name}");
        let (_, digest, manifest) = push(peer, &store, &repository);
        let payload = payload(&digest, &format!("{}/{repository}", peer.name()));
        let (pem, signature) = openssl_signed(store.root(), key, &payload);
        let image = format!("{repository}:1");
        let error = pull(peer, &image, signed(&pem)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("there is no signature"), "{error}");

        let signatures = Signatures::default().add(&payload, signature);
        let raw = Raw::new(peer, &repository);
        raw.blob(b"{}");
        raw.blob(&payload);
        if name == "p256" {
            // This registry knows no referrers: the tag that stands for them.
            let (referrer, entry) = signatures.referrer(&manifest);
            raw.manifest(&Digest::of(&referrer).to_string(), OCI_MANIFEST, &referrer);
            let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
            let tag = format!("sha256-{}", digest.hex());
            raw.manifest(&tag, OCI_INDEX, index.to_string().as_bytes());
        } else {
            raw.manifest(&tag(&digest), OCI_MANIFEST, &signatures.manifest());
        }
        assert_eq!(*pull(peer, &image, signed(&pem)).unwrap().digest(), digest, "{name}");
        let error = pull(peer, &image, signed(COSIGN_PUB)).unwrap_err();
        assert!(error.to_string().contains("none is by a given key"), "{error}");
    }
}

#[test]
fn what_skopeo_signed_is_taken() {
    let Some(peer) = Peer::plain().filter(|_| have("skopeo")) else { return };
    let store = Store::new();
    let made = Made::new("signed by skopeo", &[1000]);
    let archive = made.archive(store.root(), "x:1");
    let at = |name: &str| store.root().join(name).display().to_string();
    std::fs::create_dir(at("registries.d")).unwrap();
    let attach = "default-docker:\n  use-sigstore-attachments: true\n";
    std::fs::write(at("registries.d/all.yaml"), attach).unwrap();
    std::fs::write(at("cosign.key"), COSIGN_KEY).unwrap();
    std::fs::write(at("password"), COSIGN_PASSWORD).unwrap();
    let copy = |to: &str, arguments: &[&str]| {
        let (registries, archive) =
            (at("registries.d"), format!("docker-archive:{}", archive.display()));
        let to = format!("docker://{}/{to}", peer.name());
        let mut all = vec!["--insecure-policy", "--registries.d", &registries, "copy"];
        all.extend(["--dest-tls-verify=false"]);
        all.extend(arguments);
        all.extend([&*archive, &to]);
        let output = Command::new("skopeo").args(all).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let signs = !said.contains("sigstore disabled") && !said.contains("unknown flag");
        assert!(output.status.success() || !signs, "{said}");
        signs
    };
    let (key, password) = (at("cosign.key"), at("password"));
    let sign = ["--sign-by-sigstore-private-key", &key, "--sign-passphrase-file", &password];
    if !copy("by-skopeo/signed:1", &sign) {
        // Debian 12's has the options and refuses to sign. Nothing that can be installed would.
        eprintln!("skipped: this skopeo is built without sigstore's signatures");
        return;
    }
    copy("by-skopeo/unsigned:1", &[]);
    let identity = format!("{}/by-skopeo/elsewhere:1", peer.name());
    copy("by-skopeo/renamed:1", &[&sign[..], &["--sign-identity", &identity]].concat());

    // Skopeo signs the tag, too, so that the strictest takes it.
    let exact = || signed(COSIGN_PUB).identity(Identity::Exact);
    for signed in [signed(COSIGN_PUB), exact()] {
        let image = pull(peer, "by-skopeo/signed:1", signed).unwrap();
        assert_eq!(image.manifest().layers.len(), 1);
    }
    let refused = |name: &str, reason: &str| {
        let error = pull(peer, name, exact()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    };
    refused("by-skopeo/unsigned:1", "there is no signature");
    refused("by-skopeo/renamed:1", &format!("one is for it as {identity}"));
    let elsewhere = Identity::Named(identity.parse().unwrap());
    pull(peer, "by-skopeo/renamed:1", signed(COSIGN_PUB).identity(elsewhere)).unwrap();
}
