//! Whether the signatures that are found are those that are wanted.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::policy::{Rule, Signed};
use super::{MAX_LOOKS, payload::Payload};
use crate::Error;
use crate::image::{Digest, Reference};

/// The longest signature in base64: of an RSA key with 8192 bits, and some more.
const MAX_SIGNATURE: usize = 2048;

/// Signatures of one image, as they are found.
pub(in crate::image) struct Check<'a> {
    signed: &'a Signed,
    /// What the caller asks for.
    asked: &'a Reference,
    /// The index, if there is one, and the manifest: either may be signed.
    digests: &'a [Digest],
    /// The keys that have signed it.
    by: BTreeSet<usize>,
    /// The signatures that were found, each with its payload's digest, and whether both were
    /// looked at: the same from a mirror is the same.
    found: HashMap<(String, Digest), bool>,
    /// Why they do not count, of the reasons the most telling.
    refusal: Option<Refusal>,
    /// How many more manifests and signatures may be looked at.
    left: u32,
    /// Whether there was more than that.
    cut: bool,
}

/// Why a signature does not count, the most telling last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::image) enum Refusal {
    /// By nobody that is known.
    OtherKey,
    /// It is none, or what it signs cannot be had.
    Malformed(String),
    /// There is a bundle, which cosign 3 writes unless told otherwise.
    Bundle,
    /// By a key, of what is no payload.
    Payload(String),
    /// By a key, of another image.
    OtherImage(Digest),
    /// By a key, of this image under another name.
    OtherName(String),
}

impl<'a> Check<'a> {
    /// For the image `asked` whose index and manifest have `digests`.
    pub(in crate::image) fn new(
        signed: &'a Signed,
        asked: &'a Reference,
        digests: &'a [Digest],
    ) -> Self {
        let (by, found) = Default::default();
        Check { signed, asked, digests, by, found, refusal: None, left: MAX_LOOKS, cut: false }
    }

    /// Counts one more manifest or signature; whether it may be looked at.
    pub(in crate::image) fn may_look(&mut self) -> bool {
        self.cut |= self.left == 0;
        self.left = self.left.saturating_sub(1);
        !self.cut
    }

    /// Whether `signature`, of a payload with `digest`, is still to be looked at.
    pub(in crate::image) fn is_new(&mut self, signature: &str, digest: &Digest) -> bool {
        !*self.found.entry(key(signature, digest)).or_default()
    }

    /// Takes a signature, in base64, and the payload that has `digest`.
    pub(in crate::image) fn offer(&mut self, signature: &str, digest: &Digest, payload: &[u8]) {
        self.found.insert(key(signature, digest), true);
        match self.signer(signature, payload) {
            Ok(key) => drop(self.by.insert(key)),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Notes that a signature does not count.
    pub(in crate::image) fn refuse(&mut self, refusal: Refusal) {
        // `None` is less than any.
        self.refusal = self.refusal.take().max(Some(refusal));
    }

    /// Whether there are signatures enough.
    pub(in crate::image) fn is_met(&self) -> bool {
        self.by.len() >= self.signed.least
    }

    /// The key that has signed the image. Who signed is looked at first: a payload is parsed only
    /// if it is by someone trusted.
    fn signer(&self, signature: &str, payload: &[u8]) -> Result<usize, Refusal> {
        let malformed = |why: &str| Refusal::Malformed(why.to_owned());
        if signature.len() > MAX_SIGNATURE {
            return Err(malformed("it is too long"));
        }
        let signature = STANDARD.decode(signature).map_err(|_| malformed("it is not base64"))?;
        let verifies = |key: &super::PublicKey| key.verify(payload, &signature);
        let key = self.signed.keys.iter().position(verifies).ok_or(Refusal::OtherKey)?;
        let payload = Payload::parse(payload).map_err(Refusal::Payload)?;
        if !self.digests.contains(&payload.digest) {
            return Err(Refusal::OtherImage(payload.digest));
        }
        match self.signed.takes(self.asked, &payload.name) {
            true => Ok(key),
            false => Err(Refusal::OtherName(payload.name.to_string())),
        }
    }

    /// The error for too few signatures. `subject` is the image as the caller named it.
    pub(in crate::image) fn error(&self, rule: &Rule<'_>, subject: &str) -> Error {
        let (least, keys) = (self.signed.least, self.signed.keys.len());
        let wants = match (least, keys) {
            (1, 1) => "requires a signature by the given key".to_owned(),
            (1, _) => format!("requires a signature by one of {keys} given keys"),
            _ => format!("requires signatures by {least} of {keys} given keys"),
        };
        let found = match (self.found.len(), self.by.len()) {
            (0, _) => "and there is no signature".to_owned(),
            (1, 0) => "and the one signature does not count".to_owned(),
            (n, 0) => format!("and none of {n} signatures counts"),
            (_, 1) => "and 1 of them has signed it".to_owned(),
            (_, by) => format!("and {by} of them have signed it"),
        };
        let why = self.refusal.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let more = match self.cut {
            true => format!(" (more than {MAX_LOOKS} are not looked at)"),
            false => String::new(),
        };
        rule.refusal(subject, &format!("{wants}, {found}{why}{more}"))
    }
}

/// What a signature is known by, however long it is.
fn key(signature: &str, payload: &Digest) -> (String, Digest) {
    match signature.len() {
        0..=MAX_SIGNATURE => (signature.to_owned(), *payload),
        _ => (Digest::of(signature.as_bytes()).hex(), *payload),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::OtherKey => f.write_str("none is by a given key"),
            Refusal::Malformed(why) => write!(f, "one is malformed: {why}"),
            Refusal::Bundle => f.write_str(
                "it is in a sigstore bundle, which is not read (cosign --new-bundle-format=false)",
            ),
            Refusal::Payload(why) => write!(f, "one is of a payload that is not understood: {why}"),
            Refusal::OtherImage(digest) => write!(f, "one is for another image, {digest}"),
            Refusal::OtherName(name) => write!(f, "one is for it as {name}"),
        }
    }
}
