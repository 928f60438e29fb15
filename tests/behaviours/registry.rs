//! Steps that ask a registry.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use skep::image::registry::{Access, Credentials, Progress, PullOptions, PushOptions, Registries};
use skep::image::signature::{Identity, Policy, PublicKey, Requirement, Signed};
use skep::image::{Digest, Image, Images, Reference};

use super::cases::{self, Pull, Push, Registry, Verb};
use super::expect::{Outcome, ensure, same};
use super::steps::Failed;

/// Whether there is one; says so if not. Where no test may be skipped, there must be.
pub fn is_there() -> bool {
    let there = std::env::var_os("SKEP_TEST_REGISTRY").is_some();
    if !there {
        assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "SKEP_TEST_REGISTRY is not set");
        eprintln!("skipped: registry/, for SKEP_TEST_REGISTRY is not set; see tests/registry/run");
    }
    there
}

/// Carries out one of them; `digest_of` is what a digest is compared with.
pub fn perform(images: &Images, verb: Verb, digest_of: Option<String>) -> Result<Outcome, Failed> {
    match verb {
        Verb::ImagePull(given) => pull(images, given),
        Verb::ImagePush(given) => push(images, given),
        Verb::RegistryPing(given) => {
            Ok(registries(given.registries)?.ping(&given.registry).map(|()| Outcome::Nothing)?)
        }
        Verb::RegistryResolve(given) => {
            let found = registries(given.registries)?.resolve(&given.reference)?;
            let Some(name) = digest_of else { return Ok(Outcome::Nothing) };
            let expected = images.find(&name)?.digest().to_string();
            Ok(Outcome::Digest(found.digest.to_string(), expected))
        }
        Verb::RegistryTags(given) => {
            let mut tags = registries(given.registries)?.tags(&given.repository)?;
            tags.sort();
            Ok(Outcome::Tags(tags))
        }
        Verb::RegistryReferrers(given) => {
            let found = registries(given.registries)?.referrers(&given.reference, None)?;
            Ok(Outcome::Referrers(found.len()))
        }
        other => Err(format!("{other:?} asks no registry").into()),
    }
}

fn registries(given: Vec<Registry>) -> Result<Registries, Failed> {
    let mut registries = Registries::new();
    for one in given {
        let mut access = Access::new();
        if one.plain_http {
            access = access.plain_http();
        }
        if let (Some(user), Some(password)) = (one.user, one.password) {
            access = access.credentials(Credentials::password(user, password));
        }
        if let Some(path) = one.ca {
            access = access.certificate_authority(&std::fs::read(path)?)?;
        }
        access = one.mirrors.into_iter().fold(access, Access::mirror);
        registries = registries.access(one.registry, access);
    }
    Ok(registries)
}

fn pull(images: &Images, given: Pull) -> Result<Outcome, Failed> {
    let last: Arc<Mutex<HashMap<Digest, Progress>>> = Arc::default();
    let mut options = PullOptions::new().registries(&registries(given.registries)?);
    if let Some(platform) = given.platform {
        options = options.platform(platform.parse()?);
    }
    if let Some(parallel) = given.parallel {
        options = options.parallel(parallel);
    }
    if let Some(unpack) = given.unpack {
        options = options.unpack(unpack);
    }
    if given.progress {
        let last = Arc::clone(&last);
        options = options.progress(move |progress| {
            last.lock().unwrap().insert(progress.layer, *progress);
        });
    }
    if let Some(given) = given.policy {
        options = options.policy(&policy(given)?);
    }
    let bounded = given.max_size.map(|bytes| images.max_size(bytes));
    let image = bounded.as_ref().unwrap_or(images).pull(&given.reference, &options)?;
    if given.progress {
        told_of_all(&image, &last.lock().unwrap(), given.unpack != Some(false))?;
    }
    Ok(Outcome::Image(image))
}

fn policy(given: cases::Policy) -> skep::Result<Policy> {
    let default = Policy::new(requirement(given.default)?);
    given
        .prefixes
        .into_iter()
        .try_fold(default, |policy, one| policy.prefix(&one.prefix, requirement(one.require)?))
}

fn requirement(given: cases::Requirement) -> skep::Result<Requirement> {
    let given = match given {
        cases::Requirement::Accept => return Ok(Requirement::Accept),
        cases::Requirement::Reject => return Ok(Requirement::Reject),
        cases::Requirement::Signed(given) => given,
    };
    let keys = given.keys.iter().map(|pem| PublicKey::from_pem(pem.as_bytes()));
    let keys = keys.collect::<skep::Result<Vec<PublicKey>>>()?;
    let signed = Signed::by_at_least(given.at_least.unwrap_or(1), keys)?;
    let Some(identity) = given.identity else { return Ok(signed.into()) };
    let identity = match identity {
        cases::Identity::SignedTag => Identity::SignedTag,
        cases::Identity::Exact => Identity::Exact,
        cases::Identity::Repository => Identity::Repository,
        cases::Identity::Named(name) => Identity::Named(Reference::parse(&name)?),
    };
    Ok(signed.identity(identity).into())
}

/// Fails unless the `last` reports say that all layers are here.
fn told_of_all(
    image: &Image,
    last: &HashMap<Digest, Progress>,
    unpacked: bool,
) -> Result<(), String> {
    for layer in &image.manifest().layers {
        let report = last.get(&layer.digest).ok_or_else(|| format!("nothing of {layer:?}"))?;
        same("fetched", &(report.fetched, report.total), &(layer.size, layer.size))?;
        same("unpacked", &report.unpacked, &unpacked)?;
    }
    ensure(last.len() <= image.manifest().layers.len(), || format!("of others, too: {last:?}"))
}

fn push(images: &Images, given: Push) -> Result<Outcome, Failed> {
    let image = images.find(&given.image)?;
    let mut options = PushOptions::new().registries(&registries(given.registries)?);
    if let Some(parallel) = given.parallel {
        options = options.parallel(parallel);
    }
    if let Some(chunk) = given.chunk {
        options = options.chunk(chunk);
    }
    for repository in given.mount_from {
        options = options.mount_from(repository);
    }
    let digest = images.push(&image, &given.name, &options)?;
    same("digest", &digest, image.digest())?;
    Ok(Outcome::Nothing)
}
