//! What a policy takes, and what it refuses, however a registry tries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use skep::ErrorKind;
use skep::image::Digest;
use skep::image::registry::{Access, PullOptions, Registries};
use skep::image::signature::{Identity, Policy, Requirement, Signed};

use crate::image::{Made, OCI_INDEX, OCI_MANIFEST, Store, architecture, descriptor};
use crate::scripted::{Reply, Server, registry};
use crate::signer::{PAYLOAD_TYPE, Signatures, Signer, payload, rejects, requires, tag};

/// The name that images are signed under where their registry has no name before it runs.
const SIGNED_AS: &str = "registry.example/app";

/// The policies below are for the name signed under, and not for the server's.
fn named(signed: Signed) -> Policy {
    Policy::new(signed.identity(Identity::Named(SIGNED_AS.parse().unwrap())))
}

fn by(signer: &Signer) -> Policy {
    named(Signed::by([signer.key()]).unwrap())
}

fn made() -> Made {
    Made::new("signed", &[1000])
}

/// A registry with `made` as `app:1`, and what else is at `/v2/app/...`.
fn serve(made: &Made, also: impl IntoIterator<Item = (String, Reply)>) -> Server {
    let (made, also) = (made.clone(), also.into_iter().collect::<HashMap<_, _>>());
    Server::start(move |asked| {
        let path = asked.target.split('?').next().unwrap_or_default();
        let found = path.strip_prefix("/v2/app/").and_then(|path| also.get(path));
        found.cloned().unwrap_or_else(|| registry(&made, asked))
    })
}

fn document(media_type: &str, bytes: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200, bytes).header("Content-Type", media_type)
}

fn blobs(signatures: &Signatures) -> impl Iterator<Item = (String, Reply)> {
    let reply = |blob: &Vec<u8>| (format!("blobs/{}", Digest::of(blob)), Reply::new(200, &**blob));
    signatures.blobs.iter().map(reply)
}

/// Signatures of `digest` under its tag.
fn tagged(digest: &Digest, signatures: &Signatures) -> Vec<(String, Reply)> {
    let manifest = document(OCI_MANIFEST, signatures.manifest());
    blobs(signatures).chain([(format!("manifests/{}", tag(digest)), manifest)]).collect()
}

fn options(registries: &Registries, policy: &Policy) -> PullOptions {
    PullOptions::new().registries(registries).policy(policy).unpack(false)
}

#[track_caller]
fn accepts(server: &Server, policy: &Policy) {
    let options = options(&server.registries(), policy);
    let store = Store::new();
    let image = store.images.pull(&format!("{}/app:1", server.name()), &options).unwrap();
    assert_eq!(*image.digest(), made().digest());
}

/// The reason of a refusal, which leaves nothing, and fetches nothing of the image.
#[track_caller]
fn refuses(server: &Server, policy: &Policy) -> String {
    let options = options(&server.registries(), policy);
    let (store, name) = (Store::new(), format!("{}/app:1", server.name()));
    let error = store.images.pull(&name, &options).unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::PermissionDenied, "accept"));
    let text = error.to_string();
    let reason = text.strip_prefix(&format!("cannot accept {name}: the policy's default "));
    assert_eq!(store.images.list().unwrap(), []);
    for directory in ["images/blobs/sha256", "staging", "partial"] {
        assert!(store.root().join(directory).read_dir().is_ok_and(|mut d| d.next().is_none()));
    }
    for blob in made().blobs() {
        assert_eq!(server.lines(&format!("GET /v2/app/blobs/{}", Digest::of(blob))), [""; 0]);
    }
    reason.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_signed_image_is_fetched_after_its_signature() {
    let (signer, digest) = (Signer::new(), made().digest());
    let payload = payload(&digest, SIGNED_AS);
    let signatures = Signatures::default().add(&payload, signer.sign(&payload));
    let server = serve(&made(), tagged(&digest, &signatures));
    accepts(&server, &by(&signer));
    let asked = server.lines("GET /v2/app/");
    let first = [
        "manifests/1".to_owned(),
        format!("manifests/{}", tag(&digest)),
        format!("blobs/{}", Digest::of(&payload)),
    ];
    assert_eq!(asked[..3], first.map(|path| format!("GET /v2/app/{path}")));
    assert_eq!(asked.len(), 5, "{asked:?}");
}

#[test]
fn without_a_signature_none_is_taken() {
    let signer = Signer::new();
    let reason = refuses(&serve(&made(), []), &by(&signer));
    assert_eq!(
        reason,
        "requires a signature by the given key, and there is no signature; have it signed, or \
         give the key that has signed it"
    );
}

