//! Who must have signed what is pulled.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use skep::Result;
use skep::image::Reference;
use skep::image::signature::{self, Identity, PublicKey, Signed};

/// [`signature::Policy`] as an object.
#[napi(object, object_to_js = false)]
pub struct Policy {
    pub default: Requirement,
    pub prefixes: Vec<Prefix>,
}

/// What is taken from a registry or a part of one.
#[napi(object, object_to_js = false)]
pub struct Prefix {
    pub prefix: String,
    pub requirement: Requirement,
}

/// [`signature::Requirement`] as an object: signatures if it has keys, which are PEM.
#[napi(object, object_to_js = false)]
pub struct Requirement {
    pub accept: Option<bool>,
    pub keys: Option<Vec<Buffer>>,
    pub at_least: Option<u32>,
    pub identity: Option<String>,
    /// The repository that must have been signed.
    pub named: Option<String>,
}

impl Policy {
    pub(crate) fn build(self) -> Result<signature::Policy> {
        let policy = signature::Policy::new(self.default.build()?);
        self.prefixes.into_iter().try_fold(policy, |policy, Prefix { prefix, requirement }| {
            policy.prefix(&prefix, requirement.build()?)
        })
    }
}

impl Requirement {
    fn build(self) -> Result<signature::Requirement> {
        let Some(keys) = self.keys else {
            return Ok(match self.accept {
                Some(true) => signature::Requirement::Accept,
                _ => signature::Requirement::Reject,
            });
        };
        let keys: Vec<PublicKey> =
            keys.iter().map(|pem| PublicKey::from_pem(pem)).collect::<Result<_>>()?;
        let signed = Signed::by_at_least(self.at_least.unwrap_or(1) as usize, keys)?;
        let identity = match (self.named, self.identity.as_deref()) {
            (Some(name), _) => Identity::Named(Reference::parse(&name)?),
            (None, Some("exact")) => Identity::Exact,
            (None, Some("repository")) => Identity::Repository,
            _ => Identity::SignedTag,
        };
        Ok(signed.identity(identity).into())
    }
}
