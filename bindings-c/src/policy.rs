//! Signatures: whose keys must have signed what is pulled from where.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use skep::image::signature::{Identity, Policy, PublicKey, Requirement, Signed};

use crate::argument::{Text, Texts};
use crate::error::skep_error;
use crate::panic::{self, Call, call};
use crate::setting::{Setting, set};

/// Which name an image must have been signed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_identity {
    /// The repository that is pulled from; and the same tag, if the signature names one and the image
    /// is pulled by one. cosign signs no tag, skopeo and podman do.
    SKEP_IDENTITY_SIGNED_TAG = 0,
    /// The repository and the tag that are pulled, or the repository if it is pulled by its digest.
    SKEP_IDENTITY_EXACT = 1,
    /// The repository that is pulled from, with any tag: an older image of it can be passed off as a
    /// newer one.
    SKEP_IDENTITY_REPOSITORY = 2,
    /// A repository that you name, with any tag: for copies of what was signed elsewhere.
    SKEP_IDENTITY_NAMED = 3,
}

/// What is taken from which registry: a new one takes nothing.
///
/// `prefix` is a registry, or a part of one, as complete references write it: "docker.io/library",
/// "localhost:5000/team"; NULL is whatever has no prefix of its own. A prefix ends where a part of the
/// name does, and of those that fit, the longest counts, alone. It is the name that is asked for that
/// counts, and not the mirror that answers. What is said of a prefix replaces what was.
///
/// Options are set by one thread at a time. Their functions return a code and may be called without
/// looking at it: the first that failed fails every later pull, with its error.
#[derive(Debug, Default)]
pub struct skep_policy {
    setting: Setting<Rules>,
}

/// In pieces, for core wants the default first, and here it can be said last.
#[derive(Debug, Default)]
struct Rules {
    default: Option<Requirement>,
    prefixes: Vec<(String, Requirement)>,
}

impl skep_policy {
    pub(crate) fn get(&self) -> Result<Policy, skep_error> {
        let Rules { default, prefixes } = self.setting.get()?;
        let policy = Policy::new(default.clone().unwrap_or(Requirement::Reject));
        Ok(prefixes.iter().try_fold(policy, |policy, (prefix, requirement)| {
            policy.prefix(prefix, requirement.clone())
        })?)
    }
}

/// Makes one that takes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn skep_policy_new(
    policy: Option<&mut MaybeUninit<Box<skep_policy>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_policy_new", error, |call| {
        call.given(policy, "policy")?.write(Box::default());
        Ok(())
    })
}

/// Takes any image, signed or not.
///
/// Errors, as with the next two: SKEP_INVALID_INPUT if `prefix` begins with no registry's name, or has
/// a tag or digest.
#[unsafe(no_mangle)]
pub extern "C" fn skep_policy_accept(policy: Option<&mut skep_policy>, prefix: Text<'_>) -> c_int {
    rule("skep_policy_accept", policy, prefix, |_| Ok(Requirement::Accept))
}

/// Takes no image, and asks no registry.
#[unsafe(no_mangle)]
pub extern "C" fn skep_policy_reject(policy: Option<&mut skep_policy>, prefix: Text<'_>) -> c_int {
    rule("skep_policy_reject", policy, prefix, |_| Ok(Requirement::Reject))
}

/// Takes images that the holders of at least `at_least` different ones of `keys` have signed: with
/// cosign and a key, or with skopeo's or podman's --sign-by-sigstore-private-key.
///
/// `keys` is a list, which ends in NULL, of public keys in PEM, the text of cosign.pub for instance:
/// ECDSA with P-256 or P-384, Ed25519, or RSA from 2048 bits. `identity` is one of
/// `enum skep_identity`; `name` is the repository of SKEP_IDENTITY_NAMED, and NULL with the others.
///
/// Errors: SKEP_INVALID_INPUT for what is no such key, for an `at_least` of 0 or above the number of
/// different keys, or for a bad name.
#[unsafe(no_mangle)]
pub extern "C" fn skep_policy_require(
    policy: Option<&mut skep_policy>,
    prefix: Text<'_>,
    keys: Texts<'_>,
    at_least: usize,
    identity: c_int,
    name: Text<'_>,
) -> c_int {
    rule("skep_policy_require", policy, prefix, |call| {
        let keys = keys.strings(call, "keys")?.into_iter();
        let keys =
            keys.map(|pem| PublicKey::from_pem(pem.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let identity = signed_as(call, identity, name)?;
        Ok(Signed::by_at_least(at_least, keys)?.identity(identity).into())
    })
}

/// Frees it. NULL is fine. Options of pulls that have it keep what they need of it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_policy_free(policy: Option<Box<skep_policy>>) {
    panic::free(policy);
}

/// Sets what is said of one prefix.
fn rule(
    function: &'static str,
    policy: Option<&mut skep_policy>,
    prefix: Text<'_>,
    requirement: impl FnOnce(Call) -> Result<Requirement, skep_error>,
) -> c_int {
    set(function, policy.map(|policy| &mut policy.setting), |call, rules| {
        let prefix = prefix.optional(call, "prefix")?;
        let requirement = requirement(call)?;
        let Some(prefix) = prefix else {
            rules.default = Some(requirement);
            return Ok(());
        };
        // Whether it is one is for this call to say.
        Policy::default().prefix(prefix, Requirement::Reject)?;
        rules.prefixes.push((prefix.to_owned(), requirement));
        Ok(())
    })
}

fn signed_as(call: Call, identity: c_int, name: Text<'_>) -> Result<Identity, skep_error> {
    const SIGNED_TAG: c_int = skep_identity::SKEP_IDENTITY_SIGNED_TAG as c_int;
    const EXACT: c_int = skep_identity::SKEP_IDENTITY_EXACT as c_int;
    const REPOSITORY: c_int = skep_identity::SKEP_IDENTITY_REPOSITORY as c_int;
    const NAMED: c_int = skep_identity::SKEP_IDENTITY_NAMED as c_int;
    let found = match identity {
        NAMED => return Ok(Identity::Named(name.str(call, "name")?.parse()?)),
        SIGNED_TAG => Identity::SignedTag,
        EXACT => Identity::Exact,
        REPOSITORY => Identity::Repository,
        other => {
            let cause = format!("its argument identity is {other}, no skep_identity");
            return Err(call.refuse(cause));
        }
    };
    match name.is_null() {
        true => Ok(found),
        false => Err(call.refuse("its argument name is for SKEP_IDENTITY_NAMED only".into())),
    }
}
