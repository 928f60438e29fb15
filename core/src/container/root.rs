//! What a container's root file system is made of.

use std::path::PathBuf;

use crate::image::Image;

/// The root file system a container starts from. What it writes goes to a directory of its own,
/// and is gone with it; the source is never changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Root {
    /// An image of the store.
    Image(Image),
    /// A directory of the host.
    Directory(PathBuf),
}

impl Root {
    /// The host's own root, without the file systems mounted below it: programs and libraries are
    /// there, and no image is needed.
    pub fn host() -> Root {
        Root::Directory("/".into())
    }

    /// A directory of the host that holds a root file system.
    pub fn directory(path: impl Into<PathBuf>) -> Root {
        Root::Directory(path.into())
    }
}

impl From<Image> for Root {
    fn from(image: Image) -> Root {
        Root::Image(image)
    }
}

impl From<&Image> for Root {
    fn from(image: &Image) -> Root {
        Root::Image(image.clone())
    }
}

impl From<&Root> for Root {
    fn from(root: &Root) -> Root {
        root.clone()
    }
}
