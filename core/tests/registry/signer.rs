//! Signs as cosign does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use skep::image::Digest;
use skep::image::signature::{Policy, PublicKey, Requirement, Signed};

use crate::image::{OCI_MANIFEST, descriptor};

pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// What an ECDSA key with P-256 has before its point, in DER.
const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\
    \x3d\x03\x01\x07\x03\x42\x00";

/// A key of cosign's kind.
pub(crate) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    pub(crate) fn key(&self) -> PublicKey {
        let der = STANDARD.encode([P256, self.0.public_key().as_ref()].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        PublicKey::from_pem(pem.as_bytes()).unwrap()
    }

    /// In base64.
    pub(crate) fn sign(&self, payload: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), payload).unwrap())
    }
}

/// A policy that wants a signature by one of the signers, of whatever.
pub(crate) fn requires(signers: &[&Signer]) -> Policy {
    Policy::new(Signed::by(signers.iter().map(|signer| signer.key())).unwrap())
}

pub(crate) fn rejects() -> Policy {
    Policy::new(Requirement::Reject)
}

/// What is signed.
pub(crate) fn payload(digest: &Digest, name: &str) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// The tag of the signatures of `digest`.
pub(crate) fn tag(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// A manifest of signatures and what it names.
#[derive(Clone, Default)]
pub(crate) struct Signatures {
    layers: Vec<Value>,
    pub(crate) blobs: Vec<Vec<u8>>,
}

impl Signatures {
    pub(crate) fn add(self, payload: &[u8], signature: impl Into<String>) -> Self {
        self.add_as(descriptor(PAYLOAD_TYPE, payload), payload, signature)
    }

    /// With `layer` for its descriptor.
    pub(crate) fn add_as(
        mut self,
        mut layer: Value,
        payload: &[u8],
        signature: impl Into<String>,
    ) -> Self {
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature.into()});
        self.layers.push(layer);
        self.blobs.push(payload.to_owned());
        self
    }

    pub(crate) fn manifest(&self) -> Vec<u8> {
        let config = descriptor("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": self.layers,
        });
        manifest.to_string().into_bytes()
    }

    /// As what refers to `subject`, and the descriptor of that.
    pub(crate) fn referrer(&self, subject: &[u8]) -> (Vec<u8>, Value) {
        let mut manifest: Value = serde_json::from_slice(&self.manifest()).unwrap();
        manifest["config"]["mediaType"] = json!(ARTIFACT_TYPE);
        manifest["subject"] = descriptor(OCI_MANIFEST, subject);
        let manifest = manifest.to_string().into_bytes();
        let mut descriptor = descriptor(OCI_MANIFEST, &manifest);
        descriptor["artifactType"] = json!(ARTIFACT_TYPE);
        (manifest, descriptor)
    }
}
