//! One image of a store, and the lease that keeps it there.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::config::ImageConfig;
use super::digest::Digest;
use super::lock::Lock;
use super::manifest::Manifest;
use super::reference::Reference;
use super::store::Images;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// An image of a store, as it was when it was found. Clones share it.
#[derive(Debug, Clone)]
pub struct Image(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    images: Images,
    digest: Digest,
    manifest: Manifest,
    config: ImageConfig,
    references: Vec<Reference>,
    layers: OnceLock<Vec<PathBuf>>,
}

impl Image {
    pub(super) fn new(
        images: Images,
        digest: Digest,
        manifest: Manifest,
        config: ImageConfig,
        references: Vec<Reference>,
    ) -> Self {
        let layers = OnceLock::new();
        Image(Arc::new(Inner { images, digest, manifest, config, references, layers }))
    }

    /// The image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        &self.0.manifest.config.digest
    }

    /// The digest of its manifest, which a reference with a digest names.
    pub fn digest(&self) -> &Digest {
        &self.0.digest
    }

    /// The names it had when it was found.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// What a container of it runs by default, and what its layers contain.
    pub fn config(&self) -> &ImageConfig {
        &self.0.config
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Bytes of its blobs in the store; blobs may be shared with other images.
    pub fn size(&self) -> u64 {
        self.0.manifest.size()
    }

    /// All of it as one JSON object: `id`, `digest`, `references`, `size`, and as the image has them
    /// `config` and `manifest`.
    pub fn inspect(&self) -> serde_json::Value {
        let references: Vec<String> = self.references().iter().map(Reference::to_string).collect();
        serde_json::json!({
            "id": self.id(),
            "digest": self.digest(),
            "references": references,
            "size": self.size(),
            "config": self.config(),
            "manifest": self.manifest(),
        })
    }

    /// Keeps the image from being removed, by any process, until the lease is dropped.
    ///
    /// # Errors
    /// `NotFound` if it was removed since it was found.
    pub fn lease(&self) -> Result<Lease> {
        let layout = &self.0.images.layout;
        let removed = || {
            Error::new(ErrorKind::NotFound, "use image", self.name())
                .cause("it was removed in the meantime")
        };
        if !layout.has_blob(self.id()) {
            return Err(removed());
        }
        let lock = Lock::shared(&layout.lease_path(self.id()))?;
        // A removal may have been under way until now.
        if !layout.has_blob(self.id()) {
            return Err(removed());
        }
        Ok(Lease { _lock: lock })
    }

    /// The directories of its unpacked layers, bottom first; what is missing is unpacked.
    ///
    /// Their size is bounded by the disk only. After the first success on this handle and its clones
    /// there is no system call. Hold a [`lease`](Self::lease), or another process may remove the
    /// layers.
    ///
    /// A start calls this itself; to call it ahead keeps the first start short.
    ///
    /// # Errors
    /// `DigestMismatch` if a layer is not what the config says, `InvalidData` if it is malformed or
    /// hostile, `PermissionDenied` without the rights to set owners and make devices,
    /// `ResourceExhausted` if the disk is full, `NotFound` if the image was removed. Nothing of
    /// the image is visible then that was not before.
    pub fn layers(&self) -> Result<Vec<PathBuf>> {
        if let Some(layers) = self.0.layers.get() {
            return Ok(layers.clone());
        }
        let unpacked = sigpipe::without_file_size_signal(|| self.0.images.unpack(self));
        let layers =
            unpacked.map_err(|error| error.fix_data("remove the image and load it again"))?;
        Ok(self.0.layers.get_or_init(|| layers).clone())
    }

    /// Its first name, or its id.
    pub(super) fn name(&self) -> String {
        match self.0.references.first() {
            Some(reference) => reference.to_string(),
            None => self.id().to_string(),
        }
    }
}

/// Keeps an image in its store while it exists; see [`Image::lease`].
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}
