//! The images of a store.

use std::path::PathBuf;

use pyo3::prelude::*;
use skep::Result;
use skep::image::registry::{PullOptions, PushOptions};
use skep::image::{ArchiveFormat, Platform, Prune};

use crate::cancel::{Given, interruptible, reporting};
use crate::engine::Engine;
use crate::error::raise;
use crate::image::{Image, plain};
use crate::options::{Parallel, Size, expected, unknown};
use crate::policy::Policy;
use crate::registries::Reach;
use crate::results;

/// The images of an engine's store: `engine.images`.
///
/// What may take long can be ended: by what the handler of a signal raises in the main thread, as
/// Ctrl-C's does, and by a `Cancel`. Nothing is half done then.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Images(Py<Engine>);

#[pymethods]
impl Images {
    /// Loads the only image of an archive or directory: what docker save, podman save and skopeo
    /// copy write.
    ///
    /// max_size: the most bytes, or "16g", that its files may have, unpacked; without, 50 times what
    ///     its blobs have, or 16 GiB. It holds for what the image unpacks later, too.
    ///
    /// Raises NotFoundError, InvalidInputError if there are several images, InvalidDataError,
    /// DigestMismatchError, UnsupportedError for another machine's, ResourceExhaustedError above
    /// `max_size`. The store is as before then.
    #[pyo3(signature = (path, *, max_size=None, cancel=None))]
    fn load(
        &self,
        py: Python<'_>,
        path: PathBuf,
        max_size: Option<Size>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Image> {
        self.bounded(py, max_size, cancel, move |images| images.load(&path)).map(plain)
    }

    /// Loads all images of an archive or directory; `max_size` is of all together.
    #[pyo3(signature = (path, *, max_size=None, cancel=None))]
    fn load_all(
        &self,
        py: Python<'_>,
        path: PathBuf,
        max_size: Option<Size>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Vec<Image>> {
        let images = self.bounded(py, max_size, cancel, move |images| images.load_all(&path))?;
        Ok(images.into_iter().map(plain).collect())
    }

    /// Makes an image of a root file system's tar archive (perhaps compressed) and names it
    /// `reference`, if given; `max_size` as for `load`.
    #[pyo3(signature = (tar, reference=None, *, max_size=None, cancel=None))]
    fn import_(
        &self,
        py: Python<'_>,
        tar: PathBuf,
        reference: Option<String>,
        max_size: Option<Size>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Image> {
        let import = move |images: &skep::Images| images.import(&tar, reference.as_deref());
        self.bounded(py, max_size, cancel, import).map(plain)
    }

    /// Finds an image by a name or by its id, of which four digits are enough.
    ///
    /// Raises NotFoundError, or InvalidInputError for what is neither, or begins several ids.
    fn find(&self, py: Python<'_>, name_or_id: &str) -> PyResult<Image> {
        self.detached(py, |images| images.find(name_or_id)).map(Image)
    }

    /// All images, in the order in which they came.
    fn list<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let all = self.detached(py, skep::Images::list)?;
        all.into_iter().map(|image| results::summary(py, image)).collect()
    }

    /// Names an image `reference`. Another image of that name loses it and stays.
    #[pyo3(signature = (name_or_id, reference, *, cancel=None))]
    fn tag(
        &self,
        py: Python<'_>,
        name_or_id: String,
        reference: String,
        cancel: Given<'_, '_>,
    ) -> PyResult<()> {
        self.interruptible(py, cancel, move |images| images.tag(&name_or_id, &reference))
    }

    /// Removes a name and, if it was the image's last, the image; an id removes it with all names.
    ///
    /// Raises InUseError while a container of it runs.
    #[pyo3(signature = (name_or_id, *, cancel=None))]
    fn remove(&self, py: Python<'_>, name_or_id: String, cancel: Given<'_, '_>) -> PyResult<()> {
        self.interruptible(py, cancel, move |images| images.remove(&name_or_id))
    }

    /// Saves images by their names or ids into one archive, which docker, podman and skopeo read and
    /// which replaces a file at `path`.
    ///
    /// images: an `Image` or a name, or several; a name is saved alone, an id with all its names.
    /// format: "docker" or "oci", an OCI image layout that keeps all digests.
    #[pyo3(signature = (images, path, *, format="docker", cancel=None))]
    fn save(
        &self,
        py: Python<'_>,
        images: Names,
        path: PathBuf,
        format: &str,
        cancel: Given<'_, '_>,
    ) -> PyResult<()> {
        let format = match format {
            "docker" => ArchiveFormat::Docker,
            "oci" => ArchiveFormat::Oci,
            other => return Err(unknown("save images as", other, "give \"docker\" or \"oci\"")),
        };
        let Names(names) = images;
        self.interruptible(py, cancel, move |images| images.save(&names, &path, format))
    }

    /// Removes what nobody needs: `skep.Pruned` says what that was. What a container runs of stays.
    ///
    /// what: "files" that no image has, left by what was interrupted; "nameless" images and such
    ///     files, as docker's image prune; "unused" images and such files: all that nothing runs of.
    #[pyo3(signature = (what="files", *, cancel=None))]
    fn prune<'py>(
        &self,
        py: Python<'py>,
        what: &str,
        cancel: Given<'_, '_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = match what {
            "files" => Prune::Files,
            "nameless" => Prune::Nameless,
            "unused" => Prune::Unused,
            other => {
                return Err(unknown("prune", other, "give \"files\", \"nameless\" or \"unused\""));
            }
        };
        results::pruned(py, self.interruptible(py, cancel, move |images| images.prune(what))?)
    }

    /// What the images take of the disk: `skep.DiskUsage`. Every file of them is looked at.
    #[pyo3(signature = (*, cancel=None))]
    fn disk_usage<'py>(
        &self,
        py: Python<'py>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        results::disk_usage(py, self.interruptible(py, cancel, skep::Images::disk_usage)?)
    }

