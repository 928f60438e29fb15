//! Brings the signatures of an image, and refuses it if they are not those that the policy wants.
//!
//! Signatures are in manifests of their own: one under a tag that is made of the signed digest, as
//! cosign, skopeo and podman push them, and those that refer to it. Whatever of this is missing or
//! malformed is as good as no signature; what a registry could not answer is told.
//!
//! Source: <https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage>

use serde::Deserialize;

use super::client::Client;
use super::failure::{Failure, Outcome};
use super::transport::Request;
use crate::image::signature::{
    ARTIFACT_TYPE, BUNDLE_TYPE, Check, MAX_PAYLOAD, PAYLOAD_TYPE, Refusal, Rule, SIGNATURE,
};
use crate::image::{Descriptor, Digest, Reference};
use crate::{ErrorKind, Result};

/// Enforces `rule` on the image `asked`, which the caller named `subject`. `digests` are its
/// index's, if it has one, and its manifest's. The mirrors and the registry in `clients` are asked
/// until there are signatures enough.
///
/// # Errors
/// `PermissionDenied` if there are not; as for a pull, if the registry cannot say.
pub(super) fn check(
    rule: &Rule<'_>,
    subject: &str,
    asked: &Reference,
    digests: &[Digest],
    clients: &[&Client],
) -> Result<()> {
    let Some(signed) = rule.signed(subject)? else { return Ok(()) };
    let mut check = Check::new(signed, asked, digests);
    let mut failed = None;
    for client in clients {
        failed = client.signatures(digests, &mut check).err();
        if check.is_met() {
            return Ok(());
        }
    }
    match failed {
        Some(mut failure) => {
            failure.cause = format!("its signatures: {}", failure.cause);
            Err(failure.error("pull", subject))
        }
        None => Err(check.error(rule, subject)),
    }
}

/// A manifest of signatures. Its config says nothing.
#[derive(Deserialize)]
struct Signatures {
    layers: Vec<Descriptor>,
}

impl Client {
    /// Offers the signatures of all `digests` until there are enough.
    fn signatures(&self, digests: &[Digest], check: &mut Check<'_>) -> Outcome<()> {
        let mut failed = Ok(());
        for digest in digests {
            for found in [self.tagged_signatures(digest, check), self.referring(digest, check)] {
                failed = failed.and(found);
            }
            if check.is_met() {
                return Ok(());
            }
        }
        failed
    }

    fn tagged_signatures(&self, digest: &Digest, check: &mut Check<'_>) -> Outcome<()> {
        self.signatures_in(&format!("sha256-{}.sig", digest.hex()), None, check)
    }

    fn referring(&self, digest: &Digest, check: &mut Check<'_>) -> Outcome<()> {
        if check.is_met() {
            return Ok(());
        }
        let Some(found) = or_none(self.referrers(digest, None), check)? else {
            return Ok(());
        };
        for manifest in found {
            let kind = manifest.extra.get("artifactType").and_then(|kind| kind.as_str());
            match kind {
                Some(ARTIFACT_TYPE) if !check.is_met() => {}
                Some(kind) if kind.starts_with(BUNDLE_TYPE) => {
                    check.refuse(Refusal::Bundle);
                    continue;
                }
                _ => continue,
            }
            self.signatures_in(&manifest.digest.to_string(), Some(&manifest.digest), check)?;
        }
        Ok(())
    }

    /// Offers what the manifest `target` holds.
    fn signatures_in(
        &self,
        target: &str,
        digest: Option<&Digest>,
        check: &mut Check<'_>,
    ) -> Outcome<()> {
        if !check.may_look() {
            return Ok(());
        }
        let Some((_, bytes)) = or_none(self.manifest(target, digest), check)? else {
            return Ok(());
        };
        let Ok(found) = serde_json::from_slice::<Signatures>(&bytes) else {
            check.refuse(Refusal::Malformed("its manifest is none of an image".to_owned()));
            return Ok(());
        };
        let mut last: Option<(Digest, Vec<u8>)> = None;
        for layer in &found.layers {
            let Some(signature) = layer.annotations.get(SIGNATURE) else { continue };
            if layer.media_type != PAYLOAD_TYPE || !check.is_new(signature, &layer.digest) {
                continue;
            }
            if !check.may_look() {
                break;
            }
            // Signatures by several keys are mostly of the same payload.
            if last.as_ref().is_none_or(|(digest, _)| *digest != layer.digest) {
                last = or_none(self.payload(layer), check)?.map(|bytes| (layer.digest, bytes));
            }
            if let Some((_, payload)) = &last {
                check.offer(signature, &layer.digest, payload);
            }
            if check.is_met() {
                break;
            }
        }
        Ok(())
    }

    /// A small blob.
    fn payload(&self, blob: &Descriptor) -> Outcome<Vec<u8>> {
        let Descriptor { digest, size, .. } = blob;
        if *size > MAX_PAYLOAD {
            let cause = format!("its payload has {size} bytes, more than {MAX_PAYLOAD}");
            return Err(Failure::new(ErrorKind::InvalidData, cause));
        }
        let request = Request::get(self.url(&format!("blobs/{digest}"))).self_certifying(true);
        let answer = self.send(&request).map_err(|failure| match failure.kind {
            ErrorKind::NotFound => Failure::new(ErrorKind::InvalidData, failure.cause),
            _ => failure,
        });
        let bytes = answer?.read(*size)?;
        let found = Digest::of(&bytes);
        match found == *digest {
            true => Ok(bytes),
            false => Err(Failure::new(
                ErrorKind::DigestMismatch,
                format!("its payload {digest} hashes to {found}"),
            )),
        }
    }
}

/// What is missing is none, and what is malformed is refused; only what may be there, and could
/// not be had, is a failure.
fn or_none<T>(outcome: Outcome<T>, check: &mut Check<'_>) -> Outcome<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(failure) if failure.kind == ErrorKind::NotFound => Ok(None),
        Err(failure)
            if matches!(failure.kind, ErrorKind::InvalidData | ErrorKind::DigestMismatch) =>
        {
            check.refuse(Refusal::Malformed(failure.cause));
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
