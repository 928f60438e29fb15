//! The images of an engine's store.

use napi::bindgen_prelude::{ClassInstance, Function, Object, ToNapiValue};
use napi::{Either, Env, Result};
use napi_derive::napi;
use skep::image::registry::{PullOptions, PushOptions};
use skep::image::{ArchiveFormat, Prune};

use crate::cancel::Cancel;
use crate::commit::Commit;
use crate::error::Failure;
use crate::pool;
use crate::progress::{PullReport, PushReport, Reports};
use crate::promise::{offload, offload_long};
use crate::registry::Registries;
use crate::results::{Change, DiskUsage, Pruned, Step, Summary};
use crate::root::Root;
use crate::signature::Policy;

/// [`skep::Images`].
#[napi]
pub struct Images(pub(crate) skep::Images);

/// [`PullOptions`] as an object.
#[napi(object, object_to_js = false)]
pub struct Pull {
    pub platform: Option<String>,
    pub parallel: Option<u32>,
    pub unpack: Option<bool>,
    pub policy: Option<Policy>,
}

/// [`PushOptions`] as an object.
#[napi(object, object_to_js = false)]
pub struct Push {
    pub parallel: Option<u32>,
    pub chunk: Option<String>,
    pub mount_from: Option<Vec<String>>,
}

#[napi]
impl Images {
    /// The same images, for what becomes of at most so many bytes.
    #[napi]
    pub fn bounded(&self, env: &Env, max_size: String) -> Result<Images> {
        let size: skep::Bytes =
            max_size.parse().map_err(|error| Failure::from(error).throw(env))?;
        Ok(Images(self.0.max_size(size.get())))
    }

    #[napi]
    pub fn load<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        path: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |images| images.load(path).map(Image::from))
    }

    #[napi]
    pub fn load_all<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        path: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |images| {
            Ok(images.load_all(path)?.into_iter().map(Image::from).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn import<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        tar: String,
        reference: Option<String>,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |images| {
            images.import(tar, reference.as_deref()).map(Image::from)
        })
    }

    #[napi]
    #[allow(clippy::too_many_arguments)]
    pub fn pull<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        reference: String,
        registries: &Registries,
        pull: Pull,
        reports: Option<ClassInstance<'_, Reports>>,
        wake: Option<Function<'_, (), ()>>,
    ) -> Result<Object<'env>> {
        let mut options = PullOptions::new().registries(&registries.0);
        if let (Some(reports), Some(wake)) = (reports, wake) {
            options = options.progress(reports.sender(&wake, PullReport::new)?);
        }
        self.long(env, cancel, move |images| {
            images.pull(&reference, &pull.configure(options)?).map(Image::from)
        })
    }

    /// Pushes an image, or what has its name or id.
    #[napi]
    #[allow(clippy::too_many_arguments)]
    pub fn push<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        image: Either<String, ClassInstance<'_, Image>>,
        reference: String,
        registries: &Registries,
        push: Push,
        reports: Option<ClassInstance<'_, Reports>>,
        wake: Option<Function<'_, (), ()>>,
    ) -> Result<Object<'env>> {
        let mut options = PushOptions::new().registries(&registries.0);
        if let (Some(reports), Some(wake)) = (reports, wake) {
            options = options.progress(reports.sender(&wake, PushReport::new)?);
        }
        let image = match image {
            Either::A(name) => Either::A(name),
            Either::B(image) => Either::B(image.0.cancellable(&cancel.0)),
        };
        self.long(env, cancel, move |images| {
            let image = match image {
                Either::A(name) => images.find(&name)?,
                Either::B(image) => image,
            };
            let digest = images.push(&image, &reference, &push.configure(options)?)?;
            Ok(digest.to_string())
        })
    }

    #[napi]
    pub fn save<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        names: Vec<String>,
        path: String,
        oci: bool,
    ) -> Result<Object<'env>> {
        let format = if oci { ArchiveFormat::Oci } else { ArchiveFormat::Docker };
        self.long(env, cancel, move |images| images.save(&names, path, format))
    }

    #[napi]
    pub fn remove<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        name: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |images| images.remove(&name))
    }

    #[napi]
    pub fn prune<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        what: String,
    ) -> Result<Object<'env>> {
        let what = match &*what {
            "unused" => Prune::Unused,
            "nameless" => Prune::Nameless,
            _ => Prune::Files,
        };
        self.long(env, cancel, move |images| images.prune(what).map(Pruned::from))
    }

    #[napi]
    pub fn disk_usage<'env>(&self, env: &'env Env, cancel: &Cancel) -> Result<Object<'env>> {
        self.long(env, cancel, |images| images.disk_usage().map(DiskUsage::from))
    }

    #[napi]
    pub fn find<'env>(&self, env: &'env Env, name: String) -> Result<Object<'env>> {
        self.short(env, move |images| images.find(&name).map(Image))
    }

    #[napi]
    pub fn list<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        self.short(env, |images| {
            Ok(images.list()?.into_iter().map(Summary::from).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn tag<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        name: String,
        reference: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |images| images.tag(&name, &reference))
    }

    /// For what `cancel` may end.
    fn long<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        work: impl FnOnce(&skep::Images) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let images = self.0.cancellable(&cancel.0);
        offload_long(env, &cancel.0, move || work(&images).map_err(Failure::from))
    }

    fn short<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        work: impl FnOnce(&skep::Images) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let images = self.0.clone();
        offload(env, &pool::SHORT, move || work(&images).map_err(Failure::from))
    }
}