    /// Pulls an image from its registry, or a mirror of that, and names it `reference`. What the store
    /// has already is not fetched again, and what an interrupted pull has fetched is kept for the next.
    ///
    /// registries: `Registries`, or what they are made of: {"localhost:5000": Access(...)}.
    /// platform: another than this machine's: "linux/arm64".
    /// parallel: so many blobs are fetched at once; 4 without.
    /// unpack: False leaves that to the first start.
    /// policy: what is taken, a `Policy`; anything without.
    /// max_size: as for `load`.
    /// progress: called with a `PullProgress` when a layer begins, every 256 KiB, when it is here and
    ///     when it is unpacked; in this thread. What it raises ends the pull, and is raised.
    ///
    /// Raises NotFoundError, PermissionDeniedError without the right credentials, and, its `operation`
    /// being "accept", if the policy refuses the image; UnsupportedError if there is none for the
    /// platform, DigestMismatchError and InvalidDataError for what is not as it was announced,
    /// TimeoutError if the registry is silent, ResourceExhaustedError if it wants to be left alone, the
    /// disk is full or the image is above `max_size`, IoError if it is not reached.
    #[pyo3(signature = (
        reference, *, registries=None, platform=None, parallel=None, unpack=true, policy=None,
        max_size=None, progress=None, cancel=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn pull(
        &self,
        py: Python<'_>,
        reference: String,
        registries: Option<Reach>,
        platform: Option<&str>,
        parallel: Option<Parallel>,
        unpack: bool,
        policy: Option<&Bound<'_, Policy>>,
        max_size: Option<Size>,
        progress: Option<Callback<'_>>,
        cancel: Given<'_, '_>,
    ) -> PyResult<Image> {
        let mut options = PullOptions::new().unpack(unpack);
        if let Some(Reach(registries)) = registries {
            options = options.registries(&registries);
        }
        if let Some(platform) = platform {
            options = options.platform(platform.parse::<Platform>().map_err(raise)?);
        }
        if let Some(policy) = policy {
            options = options.policy(&policy.get().0);
        }
        if let Some(Parallel(parallel)) = parallel {
            options = options.parallel(parallel);
        }
        let Some(Callback(progress)) = progress else {
            let pull = move |images: &skep::Images| images.pull(&reference, &options);
            return self.bounded(py, max_size, cancel, pull).map(plain);
        };
        let images = bound(self.images()?, max_size);
        let report = |told| progress.call1((results::pull_progress(py, &told)?,)).map(drop);
        let pulled = reporting(py, cancel, report, move |reporter, cancel| {
            let options = options.progress(move |told| reporter.report(*told));
            images.cancellable(cancel).pull(&reference, &options)
        });
        pulled.map(plain)
    }

