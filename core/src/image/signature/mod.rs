//! Signatures of images: whose keys must have signed what comes from where.
//!
//! A [`Policy`], given to a pull, says for each registry, or part of one, what is taken from it:
//! anything, nothing, or what holders of given keys have [`Signed`]. It is enforced after the
//! manifest is known, and before a blob of the image is fetched: what it refuses leaves nothing in
//! the store. What was loaded, or pulled before, is not looked at again.
//!
//! Signatures are those that cosign makes with a key, and skopeo and podman with
//! `--sign-by-sigstore-private-key`: of a small JSON payload that names the manifest's digest and
//! the repository. Of an image for several platforms either the index or the platform's manifest
//! may be signed: the digest of the one is in the other. Certificates, transparency logs and
//! sigstore's bundles are not looked at.
//!
//! This module knows no network: [`registry`](super::registry) brings the signatures.
//!
//! Source: <https://github.com/containers/image/blob/main/docs/containers-signature.5.md>,
//! <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>

mod check;
mod key;
mod payload;
mod policy;

pub(super) use check::{Check, Refusal};
pub use key::PublicKey;
pub(super) use policy::Rule;
pub use policy::{Identity, Policy, Requirement, Signed};

/// The media type of a signed payload in the manifest of its signatures.
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The artifact type of a manifest of signatures that refers to what is signed.
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// What the artifact type of a sigstore bundle begins with.
pub(super) const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// The annotation of a payload's descriptor that has the signature, in base64.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Bytes of a payload. Those in use have about 250.
pub(super) const MAX_PAYLOAD: u64 = 64 << 10;

/// Manifests of signatures, and signatures, that one pull looks at. Who may push to the repository
/// can hide a signature behind so many others, as they could remove it.
pub(super) const MAX_LOOKS: u32 = 128;
