//! The images of an engine's store.

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Result};
use napi_derive::napi;

use crate::error::Failure;
use crate::promise::offload;
use crate::root::Root;

/// [`skep::Images`].
#[napi]
pub struct Images(pub(crate) skep::Images);

#[napi]
impl Images {
    #[napi]
    pub fn load<'env>(&self, env: &'env Env, path: String) -> Result<Object<'env>> {
        self.offload(env, move |images| images.load(path).map(Image))
    }

    #[napi]
    pub fn load_all<'env>(&self, env: &'env Env, path: String) -> Result<Object<'env>> {
        self.offload(env, move |images| {
            Ok(images.load_all(path)?.into_iter().map(Image).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn import<'env>(
        &self,
        env: &'env Env,
        tar: String,
        reference: Option<String>,
    ) -> Result<Object<'env>> {
        self.offload(env, move |images| images.import(tar, reference.as_deref()).map(Image))
    }

    #[napi]
    pub fn find<'env>(&self, env: &'env Env, name: String) -> Result<Object<'env>> {
        self.offload(env, move |images| images.find(&name).map(Image))
    }

    #[napi]
    pub fn list<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        self.offload(env, |images| {
            Ok(images.list()?.into_iter().map(Summary::from).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn tag<'env>(
        &self,
        env: &'env Env,
        name: String,
        reference: String,
    ) -> Result<Object<'env>> {
        self.offload(env, move |images| images.tag(&name, &reference))
    }

    #[napi]
    pub fn remove<'env>(&self, env: &'env Env, name: String) -> Result<Object<'env>> {
        self.offload(env, move |images| images.remove(&name))
    }

    fn offload<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        work: impl FnOnce(&skep::Images) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let images = self.0.clone();
        offload(env, move || work(&images).map_err(Failure::from))
    }
}

/// [`skep::Image`].
#[napi]
pub struct Image(skep::Image);

#[napi]
impl Image {
    /// All of it as JSON.
    #[napi]
    pub fn inspect(&self) -> String {
        self.0.inspect().to_string()
    }

    /// A root made of it.
    #[napi]
    pub fn root(&self) -> Root {
        Root(self.0.clone().into())
    }
}

/// [`skep::image::ImageSummary`] as an object.
#[napi(object, object_from_js = false, use_nullable = true)]
pub(crate) struct Summary {
    pub id: String,
    pub references: Vec<String>,
    pub size: f64,
    pub created: Option<String>,
}

impl From<skep::image::ImageSummary> for Summary {
    fn from(summary: skep::image::ImageSummary) -> Summary {
        Summary {
            id: summary.id.to_string(),
            references: summary.references.iter().map(ToString::to_string).collect(),
            size: summary.size as f64,
            created: summary.created,
        }
    }
}