impl Pull {
    fn configure(self, mut options: PullOptions) -> skep::Result<PullOptions> {
        if let Some(platform) = self.platform {
            options = options.platform(platform.parse()?);
        }
        if let Some(blobs) = self.parallel {
            options = options.parallel(blobs as usize);
        }
        if let Some(unpack) = self.unpack {
            options = options.unpack(unpack);
        }
        if let Some(policy) = self.policy {
            options = options.policy(&policy.build()?);
        }
        Ok(options)
    }
}

impl Push {
    fn configure(self, mut options: PushOptions) -> skep::Result<PushOptions> {
        if let Some(blobs) = self.parallel {
            options = options.parallel(blobs as usize);
        }
        if let Some(size) = self.chunk {
            options = options.chunk(size.parse::<skep::Bytes>()?.get());
        }
        let repositories = self.mount_from.unwrap_or_default();
        Ok(repositories.into_iter().fold(options, PushOptions::mount_from))
    }
}

/// [`skep::Image`].
#[napi]
pub struct Image(skep::Image);

impl From<skep::Image> for Image {
    /// What ended, or may yet end, the operation that found it ends none of its own.
    fn from(image: skep::Image) -> Image {
        Image(image.cancellable(&skep::Cancel::new()))
    }
}

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

    #[napi]
    pub fn history(&self) -> Vec<Step> {
        self.0.history().into_iter().map(Step::from).collect()
    }

    #[napi]
    pub fn layers<'env>(&self, env: &'env Env, cancel: &Cancel) -> Result<Object<'env>> {
        self.long(env, cancel, |image| {
            let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
            Ok(image.layers()?.into_iter().map(path).collect::<Vec<_>>())
        })
    }

    #[napi]
    pub fn export<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        path: String,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |image| image.export(path))
    }

    #[napi]
    pub fn diff<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        base: &Image,
    ) -> Result<Object<'env>> {
        let base = base.0.cancellable(&cancel.0);
        self.long(env, cancel, move |image| image.diff(&base).map(changes))
    }

    #[napi]
    pub fn squash<'env>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        commit: Commit,
    ) -> Result<Object<'env>> {
        self.long(env, cancel, move |image| image.squash(&commit.build()?).map(Image::from))
    }

    fn long<'env, T: ToNapiValue + Send + 'static>(
        &self,
        env: &'env Env,
        cancel: &Cancel,
        work: impl FnOnce(&skep::Image) -> skep::Result<T> + Send + 'static,
    ) -> Result<Object<'env>> {
        let image = self.0.cancellable(&cancel.0);
        offload_long(env, &cancel.0, move || work(&image).map_err(Failure::from))
    }
}

pub(crate) fn changes(changes: Vec<skep::image::Change>) -> Vec<Change> {
    changes.into_iter().map(Change::from).collect()
}
