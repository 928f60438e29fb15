//! Registries: how they are reached, and what they answer without a store.

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::mem::{MaybeUninit, take};
use std::path::PathBuf;

use skep::Cancel;
use skep::image::registry::{Access, Credentials, Registries};

use crate::argument::{Text, Texts, bytes};
use crate::error::skep_error;
use crate::list::{skep_descriptor, skep_descriptor_list, skep_text_list};
use crate::panic::{self, Call, call};
use crate::setting::{Setting, build, set};

/// The registries as your program reaches them: with which credentials, certificates and mirrors.
///
/// By default they are asked by https, with the platform's certificates, anonymously first, and then
/// with the credentials that docker's or podman's files have for them. Proxies are those of the
/// environment (HTTPS_PROXY, NO_PROXY).
///
/// It keeps connections and tokens: use one for many calls. Any number of threads may ask at once;
/// options are set by one thread at a time, before. Their functions return a code and may be called
/// without looking at it: the first that failed fails every later use, with its error. `registry` is
/// the name of one, or of a mirror, as references write it: "docker.io", "localhost:5000".
#[derive(Debug, Default)]
pub struct skep_registries {
    setting: Setting<Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    registries: Registries,
    /// What was said of each so far.
    access: BTreeMap<String, Access>,
}

impl skep_registries {
    pub(crate) fn get(&self) -> Result<&Registries, skep_error> {
        Ok(&self.setting.get()?.registries)
    }

    pub(crate) fn cancellable(&self, cancel: &Cancel) -> Result<skep_registries, skep_error> {
        let Known { registries, access } = self.setting.get()?;
        let registries = registries.cancellable(cancel);
        let known = Known { registries, access: access.clone() };
        Ok(skep_registries { setting: Setting::new(known) })
    }
}

/// Makes the defaults.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_new(
    registries: Option<&mut MaybeUninit<Box<skep_registries>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_new", error, |call| {
        call.given(registries, "registries")?.write(Box::default());
        Ok(())
    })
}

/// Speaks plain http with `registry`: anyone on the way may read and change what is not named by a
/// digest.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_allow_plain_http(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
) -> c_int {
    access("skep_registries_allow_plain_http", registries, registry, |_, access| {
        Ok(access.plain_http())
    })
}

/// Pulls from this mirror of `registry` first, then from those added later, then from the registry
/// itself. `mirror` is `HOST[:PORT][/PREFIX]`; how it is reached is set under `HOST[:PORT]`.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_add_mirror(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    mirror: Text<'_>,
) -> c_int {
    access("skep_registries_add_mirror", registries, registry, |call, access| {
        Ok(access.mirror(mirror.str(call, "mirror")?))
    })
}

/// Shows a user's name and password, or an access token in its place, when `registry` asks for
/// credentials. This and the next two replace each other.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_password(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    user: Text<'_>,
    password: Text<'_>,
) -> c_int {
    access("skep_registries_set_password", registries, registry, |call, access| {
        let user = user.str(call, "user")?;
        Ok(access.credentials(Credentials::password(user, password.str(call, "password")?)))
    })
}

/// Asks the token server of `registry` with this refresh token, docker's `identitytoken`.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_identity_token(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    token: Text<'_>,
) -> c_int {
    access("skep_registries_set_identity_token", registries, registry, |call, access| {
        Ok(access.credentials(Credentials::identity_token(token.str(call, "token")?)))
    })
}

/// Shows `registry` this bearer token, docker's `registrytoken`.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_registry_token(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    token: Text<'_>,
) -> c_int {
    access("skep_registries_set_registry_token", registries, registry, |call, access| {
        Ok(access.credentials(Credentials::registry_token(token.str(call, "token")?)))
    })
}

/// Trusts the authorities in `length` bytes of PEM for `registry`, and not the platform's.
///
/// Errors: SKEP_INVALID_INPUT if there is no certificate in it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skep_registries_set_certificate_authority(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    pem: *const c_void,
    length: usize,
) -> c_int {
    access("skep_registries_set_certificate_authority", registries, registry, |call, access| {
        // SAFETY: there are as many bytes there (the caller's promise); they are parsed here.
        let pem = unsafe { bytes(call, pem.cast::<c_char>(), length) }?;
        Ok(access.certificate_authority(pem)?)
    })
}

/// Shows `registry` the first certificate in `certificates`, with the others, which vouch for it, when
/// it asks for one. `key` has its key; both are PEM.
///
/// Errors: SKEP_INVALID_INPUT if there is no certificate or key, or they do not belong together.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skep_registries_set_client_certificate(
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    certificates: *const c_void,
    certificates_length: usize,
    key: *const c_void,
    key_length: usize,
) -> c_int {
    access("skep_registries_set_client_certificate", registries, registry, |call, access| {
        // SAFETY: there are as many bytes there (the caller's promise); they are parsed here.
        let certificates =
            unsafe { bytes(call, certificates.cast::<c_char>(), certificates_length) }?;
        // SAFETY: as above.
        let key = unsafe { bytes(call, key.cast::<c_char>(), key_length) }?;
        Ok(access.client_certificate(certificates, key)?)
    })
}

