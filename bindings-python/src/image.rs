//! An image, and the images made of it.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use skep::Error;
use skep::image::Commit;

use crate::cancel::{Given, interruptible};
use crate::error::raise;
use crate::options::{Size, Time};
use crate::results;

/// An image of a store, as it was when it was found.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Image(pub(crate) skep::Image);

/// An image that what has ended its operation ends no more.
pub(crate) fn plain(image: skep::Image) -> Image {
    Image(image.cancellable(&skep::Cancel::new()))
}

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

    /// How it came to be, bottom first: a list of `HistoryStep`s.
    fn history<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.0.history().iter().map(|step| results::step(py, step)).collect()
    }

    /// The directories of its unpacked layers, bottom first; what is missing is unpacked, as the first
    /// start of a container would. Another program may remove them with the image.
    #[pyo3(signature = (*, cancel=None))]
    fn layers(&self, py: Python<'_>, cancel: Given<'_, '_>) -> PyResult<Vec<PathBuf>> {
        self.interruptible(py, cancel, |image| image.layers())
    }

    /// Writes all its files as one tar archive, which replaces a file at `path`: `Images.import_`
    /// makes an image of it again, without the config.
    #[pyo3(signature = (path, *, cancel=None))]
    fn export(&self, py: Python<'_>, path: PathBuf, cancel: Given<'_, '_>) -> PyResult<()> {
        self.interruptible(py, cancel, move |image| image.export(path))
    }

    /// What is other in its files than in those of `base`, by path: a list of `Change`s. Of a
    /// directory that was deleted only itself is among it, of one that was added everything in it.
    #[pyo3(signature = (base, *, cancel=None))]
    fn diff<'py>(
        &self,
        py: Python<'py>,
        base: &Bound<'py, Image>,
        cancel: Given<'_, 'py>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let base = base.get().0.clone();
        results::changes(py, self.interruptible(py, cancel, move |image| image.diff(&base))?)
    }

    /// Makes an image of it and of `upper`, which overlayfs wrote on top of its layers. `Child.commit`
    /// has the options, and does it for containers.
    #[pyo3(signature = (upper, reference=None, *, cancel=None, **options))]
    fn commit<'py>(
        &self,
        py: Python<'py>,
        upper: PathBuf,
        reference: Option<String>,
        cancel: Given<'_, 'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Image> {
        let commit = commit_of(reference, options)?;
        self.interruptible(py, cancel, move |image| image.commit(upper, &commit)).map(plain)
    }

    /// Makes an image of one layer that has all of its files. `Child.commit` has the options.
    #[pyo3(signature = (reference=None, *, cancel=None, **options))]
    fn squash<'py>(
        &self,
        py: Python<'py>,
        reference: Option<String>,
        cancel: Given<'_, 'py>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Image> {
        let commit = commit_of(reference, options)?;
        self.interruptible(py, cancel, move |image| image.squash(&commit)).map(plain)
    }

    fn __repr__(&self) -> String {
        match self.0.references().first() {
            Some(name) => format!("<skep.Image {name}>"),
            None => format!("<skep.Image {}>", self.0.id()),
        }
    }
}

impl Image {
    fn interruptible<T: Send + 'static>(
        &self,
        py: Python<'_>,
        cancel: Given<'_, '_>,
        work: impl FnOnce(&skep::Image) -> skep::Result<T> + Send + 'static,
    ) -> PyResult<T> {
        let image = self.0.clone();
        interruptible(py, cancel, move |cancel| work(&image.cancellable(cancel)))
    }
}

/// A commit with the options of `skep.CommitOptions`.
pub(crate) fn commit_of(
    reference: Option<String>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Commit> {
    let mut commit = Commit::new();
    if let Some(reference) = reference {
        commit = commit.reference(reference);
    }
    for (name, value) in options.into_iter().flatten() {
        let name: String = name.extract()?;
        let known = ["author", "comment", "created_by", "time", "max_size", "config"];
        commit = match &*name {
            other if !known.contains(&other) => {
                let message = format!("a commit has no option {other:?}");
                return Err(PyTypeError::new_err(message));
            }
            _ if value.is_none() => commit,
            "author" => commit.author(value.extract::<String>()?),
            "comment" => commit.comment(value.extract::<String>()?),
            "created_by" => commit.created_by(value.extract::<String>()?),
            "time" => commit.time(value.extract::<Time>()?.0),
            "max_size" => commit.max_size(value.extract::<Size>()?.0.get()),
            _ => commit.config(config_of(&value)?),
        };
    }
    Ok(commit)
}

/// What a container runs, as `inspect()["config"]["config"]` has it.
fn config_of(given: &Bound<'_, PyAny>) -> PyResult<skep::image::RunConfig> {
    let json = given.py().import("json")?.getattr("dumps")?.call1((given,))?;
    serde_json::from_str(&json.extract::<String>()?).map_err(|error| {
        let invalid = Error::invalid_input("commit", "with this config").cause(error.to_string());
        raise(invalid.fix("write it as inspect()[\"config\"][\"config\"] is"))
    })
}