#[test]
fn what_is_rejected_is_not_asked_for() {
    let server = serve(&made(), []);
    let reason = refuses(&server, &rejects());
    assert_eq!(reason, "rejects all images; set a prefix for what is to be accepted");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn the_longest_prefix_is_the_rule() {
    let server = serve(&made(), []);
    let signed = Signed::by([Signer::new().key()]).unwrap();
    let inner = format!("{}/app", server.name());
    let policy = Policy::new(Requirement::Reject).prefix(&server.name(), signed).unwrap();
    let options = |policy: &Policy| options(&server.registries(), policy);
    let (store, name) = (Store::new(), format!("{inner}:1"));
    let error = store.images.pull(&name, &options(&policy)).unwrap_err();
    let whose = format!("the policy for {} requires", server.name());
    assert!(error.to_string().contains(&whose), "{error}");
    let policy = policy.prefix(&inner, Requirement::Accept).unwrap();
    store.images.pull(&name, &options(&policy)).unwrap();
    assert_eq!(server.lines("GET /v2/app/manifests/sha256-").len(), 2, "those before");
    let policy = policy.prefix(&inner, Requirement::Reject).unwrap();
    let error = store.images.pull(&name, &options(&policy)).unwrap_err();
    assert!(error.to_string().contains(&format!("the policy for {inner} rejects")), "{error}");
    assert_eq!(store.images.list().unwrap().len(), 1, "what was accepted before stays");
}

#[test]
fn a_signature_that_is_none_does_not_count() {
    let (signer, other, digest) = (Signer::new(), Signer::new(), made().digest());
    let right = payload(&digest, SIGNED_AS);
    let signature = signer.sign(&right);
    let with = |payload: &[u8]| Signatures::default().add(payload, signer.sign(payload));
    let raw = |signature: String| Signatures::default().add(&right, signature);
    let another = Digest::of(b"another");
    let mut unknown: Value = serde_json::from_slice(&right).unwrap();
    unknown["critical"]["expires"] = json!("yesterday");
    let mut large = right.clone();
    large.extend(vec![b' '; 64 << 10]);
    let swapped = right.iter().map(|b| if *b == b'"' { b'\'' } else { *b }).collect::<Vec<_>>();
    let foreign = descriptor(PAYLOAD_TYPE, b"a blob of another repository");
    let mut longer = descriptor(PAYLOAD_TYPE, &right);
    longer["size"] = json!(right.len() - 1);
    let other_name = "registry.example/app2";
    for (signatures, reason) in [
        (Signatures::default(), "there is no signature"),
        (raw(other.sign(&right)), "none is by a given key"),
        (Signatures::default().add(&swapped, &*signature), "none is by a given key"),
        (raw(String::new()), "none is by a given key"),
        (raw(signature[..signature.len() - 3].to_owned()), "it is not base64"),
        (raw(signature[..signature.len() - 4].to_owned()), "none is by a given key"),
        (raw("A".repeat(1 << 20)), "it is too long"),
        (with(&payload(&another, SIGNED_AS)), &format!("one is for another image, {another}")),
        (with(&payload(&digest, other_name)), &format!("one is for it as {other_name}")),
        (with(unknown.to_string().as_bytes()), "unknown field `expires`"),
        (with(b"[[[["), "not understood"),
        (with(b""), "not understood"),
        (with(&large), "more than 65536"),
        (Signatures::default().add_as(foreign, b"", &*signature), "answered 404"),
        (Signatures::default().add_as(longer, &right, &*signature), "larger than"),
        (
            Signatures::default().add_as(descriptor(OCI_MANIFEST, &right), &right, &*signature),
            "there is no signature",
        ),
    ] {
        let text = refuses(&serve(&made(), tagged(&digest, &signatures)), &by(&signer));
        assert!(text.contains(reason), "{reason}: {text}");
        // Neither does it harm one that does.
        let both = signatures.add(&right, &*signature);
        accepts(&serve(&made(), tagged(&digest, &both)), &by(&signer));
    }
}

#[test]
fn what_should_be_signatures_may_be_anything() {
    let (signer, digest) = (Signer::new(), made().digest());
    let path = format!("manifests/{}", tag(&digest));
    let right = payload(&digest, SIGNED_AS);
    let signatures = Signatures::default().add(&right, signer.sign(&right));
    let blob = format!("blobs/{}", Digest::of(&right));
    let nested = "[".repeat(100_000);
    let cases: Vec<(Vec<(String, Reply)>, &str)> = vec![
        (vec![(path.clone(), document(OCI_MANIFEST, "{}"))], "none of an image"),
        (vec![(path.clone(), document(OCI_MANIFEST, nested))], "malformed"),
        (vec![(path.clone(), document(OCI_MANIFEST, r#"{"layers": 1}"#))], "none of an image"),
        (vec![(path.clone(), document(OCI_MANIFEST, "<html>"))], "malformed"),
        (vec![(path.clone(), Reply::endless_body())], "larger than"),
        (vec![(blob.clone(), Reply::endless_body())], "larger than"),
        (vec![(blob, Reply::new(200, vec![b'x'; right.len()]))], "hashes to"),
    ];
    for (also, reason) in cases {
        let all = tagged(&digest, &signatures).into_iter().chain(also);
        let text = refuses(&serve(&made(), all), &by(&signer));
        assert!(text.contains(reason), "{reason}: {text}");
    }
}

#[test]
fn what_a_registry_cannot_answer_is_told() {
    let (signer, path) = (Signer::new(), format!("manifests/{}", tag(&made().digest())));
    for (status, kind) in [(503, ErrorKind::Io), (403, ErrorKind::PermissionDenied)] {
        let server = serve(&made(), [(path.clone(), Reply::new(status, ""))]);
        let (store, name) = (Store::new(), format!("{}/app:1", server.name()));
        let options = options(&server.registries(), &by(&signer));
        let error = store.images.pull(&name, &options).unwrap_err();
        assert_eq!((error.kind(), error.operation()), (kind, "pull"), "{error}");
        let cause = format!("its signatures: {} answered {status}", server.name());
        assert!(error.to_string().contains(&cause), "{error}");
    }
}

#[test]
fn as_many_different_keys_as_are_wanted_have_signed() {
    let signers = [Signer::new(), Signer::new(), Signer::new()];
    let digest = made().digest();
    let payload = payload(&digest, SIGNED_AS);
    let signed_by = |who: &[usize]| {
        let add = |all: Signatures, i: &usize| all.add(&payload, signers[*i].sign(&payload));
        serve(&made(), tagged(&digest, &who.iter().fold(Signatures::default(), add)))
    };
    let two = Signed::by_at_least(2, signers.iter().map(Signer::key)).unwrap();
    let policy = named(two);
    for who in [[0, 1], [2, 0], [1, 2]] {
        let server = signed_by(&who);
        accepts(&server, &policy);
        let payload = format!("GET /v2/app/blobs/{}", Digest::of(&payload));
        assert_eq!(server.lines(&payload).len(), 1, "fetched once for both");
    }
    let text = refuses(&signed_by(&[1, 1, 1]), &policy);
    assert!(text.starts_with("requires signatures by 2 of 3 given keys, and 1 of them"), "{text}");
}

#[test]
fn the_index_or_the_manifest_is_signed() {
    let (signer, made) = (Signer::new(), made());
    let mut entry = descriptor(OCI_MANIFEST, &made.manifest);
    entry["platform"] = json!({"os": "linux", "architecture": architecture()});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    let index = index.to_string().into_bytes();
    let top = ("manifests/1".to_owned(), document(OCI_INDEX, &*index));
    let another = Digest::of(b"another");
    for (digest, accepted) in [(Digest::of(&index), true), (made.digest(), true), (another, false)]
    {
        let payload = payload(&digest, SIGNED_AS);
        let signatures = Signatures::default().add(&payload, signer.sign(&payload));
        // Where it is stored does not make it one of the image.
        let at = if accepted { digest } else { made.digest() };
        let server = serve(&made, tagged(&at, &signatures).into_iter().chain([top.clone()]));
        match accepted {
            true => accepts(&server, &by(&signer)),
            false => assert!(refuses(&server, &by(&signer)).contains("another image")),
        }
    }
}

#[test]
fn signatures_refer_to_what_is_signed() {
    let (signer, made) = (Signer::new(), made());
    let digest = made.digest();
    let payload = payload(&digest, SIGNED_AS);
    let signatures = Signatures::default().add(&payload, signer.sign(&payload));
    let (manifest, entry) = signatures.referrer(&made.manifest);
    let at = format!("manifests/{}", Digest::of(&manifest));
    let bad = descriptor(OCI_MANIFEST, b"missing");
    let mut missing = entry.clone();
    missing["digest"] = bad["digest"].clone();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [missing, entry]});
    let tag = format!("manifests/sha256-{}", digest.hex());
    for place in [format!("referrers/{digest}"), tag] {
        let also = [
            (place, document(OCI_INDEX, index.to_string())),
            (at.clone(), document(OCI_MANIFEST, &*manifest)),
        ];
        let also: Vec<_> = blobs(&signatures).chain(also).collect();
        accepts(&serve(&made, also.clone()), &by(&signer));
        let text = refuses(&serve(&made, also), &by(&Signer::new()));
        assert!(text.contains("none is by a given key"), "{text}");
    }
}

#[test]
fn who_signed_with_a_bundle_is_told() {
    let mut entry = descriptor(OCI_MANIFEST, b"bundle");
    entry["artifactType"] = json!("application/vnd.dev.sigstore.bundle.v0.3+json");
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]});
    let place = format!("referrers/{}", made().digest());
    let server = serve(&made(), [(place, document(OCI_INDEX, index.to_string()))]);
    let text = refuses(&server, &by(&Signer::new()));
    assert!(text.contains("there is no signature: it is in a sigstore bundle"), "{text}");
}

