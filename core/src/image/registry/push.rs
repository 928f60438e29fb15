//! Pushes an image of the store to a registry.

use std::fs::File;

use super::api::target;
use super::client::{Action, Client};
use super::failure::Failure;
use super::parallel;
use super::settings::Registries;
use super::upload::Upload;
use crate::image::manifest::{Descriptor, OCI_MANIFEST};
use crate::image::{Digest, Image, Images, Reference};
use crate::{Error, Result};

const OPERATION: &str = "push";

/// How [`Images::push`] pushes.
#[derive(Debug, Clone)]
pub struct PushOptions {
    registries: Registries,
    parallel: usize,
    chunk: Option<u64>,
    mount_from: Vec<String>,
}

impl Default for PushOptions {
    fn default() -> Self {
        let registries = Registries::new();
        PushOptions { registries, parallel: 4, chunk: None, mount_from: Vec::new() }
    }
}

impl PushOptions {
    /// Four blobs at once, each in one piece.
    pub fn new() -> Self {
        PushOptions::default()
    }

    /// Reaches registries in this way.
    pub fn registries(mut self, registries: &Registries) -> Self {
        self.registries = registries.clone();
        self
    }

    /// Sends this many blobs at once, at least one; 4 unless told otherwise.
    pub fn parallel(mut self, blobs: usize) -> Self {
        self.parallel = blobs;
        self
    }

    /// Sends blobs in pieces of so many bytes, for registries and proxies that bound a request.
    pub fn chunk(mut self, bytes: u64) -> Self {
        // A session with one byte looks like one with none.
        self.chunk = Some(bytes.max(2));
        self
    }

    /// Looks for blobs in this repository of the same registry, for instance `library/debian`,
    /// before they are sent. Those that the image has a name in are looked in anyway.
    pub fn mount_from(mut self, repository: impl Into<String>) -> Self {
        self.mount_from.push(repository.into());
        self
    }
}

impl Images {
    /// Pushes `image` to the registry of `reference`, under that name, and returns the digest it
    /// has there: its manifest's, byte for byte. What the registry has is not sent.
    ///
    /// ```no_run
    /// use skep::image::registry::PushOptions;
    ///
    /// let engine = skep::Engine::open_default()?;
    /// let image = engine.images().load("app.tar")?;
    /// engine.images().push(&image, "registry.example/app:1", &PushOptions::new())?;
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// After an error the registry may have blobs more, and no other image under that name.
    ///
    /// # Errors
    /// `InvalidInput` for a bad reference or one with another digest; `NotFound` if the image was
    /// removed, or the registry does not know the name; `PermissionDenied` if it does not let one
    /// push there; `TimedOut`, `ResourceExhausted` and `Io` as for [`pull`](Self::pull).
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push>
    pub fn push(&self, image: &Image, reference: &str, options: &PushOptions) -> Result<Digest> {
        let parsed = Reference::parse(reference)?;
        if parsed.digest().is_some_and(|digest| digest != image.digest()) {
            return Err(Error::invalid_input(OPERATION, reference)
                .cause(format!("the image's digest is {}", image.digest()))
                .fix("name it by a tag"));
        }
        let _kept = image.lease()?;
        let failed = |failure: Failure| failure.error(OPERATION, reference);
        let mount_from = mounts(image, &parsed, &options.mount_from);
        let (domain, path) = (parsed.domain(), parsed.path());
        let client = Client::new(&options.registries, domain, path, Action::Push);
        let client = mount_from.iter().fold(client, |client, from| client.also_pull(from));
        let manifest = image.manifest();
        let blobs = distinct(manifest.layers.iter().chain([&manifest.config]));
        parallel::each(&blobs, options.parallel, OPERATION, |blob, stop| {
            let path = self.layout.blob_path(&blob.digest);
            let file = File::open(&path)
                .map_err(|error| Error::os("open", path.display().to_string(), error))?;
            let upload = Upload { blob, file, mount_from: &mount_from, chunk: options.chunk, stop };
            upload.run(&client).map_err(failed)
        })?;
        let descriptor = Descriptor::new("", *image.digest(), self.manifest_size(image)?);
        let bytes = self.layout.document(&descriptor)?;
        let media_type = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
        client.put_manifest(&target(&parsed), media_type, &bytes).map_err(failed)
    }

    fn manifest_size(&self, image: &Image) -> Result<u64> {
        let path = self.layout.blob_path(image.digest());
        let metadata = std::fs::metadata(&path);
        let metadata = metadata.map_err(|e| Error::os("read", path.display().to_string(), e))?;
        Ok(metadata.len())
    }
}

/// The repositories that may have the image's blobs: those given, then those it has names in.
fn mounts(image: &Image, to: &Reference, given: &[String]) -> Vec<String> {
    let named = image.references().iter().filter(|name| name.domain() == to.domain());
    let mut all: Vec<String> = Vec::new();
    for path in given.iter().map(String::as_str).chain(named.map(Reference::path)) {
        if path != to.path() && !all.iter().any(|known| known == path) {
            all.push(path.to_owned());
        }
    }
    all
}

/// Each blob once: an image may have the same layer twice.
fn distinct<'a>(blobs: impl Iterator<Item = &'a Descriptor>) -> Vec<&'a Descriptor> {
    let mut seen = std::collections::HashSet::new();
    blobs.filter(|blob| seen.insert(blob.digest)).collect()
}
