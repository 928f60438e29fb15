//! Registries, and how they are reached.

use std::time::Duration;

use napi::bindgen_prelude::{Buffer, Object, ToNapiValue};
use napi::{Env, Result};
use napi_derive::napi;
use skep::image::registry::{self, Credentials};

use crate::cancel::Cancel;
use crate::command::milliseconds;
use crate::error::Failure;
use crate::promise::offload_long;
use crate::results::Descriptor;

/// [`registry::Registries`].
#[napi]
pub struct Registries(pub(crate) registry::Registries);

/// What is said of all registries, as `lib/registry.js` hands it over.
#[napi(object, object_to_js = false)]
pub struct Settings {
    pub access: Vec<Access>,
    pub credential_files: Option<Vec<String>>,
    pub timeout_ms: Option<f64>,
    pub attempts: Option<u32>,
    pub pause_ms: Option<f64>,
}

/// [`registry::Access`] as an object. Certificates and keys are PEM.
#[napi(object, object_to_js = false)]
pub struct Access {
    pub registry: String,
    pub plain_http: Option<bool>,
    pub mirrors: Option<Vec<String>>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub identity_token: Option<String>,
    pub registry_token: Option<String>,
    pub ca: Option<Buffer>,
    pub cert: Option<Buffer>,
    pub key: Option<Buffer>,
}

#[napi]
impl Registries {
    #[napi(constructor)]
    pub fn new(env: &Env, settings: Settings) -> Result<Registries> {
        settings.build().map(Registries).map_err(|error| Failure::from(error).throw(env))
    }

    #[napi]
    pub fn ping<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        registry: String,
    ) -> Result<Object<'env>> {
        self.offload(env, cancel, move |registries| registries.ping(&registry))
    }

    #[napi]
    pub fn resolve<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        reference: String,
    ) -> Result<Object<'env>> {
        self.offload(env, cancel, move |registries| {
            registries.resolve(&reference).map(Descriptor::from)
        })
    }

    #[napi]
    pub fn tags<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        repository: String,
    ) -> Result<Object<'env>> {
        self.offload(env, cancel, move |registries| registries.tags(&repository))
    }

    #[napi]
    pub fn referrers<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        reference: String,
        artifact_type: Option<String>,
    ) -> Result<Object<'env>> {
        self.offload(env, cancel, move |registries| {
            let found = registries.referrers(&reference, artifact_type.as_deref())?;
            Ok(found.into_iter().map(Descriptor::from).collect::<Vec<_>>())
        })
    }

    fn offload<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        work: impl FnOnce(&registry::Registries) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let registries = self.0.cancellable(&cancel.0);
        offload_long(env, &cancel.0, move || work(&registries).map_err(Failure::from))
    }
}

impl Settings {
    fn build(self) -> skep::Result<registry::Registries> {
        let mut registries = registry::Registries::new();
        for access in self.access {
            registries = registries.access(access.registry.clone(), access.build()?);
        }
        if let Some(files) = self.credential_files {
            registries = registries.credential_files(files.into_iter().map(Into::into));
        }
        if let Some(ms) = self.timeout_ms {
            registries = registries.timeout(milliseconds(ms)?);
        }
        if self.attempts.is_some() || self.pause_ms.is_some() {
            let pause = self.pause_ms.map(milliseconds).transpose()?;
            registries = registries
                .attempts(self.attempts.unwrap_or(5), pause.unwrap_or(Duration::from_millis(250)));
        }
        Ok(registries)
    }
}

impl Access {
    fn build(self) -> skep::Result<registry::Access> {
        let mirrors = self.mirrors.unwrap_or_default();
        let mut access =
            mirrors.into_iter().fold(registry::Access::new(), registry::Access::mirror);
        if self.plain_http == Some(true) {
            access = access.plain_http();
        }
        if let (Some(user), Some(password)) = (self.user, self.password) {
            access = access.credentials(Credentials::password(user, password));
        }
        if let Some(token) = self.identity_token {
            access = access.credentials(Credentials::identity_token(token));
        }
        if let Some(token) = self.registry_token {
            access = access.credentials(Credentials::registry_token(token));
        }
        if let Some(ca) = self.ca {
            access = access.certificate_authority(&ca)?;
        }
        if let (Some(cert), Some(key)) = (self.cert, self.key) {
            access = access.client_certificate(&cert, &key)?;
        }
        Ok(access)
    }
}