    /// Pushes an image to the registry of `reference`, under that name, and returns the digest it has
    /// there. What the registry has is not sent.
    ///
    /// image: an `Image`, or a name or id.
    /// registries: as for `pull`.
    /// parallel: so many blobs are sent at once; 4 without.
    /// chunk: sends blobs in pieces of so many bytes, or "16m"; each in one without.
    /// mount_from: other repositories of the registry that may have blobs of it: ["library/debian"].
    /// progress: called with a `PushProgress` for each step of a blob; as for `pull`.
    #[pyo3(signature = (
        image, reference, *, registries=None, parallel=None, chunk=None, mount_from=None,
        progress=None, cancel=None,
    ))]
    #[allow(clippy::too_many_arguments)]
    fn push(
        &self,
        py: Python<'_>,
        image: Name,
        reference: String,
        registries: Option<Reach>,
        parallel: Option<Parallel>,
        chunk: Option<Size>,
        mount_from: Option<Vec<String>>,
        progress: Option<Callback<'_>>,
        cancel: Given<'_, '_>,
    ) -> PyResult<String> {
        let mut options = PushOptions::new();
        if let Some(Reach(registries)) = registries {
            options = options.registries(&registries);
        }
        if let Some(Parallel(parallel)) = parallel {
            options = options.parallel(parallel);
        }
        if let Some(Size(chunk)) = chunk {
            options = options.chunk(chunk.get());
        }
        for repository in mount_from.unwrap_or_default() {
            options = options.mount_from(repository);
        }
        let images = self.images()?;
        let push = move |cancel: &skep::Cancel, options: &PushOptions| {
            let images = images.cancellable(cancel);
            let image = match image {
                Name::Image(image) => image.cancellable(cancel),
                Name::Text(name) => images.find(&name)?,
            };
            images.push(&image, &reference, options).map(|digest| digest.to_string())
        };
        let Some(Callback(progress)) = progress else {
            return interruptible(py, cancel, move |cancel| push(cancel, &options));
        };
        let report = |told| progress.call1((results::push_progress(py, &told)?,)).map(drop);
        reporting(py, cancel, report, move |reporter, cancel| {
            let options = options.progress(move |told| reporter.report(*told));
            push(cancel, &options)
        })
    }
}

impl Images {
    pub(crate) fn new(engine: Py<Engine>) -> Images {
        Images(engine)
    }

    fn images(&self) -> PyResult<skep::Images> {
        Ok(self.0.get().open()?.images().clone())
    }

    /// For what takes a millisecond.
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&skep::Images) -> Result<T> + Send,
    ) -> PyResult<T> {
        let engine = self.0.get().open()?;
        py.detach(|| work(engine.images())).map_err(raise)
    }

    fn interruptible<T: Send + 'static>(
        &self,
        py: Python<'_>,
        cancel: Given<'_, '_>,
        work: impl FnOnce(&skep::Images) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        self.bounded(py, None, cancel, work)
    }

    /// As `interruptible`, for what `max_size` bounds.
    fn bounded<T: Send + 'static>(
        &self,
        py: Python<'_>,
        max_size: Option<Size>,
        cancel: Given<'_, '_>,
        work: impl FnOnce(&skep::Images) -> Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let images = bound(self.images()?, max_size);
        interruptible(py, cancel, move |cancel| work(&images.cancellable(cancel)))
    }
}

fn bound(images: skep::Images, max_size: Option<Size>) -> skep::Images {
    match max_size {
        Some(Size(bytes)) => images.max_size(bytes.get()),
        None => images,
    }
}

/// An image, or its name or id.
enum Name {
    Image(skep::Image),
    Text(String),
}

impl<'py> FromPyObject<'_, 'py> for Name {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Name> {
        if let Ok(image) = object.cast::<Image>() {
            return Ok(Name::Image(image.get().0.clone()));
        }
        object.extract().map(Name::Text).map_err(|_| expected("a name or an Image", &object))
    }
}

/// The names or ids of one image or several.
struct Names(Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Names {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Names> {
        let names = match object.extract::<Name>() {
            Ok(name) => vec![name],
            Err(_) => object.extract().map_err(|_| expected("names or Images", &object))?,
        };
        let text = |name| match name {
            Name::Image(image) => image.id().to_string(),
            Name::Text(text) => text,
        };
        Ok(Names(names.into_iter().map(text).collect()))
    }
}

/// What can be called with a report of progress.
struct Callback<'py>(Bound<'py, PyAny>);

impl<'a, 'py> FromPyObject<'a, 'py> for Callback<'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Callback<'py>> {
        match object.is_callable() {
            true => Ok(Callback(object.to_owned())),
            false => Err(expected("something to call", &object)),
        }
    }
}
