//! What a container's file system is made of: `skep.Root` and `skep.Mount`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::options::Size;

/// A root file system that is no image.
///
/// What a container writes goes to a directory of its own and is gone with it; the source is never
/// changed.
#[pyclass(frozen, module = "skep")]
pub(crate) struct Root(pub(crate) skep::Root);

#[pymethods]
impl Root {
    /// The host's own root, without the file systems mounted below it: programs and libraries are
    /// there, and no image is needed.
    #[staticmethod]
    fn host() -> Root {
        Root(skep::Root::host())
    }

    /// A directory of the host that holds a root file system.
    #[staticmethod]
    fn directory(path: PathBuf) -> Root {
        Root(skep::Root::directory(path))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            skep::Root::Directory(path) => format!("Root.directory({path:?})"),
            root => format!("{root:?}"),
        }
    }
}

/// A mount into a container.
#[pyclass(frozen, eq, module = "skep")]
#[derive(PartialEq)]
pub(crate) struct Mount(pub(crate) skep::Mount);

#[pymethods]
impl Mount {
    /// The host's file or directory `source` at `destination`, with the mounts below it.
    ///
    /// Writable unless `read_only`. A source that does not exist is an error when the container
    /// starts.
    #[staticmethod]
    #[pyo3(signature = (source, destination, *, read_only=false))]
    fn bind(source: PathBuf, destination: PathBuf, read_only: bool) -> Mount {
        let mount = skep::Mount::bind(source, destination);
        Mount(if read_only { mount.read_only() } else { mount })
    }

    /// An empty file system in memory at `destination`.
    ///
    /// `size`: bytes, or text such as "64m"; half of the machine's memory without. What is in it
    /// counts as the container's memory.
    #[staticmethod]
    #[pyo3(signature = (destination, *, size=None, read_only=false))]
    fn tmpfs(destination: PathBuf, size: Option<Size>, read_only: bool) -> Mount {
        let mut mount = skep::Mount::tmpfs(destination);
        if let Some(Size(bytes)) = size {
            mount = mount.size(bytes.get());
        }
        Mount(if read_only { mount.read_only() } else { mount })
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}
