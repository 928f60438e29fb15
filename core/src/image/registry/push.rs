//! Pushes an image of the store to a registry.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

use super::api::target;
use super::client::{Action, Client};
use super::failure::Failure;
use super::options::one_at_a_time;
use super::parallel;
use super::settings::{Registries, is_repository};
use super::upload::Upload;
use crate::image::manifest::{Descriptor, OCI_MANIFEST};
use crate::image::{Digest, Image, Images, Reference};
use crate::{Error, Result};

const OPERATION: &str = "push";

/// Bytes of a blob between two reports.
const STEP: u64 = 256 << 10;

/// How far one blob of a push is: a layer, or the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PushProgress {
    /// The blob's digest.
    pub blob: Digest,
    /// The blob's bytes.
    pub total: u64,
    /// Those of them that were sent: in this attempt, for after a break it begins again.
    pub sent: u64,
    /// How the registry came to have it; `None` while it has not all of it.
    pub done: Option<Pushed>,
}

/// How a registry came to have a blob; see [`PushProgress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pushed {
    /// It was sent.
    Sent,
    /// The repository had it.
    Existed,
    /// Another repository of the registry had it.
    Mounted,
}

type Callback = Arc<dyn Fn(&PushProgress) + Send + Sync>;

/// How [`Images::push`] pushes.
///
/// ```
/// use skep::image::registry::PushOptions;
///
/// let options = PushOptions::new()
///     .chunk(16 << 20)
///     .progress(|progress| eprintln!("{} {}/{}", progress.blob, progress.sent, progress.total));
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct PushOptions {
    registries: Registries,
    parallel: usize,
    chunk: Option<u64>,
    mount_from: Vec<String>,
    progress: Option<Callback>,
}

impl Default for PushOptions {
    fn default() -> Self {
        let registries = Registries::new();
        PushOptions { registries, parallel: 4, chunk: None, mount_from: Vec::new(), progress: None }
    }
}

impl fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PushOptions { registries, parallel, chunk, mount_from, progress } = self;
        f.debug_struct("PushOptions")
            .field("registries", registries)
            .field("parallel", parallel)
            .field("chunk", chunk)
            .field("mount_from", mount_from)
            .field("progress", &progress.is_some())
            .finish()
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

    /// Sends blobs in pieces of so many bytes, at least 2, for registries and proxies that bound a
    /// request.
    pub fn chunk(mut self, bytes: u64) -> Self {
        self.chunk = Some(bytes);
        self
    }

    /// Looks for blobs in this repository of the same registry, for instance `library/debian`,
    /// before they are sent. Those that the image has a name in are looked in anyway. What is no
    /// repository's name makes the push fail with `InvalidInput`.
    pub fn mount_from(mut self, repository: impl Into<String>) -> Self {
        self.mount_from.push(repository.into());
        self
    }

    /// Calls `report` at each step of each blob: when it begins, every 256 KiB that are sent, and when
    /// the registry has it. The manifest comes last and is not among them. Several threads call it, one
    /// at a time, and wait until it returns.
    pub fn progress(mut self, report: impl Fn(&PushProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(one_at_a_time(report));
        self
    }

    /// Reports of `blob`, not each of them.
    fn reporter(&self, blob: &Descriptor) -> impl Fn(u64, Option<Pushed>) {
        let last = Cell::new(None);
        move |sent, done| {
            let enough = |last| sent < last || sent >= last + STEP;
            if let Some(report) = &self.progress
                && (done.is_some() || last.get().is_none_or(enough))
            {
                last.set(Some(sent));
                report(&PushProgress { blob: blob.digest, total: blob.size, sent, done });
            }
        }
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
    /// `InvalidInput` for a bad reference or one with another digest, or for pieces of less than 2
    /// bytes; `NotFound` if the image was removed, or the registry does not know the name;
    /// `PermissionDenied` if it does not let one push there; `TimedOut`, `ResourceExhausted`, `Io` and
    /// `Cancelled` as for [`pull`](Self::pull).
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push>
    pub fn push(&self, image: &Image, reference: &str, options: &PushOptions) -> Result<Digest> {
        let parsed = Reference::parse(reference)?;
        if parsed.digest().is_some_and(|digest| digest != image.digest()) {
            return Err(Error::invalid_input(OPERATION, reference)
                .cause(format!("the image's digest is {}", image.digest()))
                .fix("name it by a tag"));
        }
        // A session with one byte looks like one with none.
        if let Some(bytes) = options.chunk.filter(|bytes| *bytes < 2) {
            return Err(Error::invalid_input(OPERATION, reference)
                .cause(format!("pieces of {bytes} bytes were asked for"))
                .fix("give at least 2, better some mebibytes"));
        }
        if let Some(wrong) = options.mount_from.iter().find(|from| !is_repository(from)) {
            return Err(Error::invalid_input(OPERATION, reference)
                .cause(format!("{wrong:?}, to mount from, is no repository's name"))
                .fix("write it without the registry"));
        }
        self.layout.cancel.run(OPERATION, reference, || {
            let _kept = image.lease()?;
            self.push_as(image, reference, &parsed, options)
        })
    }

    fn push_as(
        &self,
        image: &Image,
        reference: &str,
        parsed: &Reference,
        options: &PushOptions,
    ) -> Result<Digest> {
        let cancel = &self.layout.cancel;
        let failed = |failure: Failure| failure.error(OPERATION, reference);
        let mount_from = mounts(image, parsed, &options.mount_from);
        let (domain, path) = (parsed.domain(), parsed.path());
        let client = Client::new(&options.registries.of_store(cancel), domain, path, Action::Push);
        let client = mount_from.iter().fold(client, |client, from| client.also_pull(from));
        let manifest = image.manifest();
        let blobs = distinct(manifest.layers.iter().chain([&manifest.config]));
        parallel::each(&blobs, options.parallel, OPERATION, cancel, |blob, stop| {
            let path = self.layout.blob_path(&blob.digest);
            let file = File::open(&path)
                .map_err(|error| Error::os("open", path.display().to_string(), error))?;
            let report = options.reporter(blob);
            let (mount_from, chunk) = (&*mount_from, options.chunk);
            let upload =
                Upload { blob, file, mount_from, chunk, stop, report: &|sent| report(sent, None) };
            let pushed = upload.run(&client).map_err(failed)?;
            let sent = if pushed == Pushed::Sent { blob.size } else { 0 };
            report(sent, Some(pushed));
            Ok(())
        })?;
        let descriptor = Descriptor::new("", *image.digest(), self.manifest_size(image)?);
        let bytes = self.layout.document(&descriptor)?;
        let media_type = manifest.media_type.as_deref().unwrap_or(OCI_MANIFEST);
        client.put_manifest(&target(parsed), media_type, &bytes).map_err(failed)
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
