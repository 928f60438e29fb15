//! What a container's root file system is made of.

use napi_derive::napi;

/// [`skep::Root`].
#[napi]
pub struct Root(pub(crate) skep::Root);

#[napi]
impl Root {
    /// The host's own.
    #[napi(factory)]
    pub fn host() -> Root {
        Root(skep::Root::host())
    }

    /// A directory of the host.
    #[napi(factory)]
    pub fn directory(path: String) -> Root {
        Root(skep::Root::directory(path))
    }
}
