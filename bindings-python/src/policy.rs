//! What is taken from which registry, by whose signatures.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use skep::image::Reference;
use skep::image::signature::{self, Identity, PublicKey, Requirement};

use crate::error::raise;
use crate::options::{AtLeast, expected, unknown};
use crate::registries::Pem;

/// A requirement of a `Policy`: signatures by given keys, as cosign, skopeo and podman make them.
///
/// keys: public keys in PEM, each bytes or a file's path: ECDSA of P-256 or P-384, RSA, Ed25519.
/// at_least: by so many different ones of them; 1 without.
/// identity: the name that must have been signed. "signed_tag", without: the repository that is
///     pulled from, with the tag, if the signature names one. "exact": with the tag in any case.
///     "repository": with any tag. {"named": "registry.example/app"}: that repository, whatever is
///     pulled from.
///
/// Raises InvalidInputError for what is no such key, and for more signatures than there are keys.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Signed(signature::Signed);

#[pymethods]
impl Signed {
    #[new]
    #[pyo3(signature = (keys, *, at_least=None, identity=None))]
    fn new(keys: Vec<Pem>, at_least: Option<AtLeast>, identity: Option<By>) -> PyResult<Signed> {
        let keys: Result<Vec<_>, _> =
            keys.iter().map(|Pem(pem)| PublicKey::from_pem(pem)).collect();
        let least = at_least.map_or(1, |AtLeast(least)| least);
        let identity = identity.map_or(Identity::SignedTag, |By(identity)| identity);
        let signed = keys.and_then(|keys| signature::Signed::by_at_least(least, keys));
        Ok(Signed(signed.map_err(raise)?.identity(identity)))
    }

    fn __repr__(&self) -> &str {
        "<skep.Signed>"
    }
}

/// The argument `identity`.
struct By(Identity);

impl<'py> FromPyObject<'_, 'py> for By {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<By> {
        if let Ok(named) = object.cast::<PyDict>() {
            let name = named.get_item("named")?.filter(|_| named.len() == 1);
            let name = name.ok_or_else(|| expected("{\"named\": reference} alone", &object))?;
            let name = Reference::parse(&name.extract::<String>()?).map_err(raise)?;
            return Ok(By(Identity::Named(name)));
        }
        let word: String = object.extract().map_err(|_| expected("an identity", &object))?;
        match &*word {
            "signed_tag" => Ok(By(Identity::SignedTag)),
            "exact" => Ok(By(Identity::Exact)),
            "repository" => Ok(By(Identity::Repository)),
            other => {
                let fix =
                    "give \"signed_tag\", \"exact\", \"repository\" or {\"named\": reference}";
                Err(unknown("compare signed names by", other, fix))
            }
        }
    }
}

/// What images must be signed by, by where they come from.
///
/// default: for what has no prefix of its own: "accept" takes anything, "reject" nothing, and a
///     `Signed` what is signed so.
/// prefixes: the same for registries and parts of them: {"docker.io/library": "accept"}. The longest
///     that fits counts, alone.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Policy(pub(crate) signature::Policy);

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (default, prefixes=None))]
    fn new(default: Required, prefixes: Option<&Bound<'_, PyMapping>>) -> PyResult<Policy> {
        let mut policy = signature::Policy::new(default.0);
        if let Some(prefixes) = prefixes {
            for (prefix, requirement) in prefixes.items()?.extract::<Vec<(String, Required)>>()? {
                policy = policy.prefix(&prefix, requirement.0).map_err(raise)?;
            }
        }
        Ok(Policy(policy))
    }

    fn __repr__(&self) -> &str {
        "<skep.Policy>"
    }
}

/// What a policy requires.
struct Required(Requirement);

impl<'py> FromPyObject<'_, 'py> for Required {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Required> {
        if let Ok(signed) = object.cast::<Signed>() {
            return Ok(Required(signed.get().0.clone().into()));
        }
        let wanted = "\"accept\", \"reject\" or Signed";
        let word: String = object.extract().map_err(|_| expected(wanted, &object))?;
        match &*word {
            "accept" => Ok(Required(Requirement::Accept)),
            "reject" => Ok(Required(Requirement::Reject)),
            other => Err(unknown("require", other, "give \"accept\", \"reject\" or Signed")),
        }
    }
}