#[test]
fn what_was_checked_is_what_is_pulled() {
    let (signer, old, new) = (Signer::new(), made(), Made::new("moved", &[10]));
    let payload = payload(&old.digest(), SIGNED_AS);
    let signatures = Signatures::default().add(&payload, signer.sign(&payload));
    let signed = tagged(&old.digest(), &signatures).into_iter().collect::<HashMap<_, _>>();
    let times = AtomicU32::new(0);
    let moving = Server::start(move |asked| {
        let path = asked.target.strip_prefix("/v2/app/").unwrap_or_default();
        if path == "manifests/1" && times.fetch_add(1, Ordering::SeqCst) > 0 {
            return registry(&new, asked);
        }
        let of_old = signed.get(path).cloned().unwrap_or_else(|| registry(&old, asked));
        if of_old.is_ok() { of_old } else { registry(&new, asked) }
    });
    accepts(&moving, &by(&signer));
    // The tag is moved now, and what it names is not signed.
    let options = options(&moving.registries(), &by(&signer));
    let error = Store::new().images.pull(&format!("{}/app:1", moving.name()), &options);
    assert_eq!(error.unwrap_err().operation(), "accept");
}

#[test]
fn a_signature_of_another_repository_or_tag_is_none() {
    let (signer, digest) = (Signer::new(), made().digest());
    for (name, accepted) in [("/app", true), ("/app:1", true), ("/app:2", false), ("/ap", false)] {
        let slot = std::sync::Arc::new(std::sync::OnceLock::<Vec<(String, Reply)>>::new());
        let (made, filled) = (made(), slot.clone());
        let server = Server::start(move |asked| {
            let path = asked.target.strip_prefix("/v2/app/").unwrap_or_default();
            let found = filled.get().and_then(|all| all.iter().find(|(at, _)| at == path));
            found.map(|(_, reply)| reply.clone()).unwrap_or_else(|| registry(&made, asked))
        });
        // Only now is the name known that it is pulled by.
        let payload = payload(&digest, &format!("{}{name}", server.name()));
        let signatures = Signatures::default().add(&payload, signer.sign(&payload));
        assert!(slot.set(tagged(&digest, &signatures)).is_ok());
        match accepted {
            true => accepts(&server, &requires(&[&signer])),
            false => assert!(refuses(&server, &requires(&[&signer])).contains("one is for it as")),
        }
    }
}

