//! The images of a store.

use std::path::PathBuf;

use pyo3::prelude::*;
use skep::image::ImageSummary;

use crate::engine::Engine;
use crate::error::raise;

/// The images of an engine's store: `engine.images`.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Images(Py<Engine>);

#[pymethods]
impl Images {
    /// Loads the only image of an archive or directory: what docker save, podman save and skopeo
    /// copy write.
    ///
    /// Raises NotFoundError, InvalidInputError if there are several images, InvalidDataError,
    /// DigestMismatchError, UnsupportedError for another machine's. The store is as before then.
    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<Image> {
        self.detached(py, |images| images.load(&path)).map(Image)
    }

    /// Loads all images of an archive or directory.
    fn load_all(&self, py: Python<'_>, path: PathBuf) -> PyResult<Vec<Image>> {
        let images = self.detached(py, |images| images.load_all(&path))?;
        Ok(images.into_iter().map(Image).collect())
    }

    /// Makes an image of a root file system's tar archive (perhaps compressed) and names it
    /// `reference`, if given.
    #[pyo3(signature = (tar, reference=None))]
    fn import_(&self, py: Python<'_>, tar: PathBuf, reference: Option<&str>) -> PyResult<Image> {
        self.detached(py, |images| images.import(&tar, reference)).map(Image)
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
        all.into_iter().map(|image| summary(py, image)).collect()
    }

    /// Names an image `reference`. Another image of that name loses it and stays.
    fn tag(&self, py: Python<'_>, name_or_id: &str, reference: &str) -> PyResult<()> {
        self.detached(py, |images| images.tag(name_or_id, reference))
    }

    /// Removes a name and, if it was the image's last, the image; an id removes it with all names.
    ///
    /// Raises InUseError while a container of it runs.
    fn remove(&self, py: Python<'_>, name_or_id: &str) -> PyResult<()> {
        self.detached(py, |images| images.remove(name_or_id))
    }
}

impl Images {
    pub(crate) fn new(engine: Py<Engine>) -> Images {
        Images(engine)
    }

    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&skep::Images) -> skep::Result<T> + Send,
    ) -> PyResult<T> {
        let engine = self.0.get().open()?;
        py.detach(|| work(engine.images())).map_err(raise)
    }
}

/// An image of a store, as it was when it was found.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Image(pub(crate) skep::Image);

#[pymethods]
impl Image {
    /// The digest of its config: "sha256:...".
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// The digest of its manifest.
    #[getter]
    fn digest(&self) -> String {
        self.0.digest().to_string()
    }

    /// The names it had when it was found.
    #[getter]
    fn references(&self) -> Vec<String> {
        self.0.references().iter().map(ToString::to_string).collect()
    }

    /// Bytes of its blobs in the store; blobs may be shared with other images.
    #[getter]
    fn size(&self) -> u64 {
        self.0.size()
    }

    /// All that is known of it: id, digest, references, size, config and manifest.
    fn inspect<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = self.0.inspect().to_string();
        py.import("json")?.getattr("loads")?.call1((json,))
    }

    fn __repr__(&self) -> String {
        match self.0.references().first() {
            Some(name) => format!("<skep.Image {name}>"),
            None => format!("<skep.Image {}>", self.0.id()),
        }
    }
}

/// `skep.ImageSummary`.
fn summary(py: Python<'_>, image: ImageSummary) -> PyResult<Bound<'_, PyAny>> {
    let references: Vec<_> = image.references.iter().map(ToString::to_string).collect();
    let arguments = (image.id.to_string(), references, image.size, image.created);
    py.import("skep._results")?.getattr("ImageSummary")?.call1(arguments)
}
