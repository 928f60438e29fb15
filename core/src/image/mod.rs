//! (under construction)
use std::path::PathBuf;
/// Stub.
#[derive(Debug, Clone)]
pub struct Image;
/// Stub.
#[derive(Debug)]
pub struct Lease;
/// Stub.
#[derive(Debug, Clone)]
pub struct Images;
#[allow(missing_docs)]
impl Images {
    pub fn open(_: &std::path::Path) -> crate::Result<Images> {
        Ok(Images)
    }
}
#[allow(missing_docs)]
impl Image {
    pub fn layers(&self) -> crate::Result<Vec<PathBuf>> {
        unimplemented!()
    }
    pub fn lease(&self) -> crate::Result<Lease> {
        unimplemented!()
    }
}