#[test]
fn signatures_are_looked_at_within_bounds() {
    let (signer, digest) = (Signer::new(), made().digest());
    let mut all = Signatures::default();
    for i in 0..2000 {
        let payload = [payload(&digest, SIGNED_AS), vec![b' '; i]].concat();
        all = all.add(&payload, "AAAA");
    }
    let server = serve(&made(), tagged(&digest, &all));
    let text = refuses(&server, &by(&signer));
    assert!(text.contains("more than 128 are not looked at"), "{text}");
    assert!(server.asked().len() < 140, "{}", server.asked().len());

    // Nor are those of one payload looked at for ever, a right one at the end included.
    let payload = payload(&digest, SIGNED_AS);
    let add = |all: Signatures, i| all.add(&payload, format!("{i:04}"));
    let junk = (0..2000).fold(Signatures::default(), add);
    let all = junk.add(&payload, signer.sign(&payload));
    let text = refuses(&serve(&made(), tagged(&digest, &all)), &by(&signer));
    assert!(text.contains("none of 128 signatures counts"), "{text}");
}

#[test]
fn what_a_mirror_does_not_have_the_registry_may() {
    let (signer, digest) = (Signer::new(), made().digest());
    let payload = payload(&digest, SIGNED_AS);
    let signatures = Signatures::default().add(&payload, signer.sign(&payload));
    let broken = [(format!("manifests/{}", tag(&digest)), Reply::new(400, ""))];
    for mirror in [serve(&made(), []), serve(&made(), broken)] {
        let server = serve(&made(), tagged(&digest, &signatures));
        let access = Access::new().plain_http().mirror(mirror.name());
        let registries = mirror.registries().access(server.name(), access);
        let options = options(&registries, &by(&signer));
        let name = format!("{}/app:1", server.name());
        Store::new().images.pull(&name, &options).unwrap();
        assert_eq!(server.lines("GET /v2/app/manifests/1"), [""; 0]);
    }
}
