//! Registries, and how they are reached.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyMapping};
use skep::image::registry;

use crate::cancel::{Given, interruptible};
use crate::error::raise;
use crate::options::{Attempts, Seconds, expected};
use crate::results;

/// What a registry is shown to let one in. Never displayed.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Credentials(registry::Credentials);

#[pymethods]
impl Credentials {
    /// A user's name and password, or an access token in its place; ("user", "password") is the same.
    #[staticmethod]
    fn password(user: String, password: String) -> Credentials {
        Credentials(registry::Credentials::password(user, password))
    }

    /// A refresh token, docker's identitytoken, with which the registry's token server is asked.
    #[staticmethod]
    fn identity_token(token: String) -> Credentials {
        Credentials(registry::Credentials::identity_token(token))
    }

    /// A bearer token that the registry itself takes, docker's registrytoken.
    #[staticmethod]
    fn registry_token(token: String) -> Credentials {
        Credentials(registry::Credentials::registry_token(token))
    }

    fn __repr__(&self) -> &str {
        "<skep.Credentials>"
    }
}

/// The argument `credentials`.
struct Shown(registry::Credentials);

impl<'py> FromPyObject<'_, 'py> for Shown {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Shown> {
        if let Ok(credentials) = object.cast::<Credentials>() {
            return Ok(Shown(credentials.get().0.clone()));
        }
        let pair: PyResult<(String, String)> = object.extract();
        // Not what it is: that may be a password.
        let (user, password) =
            pair.map_err(|_| expected("(user, password) or Credentials", &object))?;
        Ok(Shown(registry::Credentials::password(user, password)))
    }
}

/// PEM as bytes, or the path of a file that has it.
pub(crate) struct Pem(pub(crate) Vec<u8>);

impl<'py> FromPyObject<'_, 'py> for Pem {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Pem> {
        if object.is_instance_of::<PyBytes>() {
            return Ok(Pem(object.extract::<PyBackedBytes>()?.to_vec()));
        }
        // By Python, whose exceptions name the file.
        let path = object.py().import("pathlib")?.getattr("Path")?.call1((object,))?;
        Ok(Pem(path.call_method0("read_bytes")?.extract::<PyBackedBytes>()?.to_vec()))
    }
}

/// How one registry, or one mirror, is reached.
///
/// Without arguments: by https, with the platform's certificates, anonymously first, and then with
/// the credentials that docker's or podman's files have.
///
/// plain_http: by http, where anyone on the way may read and change what no digest names.
/// mirrors: "HOST[:PORT][/PREFIX]", asked first, in this order, and by pulls only.
/// credentials: ("user", "password") or `Credentials`, shown when the registry asks for some.
/// ca: the authorities that are trusted in place of the platform's, in PEM: bytes, or a file's path.
/// client_certificate: (certificates, key), each bytes or a path, shown if the registry asks for one.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Access(registry::Access);

#[pymethods]
impl Access {
    #[new]
    #[pyo3(signature = (
        *, plain_http=false, mirrors=None, credentials=None, ca=None, client_certificate=None,
    ))]
    fn new(
        plain_http: bool,
        mirrors: Option<Vec<String>>,
        credentials: Option<Shown>,
        ca: Option<Pem>,
        client_certificate: Option<(Pem, Pem)>,
    ) -> PyResult<Access> {
        let mut access = registry::Access::new();
        if plain_http {
            access = access.plain_http();
        }
        if let Some(Shown(credentials)) = credentials {
            access = access.credentials(credentials);
        }
        if let Some(Pem(ca)) = ca {
            access = access.certificate_authority(&ca).map_err(raise)?;
        }
        if let Some((Pem(certificates), Pem(key))) = client_certificate {
            access = access.client_certificate(&certificates, &key).map_err(raise)?;
        }
        Ok(Access(mirrors.unwrap_or_default().into_iter().fold(access, registry::Access::mirror)))
    }

    fn __repr__(&self) -> String {
        format!("<skep.{:?}>", self.0)
    }
}

/// The registries as this program reaches them. To keep one for many calls saves connections and
/// tokens.
///
/// access: a mapping of names as references have them ("docker.io", "localhost:5000") to `Access`.
/// credential_files: docker's config.json or podman's auth.json, in place of the usual ones; with
///     none, only credentials given here are used.
/// timeout: seconds for which a registry may be silent; 60 without.
/// attempts: how often a request is made if the registry is overloaded, fails or is lost; 5 without.
/// pause: seconds after the first of them, which double; 0.25 without.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Registries(registry::Registries);

