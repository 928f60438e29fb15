//! Public keys, and whether they made a signature.
//!
//! The algorithms are cosign's: what a key is used with follows from its kind, and never from what
//! comes with a signature.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>

use std::fmt;

use ring::signature::{self as algorithms, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{SubjectPublicKeyInfoDer, alg_id};

use crate::image::Digest;
use crate::{Error, Result};

/// A public key that may have signed an image: ECDSA with P-256 (cosign's own) or P-384, Ed25519,
/// or RSA with 2048 to 8192 bits (PKCS #1 1.5, SHA-256).
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// As the algorithm takes it: a point, or an `RSAPublicKey`.
    bytes: Vec<u8>,
    /// Of the whole `SubjectPublicKeyInfo`.
    fingerprint: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl PublicKey {
    /// Reads the one `PUBLIC KEY` of a PEM file, `cosign.pub` for instance.
    ///
    /// # Errors
    /// `InvalidInput` if there is none or more than one, or one of another kind.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        let invalid = |cause: String| {
            Error::invalid_input("use public key", "given in PEM")
                .cause(cause)
                .fix("give one \"PUBLIC KEY\": ECDSA P-256 or P-384, Ed25519, RSA from 2048 bits")
        };
        let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(pem).collect();
        let found = found.map_err(|error| invalid(error.to_string()))?;
        match &found[..] {
            [der] => {
                PublicKey::from_der(der).ok_or_else(|| invalid("it is of another kind".into()))
            }
            [] => Err(invalid("it holds none".into())),
            more => Err(invalid(format!("it holds {}", more.len()))),
        }
    }

    /// A `SubjectPublicKeyInfo`: a sequence of the algorithm and a bit string.
    fn from_der(der: &[u8]) -> Option<Self> {
        let (info, rest) = element(SEQUENCE, der)?;
        let (algorithm, info) = element(SEQUENCE, info)?;
        let (bits, info_rest) = element(BIT_STRING, info)?;
        // The first byte says how many bits at the end are none.
        let (0, bytes) = bits.split_first().map(|(unused, bytes)| (*unused, bytes))? else {
            return None;
        };
        let known = [
            (alg_id::ECDSA_P256, Kind::P256),
            (alg_id::ECDSA_P384, Kind::P384),
            (alg_id::ED25519, Kind::Ed25519),
            (alg_id::RSA_ENCRYPTION, Kind::Rsa),
        ];
        let (_, kind) = known.into_iter().find(|(id, _)| id.as_ref() == algorithm)?;
        let valid = rest.is_empty() && info_rest.is_empty() && kind.takes(bytes);
        let fingerprint = Digest::of(der);
        valid.then(|| PublicKey { kind, bytes: bytes.to_owned(), fingerprint })
    }

    /// Whether it made `signature` of `message`.
    ///
    /// Cosign has used SHA-256 with every curve, and later the hash of the curve's size.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
        };
        match self.kind {
            Kind::P256 => by(&algorithms::ECDSA_P256_SHA256_ASN1),
            Kind::P384 => {
                by(&algorithms::ECDSA_P384_SHA256_ASN1) || by(&algorithms::ECDSA_P384_SHA384_ASN1)
            }
            Kind::Ed25519 => by(&algorithms::ED25519),
            Kind::Rsa => by(&algorithms::RSA_PKCS1_2048_8192_SHA256),
        }
    }
}

impl Kind {
    /// Whether `bytes` look like such a key; one that is none verifies nothing.
    fn takes(self, bytes: &[u8]) -> bool {
        // 4 is an uncompressed point.
        match self {
            Kind::P256 => bytes.len() == 65 && bytes[0] == 4,
            Kind::P384 => bytes.len() == 97 && bytes[0] == 4,
            Kind::Ed25519 => bytes.len() == 32,
            Kind::Rsa => modulus(bytes).is_some_and(|n| (256..=1024).contains(&n.len())),
        }
    }
}

/// The modulus of an `RSAPublicKey`, a sequence of it and the exponent.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    let (numbers, _) = element(SEQUENCE, der)?;
    let (modulus, _) = element(INTEGER, numbers)?;
    // A zero keeps the number from being negative.
    Some(modulus.strip_prefix(&[0]).unwrap_or(modulus))
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The contents of the DER element with `tag` that `der` begins with, and what is behind it.
/// Lengths up to 65535, more than a key has.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der {
        [first, length @ 0..=0x7f, ref rest @ ..] if first == tag => (usize::from(length), rest),
        [first, 0x81, length @ 0x80..=0xff, ref rest @ ..] if first == tag => (length.into(), rest),
        [first, 0x82, high @ 1..=0xff, low, ref rest @ ..] if first == tag => {
            (u16::from_be_bytes([high, low]).into(), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kind, self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    // Made with openssl: keys, and signatures of the payload.
    const PAYLOAD: &[u8] = include_bytes!("testdata/payload.json");
    const P256: &str = include_str!("testdata/p256.pub");
    const P384: &str = include_str!("testdata/p384.pub");
    const ED25519: &str = include_str!("testdata/ed25519.pub");
    const RSA: &str = include_str!("testdata/rsa.pub");
    const SIGNATURES: [(&str, &str); 5] = [
        (P256, include_str!("testdata/p256.sig")),
        (P384, include_str!("testdata/p384-sha256.sig")),
        (P384, include_str!("testdata/p384-sha384.sig")),
        (ED25519, include_str!("testdata/ed25519.sig")),
        (RSA, include_str!("testdata/rsa.sig")),
    ];

    fn key(pem: &str) -> PublicKey {
        PublicKey::from_pem(pem.as_bytes()).unwrap()
    }

    #[test]
    fn what_openssl_signed_is_verified_by_its_key_alone() {
        for (pem, signature) in SIGNATURES {
            let signature = STANDARD.decode(signature).unwrap();
            for other in [P256, P384, ED25519, RSA] {
                assert_eq!(key(other).verify(PAYLOAD, &signature), other == pem, "{pem}{other}");
            }
            let mut swapped = PAYLOAD.to_vec();
            *swapped.last_mut().unwrap() ^= 1;
            assert!(!key(pem).verify(&swapped, &signature));
            assert!(!key(pem).verify(PAYLOAD, &signature[..signature.len() - 1]));
            assert!(!key(pem).verify(PAYLOAD, b""));
        }
    }

    #[test]
    fn what_is_no_such_key_is_refused_with_the_reason() {
        let two = format!("{P256}{P384}");
        let private = P256.replace("PUBLIC", "PRIVATE");
        for (pem, reason) in [
            ("", "it holds none"),
            ("garbage", "it holds none"),
            (&*private, "it holds none"),
            (&*two, "it holds 2"),
            (include_str!("testdata/rsa1024.pub"), "it is of another kind"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "of another kind"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "base64"),
        ] {
            let error = PublicKey::from_pem(pem.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{pem}");
            assert!(error.to_string().contains(reason), "{pem}: {error}");
        }
    }

    #[test]
    fn it_shows_which_key_it_is() {
        let shown = format!("{:?}", key(P256));
        assert!(shown.starts_with("PublicKey(P256, sha256:"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(bytes: Vec<u8>, at in 0..91usize, byte: u8) {
            let _ = PublicKey::from_der(&bytes);
            let _ = PublicKey::from_pem(&bytes);
            let mut der = SubjectPublicKeyInfoDer::from_pem_slice(P256.as_bytes()).unwrap().to_vec();
            der[at] = byte;
            if let Some(key) = PublicKey::from_der(&der) {
                let _ = key.verify(PAYLOAD, &bytes);
            }
        }
    }
}