/// Looks for credentials in the files of this list, which ends in NULL, and in no others: docker's
/// config.json or podman's auth.json. With an empty one, only those that were set here are used.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_credential_files(
    registries: Option<&mut skep_registries>,
    paths: Texts<'_>,
) -> c_int {
    change("skep_registries_set_credential_files", registries, |call, registries| {
        let paths = paths.paths(call, "paths")?.into_iter().map(PathBuf::from);
        Ok(registries.credential_files(paths))
    })
}

/// How often one request is made, at least once, when a registry is overloaded, fails or is lost on
/// the way: 5 times by default; and the pause after the first time, 250 ms by default, which doubles.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_attempts(
    registries: Option<&mut skep_registries>,
    attempts: u32,
    first_pause_ms: i64,
) -> c_int {
    change("skep_registries_set_attempts", registries, |call, registries| {
        let pause = call.milliseconds(first_pause_ms, "first_pause_ms")?;
        Ok(registries.attempts(attempts, pause))
    })
}

/// How long a registry may be silent: to connect, to answer, between two pieces of a body. 60 seconds
/// by default. To resolve a name takes as long as the system takes.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_set_timeout_ms(
    registries: Option<&mut skep_registries>,
    timeout_ms: i64,
) -> c_int {
    change("skep_registries_set_timeout_ms", registries, |call, registries| {
        Ok(registries.timeout(call.milliseconds(timeout_ms, "timeout_ms")?))
    })
}

/// Asks whether `registry` is one and lets your program in.
///
/// Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a bad name;
/// SKEP_NOT_FOUND if it is something else; SKEP_PERMISSION_DENIED if it wants other credentials;
/// SKEP_TIMED_OUT if it is silent; SKEP_IO if it is not reached; SKEP_CANCELLED.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_ping(
    registries: Option<&skep_registries>,
    registry: Text<'_>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_ping", error, |call| {
        let registries = call.given(registries, "registries")?.get()?;
        Ok(registries.ping(registry.str(call, "registry")?)?)
    })
}

/// What `reference` names at its registry now: a manifest or an index.
///
/// Errors: as skep_registries_ping(), and as skep_engine_pull_image() for what comes.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_resolve(
    registries: Option<&skep_registries>,
    reference: Text<'_>,
    descriptor: Option<&mut MaybeUninit<Box<skep_descriptor>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_resolve", error, |call| {
        let registries = call.given(registries, "registries")?.get()?;
        let reference = reference.str(call, "reference")?;
        let slot = call.given(descriptor, "descriptor")?;
        slot.write(Box::new(registries.resolve(reference)?.into()));
        Ok(())
    })
}

/// The tags of `repository`, such as "localhost:5000/app", in the registry's order.
///
/// Errors: as skep_registries_ping(); SKEP_NOT_FOUND if there is no such repository;
/// SKEP_INVALID_DATA for a malformed answer.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_tags(
    registries: Option<&skep_registries>,
    repository: Text<'_>,
    tags: Option<&mut MaybeUninit<Box<skep_text_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_tags", error, |call| {
        let registries = call.given(registries, "registries")?.get()?;
        let repository = repository.str(call, "repository")?;
        let slot = call.given(tags, "tags")?;
        slot.write(Box::new(registries.tags(repository)?.into()));
        Ok(())
    })
}

/// What refers to the image or artifact that `reference` names, such as signatures: those of
/// `artifact_type` only, if that is not NULL.
///
/// Errors: as skep_registries_tags().
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_referrers(
    registries: Option<&skep_registries>,
    reference: Text<'_>,
    artifact_type: Text<'_>,
    referrers: Option<&mut MaybeUninit<Box<skep_descriptor_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_referrers", error, |call| {
        let registries = call.given(registries, "registries")?.get()?;
        let reference = reference.str(call, "reference")?;
        let artifact_type = artifact_type.optional(call, "artifact_type")?;
        let slot = call.given(referrers, "referrers")?;
        slot.write(Box::new(registries.referrers(reference, artifact_type)?.into()));
        Ok(())
    })
}

/// Frees it. NULL is fine. Options of pulls and pushes that have it keep what they need of it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_free(registries: Option<Box<skep_registries>>) {
    panic::free(registries);
}

/// Sets what concerns all registries.
fn change(
    name: &'static str,
    registries: Option<&mut skep_registries>,
    change: impl FnOnce(Call, Registries) -> Result<Registries, skep_error>,
) -> c_int {
    build(name, registries.map(|registries| &mut registries.setting), |call, known: Known| {
        Ok(Known { registries: change(call, known.registries)?, ..known })
    })
}

/// Sets how one is reached.
fn access(
    name: &'static str,
    registries: Option<&mut skep_registries>,
    registry: Text<'_>,
    change: impl FnOnce(Call, Access) -> Result<Access, skep_error>,
) -> c_int {
    set(name, registries.map(|registries| &mut registries.setting), |call, known| {
        // Core does not tell them apart by case either.
        let registry = registry.str(call, "registry")?.to_ascii_lowercase();
        let access = change(call, known.access.remove(&registry).unwrap_or_default())?;
        known.registries = take(&mut known.registries).access(&registry, access.clone());
        known.access.insert(registry, access);
        Ok(())
    })
}