#[pymethods]
impl Registries {
    #[new]
    #[pyo3(signature = (access=None, *, credential_files=None, timeout=None, attempts=None, pause=None))]
    fn new(
        access: Option<&Bound<'_, PyMapping>>,
        credential_files: Option<Vec<PathBuf>>,
        timeout: Option<Seconds>,
        attempts: Option<Attempts>,
        pause: Option<Seconds>,
    ) -> PyResult<Registries> {
        let mut registries = registry::Registries::new();
        if let Some(access) = access {
            registries = with_access(registries, access)?;
        }
        if let Some(files) = credential_files {
            registries = registries.credential_files(files);
        }
        if let Some(Seconds(timeout)) = timeout {
            registries = registries.timeout(timeout);
        }
        if attempts.is_some() || pause.is_some() {
            let attempts = attempts.map_or(5, |Attempts(attempts)| attempts);
            let pause = pause.map_or(Duration::from_millis(250), |Seconds(pause)| pause);
            registries = registries.attempts(attempts, pause);
        }
        Ok(Registries(registries))
    }

    /// Asks whether `registry` is one and lets this program in.
    ///
    /// Raises NotFoundError if it is something else, PermissionDeniedError if it wants other
    /// credentials, TimeoutError if it is silent, IoError if it is not reached.
    #[pyo3(signature = (registry, *, cancel=None))]
    fn ping(&self, py: Python<'_>, registry: String, cancel: Given<'_, '_>) -> PyResult<()> {
        self.interruptible(py, cancel, move |registries| registries.ping(&registry))
    }

    /// What `reference` names at its registry now: the `Descriptor` of a manifest or an index.
    #[pyo3(signature = (reference, *, cancel=None))]
    fn resolve<'py>(
        &self,
        py: Python<'py>,
        reference: String,
        cancel: Given<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let resolve = move |registries: &registry::Registries| registries.resolve(&reference);
        results::descriptor(py, &self.interruptible(py, cancel, resolve)?)
    }

    /// The tags of a repository, for instance "localhost:5000/app", in the registry's order.
    #[pyo3(signature = (repository, *, cancel=None))]
    fn tags(
        &self,
        py: Python<'_>,
        repository: String,
        cancel: Given<'_, '_>,
    ) -> PyResult<Vec<String>> {
        self.interruptible(py, cancel, move |registries| registries.tags(&repository))
    }

    /// What refers to the image or artifact that `reference` names, signatures for instance: a list of
    /// `Descriptor`s. Only those of `artifact_type`, if it is given.
    #[pyo3(signature = (reference, artifact_type=None, *, cancel=None))]
    fn referrers<'py>(
        &self,
        py: Python<'py>,
        reference: String,
        artifact_type: Option<String>,
        cancel: Given<'_, 'py>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let found = self.interruptible(py, cancel, move |registries| {
            registries.referrers(&reference, artifact_type.as_deref())
        })?;
        found.iter().map(|found| results::descriptor(py, found)).collect()
    }
}

impl Registries {
    fn interruptible<T: Send + 'static>(
        &self,
        py: Python<'_>,
        cancel: Given<'_, '_>,
        work: impl FnOnce(&registry::Registries) -> skep::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let registries = self.0.clone();
        interruptible(py, cancel, move |cancel| work(&registries.cancellable(cancel)))
    }
}

fn with_access(
    mut registries: registry::Registries,
    given: &Bound<'_, PyMapping>,
) -> PyResult<registry::Registries> {
    for (name, access) in given.items()?.extract::<Vec<(String, Bound<'_, PyAny>)>>()? {
        let access = access.cast::<Access>().map_err(|_| expected("an Access", &access))?;
        registries = registries.access(name, access.get().0.clone());
    }
    Ok(registries)
}

/// The argument `registries`: `Registries`, or what they are made of.
pub(crate) struct Reach(pub(crate) registry::Registries);

impl<'py> FromPyObject<'_, 'py> for Reach {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Reach> {
        if let Ok(registries) = object.cast::<Registries>() {
            return Ok(Reach(registries.get().0.clone()));
        }
        let mapping = object.cast::<PyMapping>();
        let mapping =
            mapping.map_err(|_| expected("Registries or a mapping of Access", &object))?;
        with_access(registry::Registries::new(), &mapping).map(Reach)
    }
}
