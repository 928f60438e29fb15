//! One image of a store, and the lease that keeps it there.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::config::{History, ImageConfig};
use super::digest::Digest;
use super::layers::Unpacking;
use super::lock::Lock;
use super::manifest::{Descriptor, Manifest};
use super::reference::Reference;
use super::store::Images;
use crate::cancel::Cancel;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// An image of a store, as it was when it was found. Clones share it.
#[derive(Debug, Clone)]
pub struct Image {
    inner: Arc<Inner>,
    images: Images,
}

#[derive(Debug)]
struct Inner {
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
        let inner = Arc::new(Inner { digest, manifest, config, references, layers });
        Image { inner, images }
    }

    /// The image's id: the digest of its config.
    pub fn id(&self) -> &Digest {
        &self.inner.manifest.config.digest
    }

    /// The digest of its manifest, which a reference with a digest names.
    pub fn digest(&self) -> &Digest {
        &self.inner.digest
    }

    /// The names it had when it was found.
    pub fn references(&self) -> &[Reference] {
        &self.inner.references
    }

    /// What a container of it runs by default, and what its layers contain.
    pub fn config(&self) -> &ImageConfig {
        &self.inner.config
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// Bytes of its blobs in the store; blobs may be shared with other images.
    pub fn size(&self) -> u64 {
        self.inner.manifest.size()
    }

    /// How it came to be, bottom first: each line of its history with the layer that it made. Layers
    /// that its history does not tell of come first, with empty lines.
    pub fn history(&self) -> Vec<Step> {
        let config = self.config();
        let told = config.history.iter().filter(|line| !line.empty_layer).count();
        let mut layers = self.manifest().layers.iter();
        let untold = layers.len().saturating_sub(told);
        let step = |history: History, layer| Step { history, layer };
        let first = layers.by_ref().take(untold).cloned().map(Some);
        let mut steps: Vec<Step> = first.map(|layer| step(History::default(), layer)).collect();
        for line in &config.history {
            let layer = if line.empty_layer { None } else { layers.next().cloned() };
            steps.push(step(line.clone(), layer));
        }
        steps
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
        let layout = &self.images.layout;
        let removed = || {
            Error::new(ErrorKind::NotFound, "use image", self.name())
                .cause("it was removed in the meantime")
        };
        if !layout.has_blob(self.id()) {
            return Err(removed());
        }
        let lock = Lock::shared(&layout.lease_path(self.id()), &layout.cancel)?;
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
        self.unpack_all(None, &|_| {})
    }

    /// Whether its layers are there, so that [`layers`](Self::layers) and a start do not wait for them.
    pub fn is_unpacked(&self) -> bool {
        self.inner.layers.get().is_some() || self.images.is_unpacked(self)
    }

    /// As [`layers`](Self::layers), from what was `begun` on; `unpacked` is told the number of each
    /// layer that is done.
    pub(super) fn unpack_all(
        &self,
        begun: Option<Unpacking<'_>>,
        unpacked: &dyn Fn(usize),
    ) -> Result<Vec<PathBuf>> {
        if let Some(layers) = self.inner.layers.get() {
            (0..layers.len()).for_each(unpacked);
            return Ok(layers.clone());
        }
        let unpack = || self.images.unpack(self, begun, unpacked);
        let layers = self
            .run("unpack", || sigpipe::without_file_size_signal(unpack))
            .map_err(|error| error.fix_data("remove the image and load it again"))?;
        Ok(self.inner.layers.get_or_init(|| layers).clone())
    }

    /// The same image, whose operations `cancel` ends, and no other: see [`Images::cancellable`].
    pub fn cancellable(&self, cancel: &Cancel) -> Image {
        Image { inner: Arc::clone(&self.inner), images: self.images.cancellable(cancel) }
    }

    /// What ends its operations.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.images.layout.cancel
    }

    /// Does `work`, an operation on this image.
    pub(super) fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.cancel().run(operation, &self.name(), work)
    }

    /// The images of its store.
    pub(super) fn images(&self) -> &Images {
        &self.images
    }

    /// Its first name, or its id.
    pub(super) fn name(&self) -> String {
        match self.inner.references.first() {
            Some(reference) => reference.to_string(),
            None => self.id().to_string(),
        }
    }
}

/// One step of how an image came to be; see [`Image::history`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done, when and by whom.
    pub history: History,
    /// The layer that it made, if it made one.
    pub layer: Option<Descriptor>,
}

/// Keeps an image in its store while it exists; see [`Image::lease`].
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}
