//! What is signed: a small JSON document that names an image.
//!
//! Anything in it that is not known makes it of no use, but for what is `optional`: it may say when
//! the signature does not count.
//!
//! Source: <https://github.com/containers/image/blob/main/docs/containers-signature.5.md#json-data-format>

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::image::{Digest, Reference};

/// The types of payloads that sign an image, as cosign and as containers/image write them.
const TYPES: [&str; 2] = ["cosign container image signature", "atomic container signature"];

/// What a payload says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Payload {
    /// The digest of the signed manifest or index.
    pub(super) digest: Digest,
    pub(super) name: SignedName,
}

/// The name that an image was signed under; cosign leaves its tag out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SignedName {
    /// Its tag is one that was written.
    pub(super) reference: Reference,
    pub(super) has_tag: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    critical: Critical,
    #[serde(default, rename = "optional")]
    _optional: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    r#type: String,
    image: Image,
    identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

impl Payload {
    /// Parses a payload, or says what is wrong with it. Serde refuses a field that is there twice,
    /// and skips what is optional without recursion, however deep it is.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|e| printable(&e))?;
        let Critical { r#type, image, identity } = document.critical;
        if !TYPES.contains(&&*r#type) {
            return Err("it signs something else than an image".to_owned());
        }
        let name = SignedName::parse(&identity.docker_reference)?;
        let digest = image.docker_manifest_digest;
        if name.reference.digest().is_some_and(|named| *named != digest) {
            return Err("it names two digests".to_owned());
        }
        Ok(Payload { digest, name })
    }
}

impl SignedName {
    fn parse(text: &str) -> Result<Self, String> {
        let bad = |_| "the name in it is no reference".to_owned();
        let reference = Reference::parse(text).map_err(bad)?;
        let name = text.split('@').next().unwrap_or_default();
        let last = name.rsplit('/').next().unwrap_or_default();
        // A tag that is not written would be `latest`.
        Ok(SignedName { reference, has_tag: last.contains(':') })
    }

    /// The tag, if it has one.
    pub(super) fn tag(&self) -> Option<&str> {
        self.reference.tag().filter(|_| self.has_tag)
    }
}

impl fmt::Display for SignedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.reference.domain(), self.reference.path())?;
        self.tag().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

/// An error that may repeat what is in a payload, without what could harm a terminal.
fn printable(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn document() -> Value {
        json!({
            "critical": {
                "type": "cosign container image signature",
                "image": {"docker-manifest-digest": Digest::of(b"")},
                "identity": {"docker-reference": "registry.example/app"},
            },
            "optional": null,
        })
    }

    fn parse(document: &Value) -> Result<Payload, String> {
        Payload::parse(document.to_string().as_bytes())
    }

    #[test]
    fn what_signers_write_is_read() {
        let cosign = Payload::parse(include_bytes!("testdata/payload.json")).unwrap();
        assert_eq!(cosign.digest, Digest::of(b""));
        assert_eq!(cosign.name.reference.path(), "team/app");
        assert_eq!(cosign.name.tag(), None);
        let mut other = document();
        other["critical"]["type"] = json!("atomic container signature");
        other["critical"]["identity"]["docker-reference"] = json!("localhost:5000/app:latest");
        other["optional"] = json!({"creator": "skopeo 1", "timestamp": 1, "deep": [[[{}]]]});
        assert_eq!(parse(&other).unwrap().name.tag(), Some("latest"));
        let mut without = document();
        without.as_object_mut().unwrap().remove("optional");
        assert_eq!(parse(&without), parse(&document()));
    }

    #[test]
    fn what_is_unknown_missing_or_twice_is_refused() {
        let mut cases = Vec::new();
        for at in ["", "/critical", "/critical/image", "/critical/identity"] {
            let mut more = document();
            more.pointer_mut(at).unwrap()["expires"] = json!(1);
            cases.push((more.to_string(), "unknown field `expires`"));
        }
        for (at, name) in [
            ("", "critical"),
            ("/critical", "type"),
            ("/critical", "image"),
            ("/critical", "identity"),
            ("/critical/image", "docker-manifest-digest"),
            ("/critical/identity", "docker-reference"),
        ] {
            let mut less = document();
            less.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name);
            cases.push((less.to_string(), "missing field"));
        }
        let set = |at: &str, value: Value| {
            let mut document = document();
            *document.pointer_mut(at).unwrap() = value;
            document.to_string()
        };
        let two = format!("registry.example/app@{}", Digest::of(b"other"));
        cases.extend([
            (set("/critical/type", json!("blob")), "something else"),
            (set("/critical/identity/docker-reference", json!("A b")), "no reference"),
            (set("/critical/identity/docker-reference", json!("")), "no reference"),
            (set("/critical/identity/docker-reference", json!(two)), "two digests"),
            (set("/critical/image/docker-manifest-digest", json!("md5:0")), "sha256"),
            (set("/critical/image", json!([])), ""),
            (document().to_string().replacen('{', r#"{"critical":{},"#, 1), "missing field"),
            (document().to_string().replacen('{', r#"{"optional":{},"#, 1), "duplicate field"),
            (set("/optional", json!(null)) + "{}", "trailing"),
            (set("/optional", json!("X")).replace("\"X\"", &"[".repeat(100_000)), "expected value"),
            (set("/critical/type", json!("X")).replace("\"X\"", &"[".repeat(100_000)), "type"),
            (String::new(), "EOF"),
        ]);
        for (text, reason) in cases {
            let refused = Payload::parse(text.as_bytes()).unwrap_err();
            let text = text.chars().take(300).collect::<String>();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    #[test]
    fn a_tag_is_one_that_is_written() {
        for (text, tag) in [
            ("debian", None),
            ("debian:latest", Some("latest")),
            ("localhost:5000/app", None),
            ("localhost:5000/app:1", Some("1")),
            ("[::1]:5000/app", None),
        ] {
            assert_eq!(SignedName::parse(text).unwrap().tag(), tag, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = Payload::parse(&bytes);
        }

        #[test]
        fn a_changed_payload_says_the_same_or_is_refused_or_names_another(
            at in 0..200usize, byte in 0x20..0x7fu8,
        ) {
            let right = document().to_string();
            let mut bytes = right.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(payload) = Payload::parse(&bytes) {
                let name = &payload.name.reference;
                let text = String::from_utf8(bytes).unwrap();
                prop_assert!(text.contains(&payload.digest.to_string()));
                prop_assert!(text.contains(name.path().trim_start_matches("library/")));
            }
        }

        #[test]
        fn what_is_written_is_read(
            name in r"[a-z]{1,5}\.[a-z]{1,5}(:[0-9]{1,4})?/[a-z]{1,5}(/[a-z]{1,5})?",
            tag in proptest::option::of(r"\w[\w.-]{0,9}"), salt: u64,
        ) {
            let mut payload = document();
            let digest = Digest::of(&salt.to_le_bytes());
            let tagged = tag.as_ref().map_or(name.clone(), |tag| format!("{name}:{tag}"));
            payload["critical"]["image"]["docker-manifest-digest"] = json!(digest);
            payload["critical"]["identity"]["docker-reference"] = json!(tagged);
            if let Ok(read) = parse(&payload) {
                prop_assert_eq!(read.digest, digest);
                prop_assert_eq!(read.name.tag(), tag.as_deref());
            } else {
                // `\w` is more than ASCII, and a port may be too large.
                prop_assert!(Reference::parse(&tagged).is_err());
            }
        }
    }
}
