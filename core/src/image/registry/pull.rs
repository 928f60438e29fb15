//! Pulls an image: from a reference to an image in the store.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::target;
use super::client::Client;
use super::download::Download;
use super::failure::{Failure, Outcome};
use super::options::PullOptions;
use super::parallel::{self, Stop};
use super::signatures;
use crate::image::arrival::{Arrival, Arriving};
use crate::image::config::ImageConfig;
use crate::image::inflate::Source;
use crate::image::layers::Unpacking;
use crate::image::layout::{StagedBlob, Staging, read_bounded};
use crate::image::load::Candidate;
use crate::image::manifest::{Descriptor, MAX_DOCUMENT, Manifest, resolve, too_large};
use crate::image::partial::{Blob, Partial};
use crate::image::signature::Rule;
use crate::image::{Digest, Image, Images, Platform, Reference};
use crate::sys::sigpipe::without_file_size_signal;
use crate::sys::thread::without_signals;
use crate::{Error, ErrorKind, Result};

const OPERATION: &str = "pull";

/// How often a pull begins again because another process removed what it had counted on.
const ROUNDS: u32 = 3;

/// Bytes of a layer between two reports.
const STEP: u64 = 256 << 10;

impl Images {
    /// Pulls an image from its registry, or a mirror of that, into the store, and names it
    /// `reference`. What the store has already is not fetched again.
    ///
    /// ```no_run
    /// use skep::image::registry::PullOptions;
    ///
    /// let engine = skep::Engine::open_default()?;
    /// let image = engine.images().pull("debian:12", &PullOptions::new())?;
    /// assert!(engine.command(&image).arg("true").status()?.success());
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// Every byte is checked against the digest it was announced with before anything is visible. A
    /// pull that fails, or is killed, leaves what it has fetched for the next, for a week or until a
    /// [`prune`](Self::prune). Of several
    /// pulls at once, in any number of processes, one fetches each blob and the others wait for it.
    /// An image pulled by a digest is named by it, and a tag beside the digest says nothing.
    ///
    /// What the options' [policy](PullOptions::policy) refuses leaves nothing in the store.
    ///
    /// # Errors
    /// `InvalidInput` for a bad reference; `NotFound` if the registry has no such image;
    /// `PermissionDenied` if it lets nobody in with these credentials, or if the policy refuses the
    /// image, where the error's operation is `accept`; `Unsupported` if there is no image for the
    /// platform; `DigestMismatch` or `InvalidData` if what comes is not what was announced;
    /// `TimedOut` if the registry is silent, `ResourceExhausted` if it wants to be left alone or the
    /// disk is full, `Io` if it is not reached or fails; `Cancelled`. As [`Image::layers`] where an
    /// image that is stored cannot be unpacked.
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull>
    pub fn pull(&self, reference: &str, options: &PullOptions) -> Result<Image> {
        let parsed = Reference::parse(reference)?;
        self.layout.cancel.run(OPERATION, reference, || self.pull_as(reference, parsed, options))
    }

    fn pull_as(&self, subject: &str, reference: Reference, options: &PullOptions) -> Result<Image> {
        let registries = options.registries.of_store(&self.layout.cancel);
        let clients = Client::to_pull(&registries, reference.domain(), reference.path());
        let rule = options.policy.rule(&reference);
        rule.signed(subject)?;
        let pull = Pull { images: self, subject, reference, clients, rule, options };
        let Pulled { image, begun } = pull
            .run()
            .map_err(|error| error.fix_data("have it pushed again, or use another registry"))?;
        if options.unpack {
            let layers = &image.manifest().layers;
            image.unpack_all(begun, &|i| options.report(&layers[i], layers[i].size, true))?;
        }
        Ok(image)
    }
}

/// One pull under way.
struct Pull<'a> {
    images: &'a Images,
    /// As the caller typed it.
    subject: &'a str,
    reference: Reference,
    clients: Vec<Client>,
    /// What the policy says about it.
    rule: Rule<'a>,
    options: &'a PullOptions,
}

/// What is to be pulled, and from where.
struct Found<'a> {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    /// The digests of the documents that led here, the manifest's last.
    digests: Vec<Digest>,
    /// The first has the manifest.
    clients: Vec<&'a Client>,
}

type Resolved = (Descriptor, Vec<u8>, Manifest);

/// An image in the store, and what is unpacked of it.
struct Pulled<'a> {
    image: Image,
    begun: Option<Unpacking<'a>>,
}

/// A blob that is here, kept from being fetched again until it is stored.
struct Here {
    staged: StagedBlob,
    _partial: Option<Partial>,
}

/// Blobs that are closed when it is dropped: in a panic, too, for who waits for them not to wait for ever.
struct Closing<'a>(&'a [Arc<Arrival>]);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|arrival| arrival.close());
    }
}

/// Reports of layers that are fetched and unpacked at the same time.
struct Reports<'a> {
    options: &'a PullOptions,
    /// Those of which it was said: what was there already is unpacked before it is found to be here.
    unpacked: Mutex<HashSet<Digest>>,
}

impl Reports<'_> {
    /// Nothing comes after this.
    fn unpacked(&self, layer: &Descriptor) {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        unpacked.insert(layer.digest);
        self.options.report(layer, layer.size, true);
    }

    fn fetched(&self, layer: &Descriptor, bytes: u64) {
        // Held meanwhile, for nobody to come in between.
        let unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if !unpacked.contains(&layer.digest) {
            self.options.report(layer, bytes, false);
        }
    }
}

impl<'a> Pull<'a> {
    fn run(&self) -> Result<Pulled<'a>> {
        let found = self.find()?;
        let Found { digests, clients, .. } = &found;
        signatures::check(&self.rule, self.subject, &self.reference, digests, clients)?;
        for _ in 0..ROUNDS {
            if let Some(pulled) = self.fetch(&found)? {
                return Ok(pulled);
            }
        }
        Err(Error::new(ErrorKind::NotFound, OPERATION, self.subject)
            .cause("its blobs are removed again and again while it is pulled"))
    }

    fn failed(&self, failure: Failure) -> Error {
        failure.error(OPERATION, self.subject)
    }

    /// Asks the mirrors, then the registry; the error is the registry's own.
    fn find(&self) -> Result<Found<'_>> {
        let mut last = None;
        for (i, client) in self.clients.iter().enumerate() {
            match self.find_at(client) {
                Ok((resolved, digests)) => {
                    let (descriptor, bytes, manifest) = resolved;
                    let clients = self.clients[i..].iter().collect();
                    return Ok(Found { descriptor, bytes, manifest, digests, clients });
                }
                Err(failure) => last = Some(failure),
            }
        }
        let none = || Failure::new(ErrorKind::NotFound, "there is no registry to ask");
        Err(self.failed(last.unwrap_or_else(none)))
    }

    fn find_at(&self, client: &Client) -> Outcome<(Resolved, Vec<Digest>)> {
        let (top, bytes) = client.manifest(&target(&self.reference), self.reference.digest())?;
        let host = Platform::host();
        let platform = self.options.platform.as_ref().unwrap_or(&host);
        let mut bytes = Some(bytes);
        let mut failed = None;
        let mut digests = Vec::new();
        let resolved = resolve(&top, platform, |descriptor| {
            digests.push(descriptor.digest);
            if descriptor.size > MAX_DOCUMENT {
                return Err(too_large(&descriptor.digest.to_string()));
            }
            if let Some(bytes) = bytes.take() {
                return Ok(bytes);
            }
            let digest = descriptor.digest;
            client.manifest(&digest.to_string(), Some(&digest)).map(|(_, bytes)| bytes).map_err(
                |failure| {
                    failed = Some(failure);
                    // A stand-in: `failed` is what the caller gets.
                    Error::new(ErrorKind::Io, OPERATION, self.subject)
                },
            )
        });
        match (resolved, failed) {
            (_, Some(failure)) => Err(failure),
            (resolved, None) => Ok((resolved.map_err(|error| self.about(error))?, digests)),
        }
    }

    /// The same error, which names what was pulled and not a digest alone.
    fn about(&self, error: Error) -> Error {
        Error::new(error.kind(), OPERATION, self.subject).with_source(error)
    }

    /// `None` if a blob was in the store, and then it was not.
    fn fetch(&self, found: &Found<'_>) -> Result<Option<Pulled<'a>>> {
        let size = found.manifest.size();
        self.images.budget(size).take(size, self.subject)?;
        let staging = self.images.layout.stage()?;
        let stop = Stop::new(&self.images.layout.cancel);
        if found.manifest.config.size > MAX_DOCUMENT {
            return Err(self.about(too_large(&found.manifest.config.digest.to_string())));
        }
        // In this thread, which the signal of a limit of file sizes would end.
        let config =
            || self.fetch_blob(found, &found.manifest.config, &stop, &Arrival::new(0), &|_| {});
        let config = without_file_size_signal(config)?;
        let Some(bytes) = self.read(&config)? else { return Ok(None) };
        let mut begun = self.begin(found, &self.check_config(found, &bytes)?);
        let mut here = self.fetch_layers(found, begun.as_mut())?;
        here.push(config);
        let image = without_file_size_signal(|| self.publish(found, &staging, &here))?;
        Ok(image.map(|image| Pulled { image, begun }))
    }

    /// What is to be unpacked while it is fetched; nothing, if that is not wanted, another is at it, or
    /// it cannot be: who asks for the layers afterwards is told why.
    fn begin(&self, found: &Found<'_>, config: &ImageConfig) -> Option<Unpacking<'a>> {
        let layout = &self.images.layout;
        let budget = self.images.budget(found.manifest.size());
        let begin = || Unpacking::begin(layout, &found.manifest, config, &budget, None).ok();
        self.options.unpack.then(|| without_file_size_signal(begin)).flatten()
    }

    /// Makes all layers' blobs be here, and meanwhile unpacks what is here of them.
    ///
    /// What cannot be unpacked is left for later, when all is here and was checked: a registry that
    /// sends something else is to be told from an image that is damaged.
    fn fetch_layers(
        &self,
        found: &Found<'_>,
        begun: Option<&mut Unpacking<'a>>,
    ) -> Result<Vec<Here>> {
        let layers = &found.manifest.layers;
        let arrivals: Vec<_> = layers.iter().map(|l| Arc::new(Arrival::new(l.size))).collect();
        let source = |i: usize| Ok(Source::Arriving(Arriving::of(&arrivals[i])));
        let reports = Reports { options: self.options, unpacked: Mutex::default() };
        let unpacked = |i: usize| reports.unpacked(&layers[i]);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("skep-unpack".into());
            let unpack = begun.and_then(|begun| {
                let work = move || drop(begun.go_on(&source, &unpacked));
                // Without a thread it is done afterwards.
                without_signals(|| thread.spawn_scoped(scope, work)).ok()
            });
            let closing = Closing(&arrivals);
            let here = self.fetch_all(layers, found, &arrivals, &reports);
            // After an error at once, for nothing to be unpacked in vain.
            let _closing = here.is_ok().then_some(closing);
            match unpack.map(|thread| thread.join()) {
                // The caller's own: it came from its report of progress.
                Some(Err(panic)) => std::panic::resume_unwind(panic),
                _ => here,
            }
        })
    }

    fn fetch_all(
        &self,
        layers: &[Descriptor],
        found: &Found<'_>,
        arrivals: &[Arc<Arrival>],
        reports: &Reports<'_>,
    ) -> Result<Vec<Here>> {
        let (bound, cancel) = (self.options.parallel, &self.images.layout.cancel);
        let each: Vec<_> = layers.iter().zip(arrivals).collect();
        parallel::each(&each, bound, OPERATION, cancel, |(layer, arrival), stop| {
            let reported = std::cell::Cell::new(None);
            self.fetch_blob(found, layer, stop, arrival, &|have| {
                let enough = |last| have >= last + STEP || have == layer.size && have != last;
                if reported.get().is_none_or(enough) {
                    reported.set(Some(have));
                    reports.fetched(layer, have);
                }
            })
        })
    }

    /// Makes one blob be here, fetched by whomever.
    fn fetch_blob(
        &self,
        found: &Found<'_>,
        blob: &Descriptor,
        stop: &Stop,
        arrival: &Arrival,
        report: &dyn Fn(u64),
    ) -> Result<Here> {
        let layout = &self.images.layout;
        // Opened anew: a duplicate would keep the partial file's lock when its owner has failed. What was
        // moved or removed in this moment is unpacked later, or missed by who publishes.
        let follow = |path: &Path| {
            File::open(path).map_or_else(|_| arrival.close(), |file| arrival.begin(file));
        };
        let (path, partial) = match layout.partial(blob)? {
            Blob::Stored => {
                let path = layout.blob_path(&blob.digest);
                follow(&path);
                (path, None)
            }
            Blob::Fetched(partial) => {
                follow(partial.path());
                (partial.path().to_owned(), Some(partial))
            }
            Blob::Missing(mut partial) => {
                follow(partial.path());
                let report = |have| {
                    arrival.has(have);
                    report(have);
                };
                let download = Download { blob, stop, report: &report };
                download.run(&found.clients, &mut partial).map_err(|f| self.failed(f))?;
                partial.share()?;
                (partial.path().to_owned(), Some(partial))
            }
        };
        arrival.check();
        report(blob.size);
        let staged = StagedBlob { path, digest: blob.digest, size: blob.size };
        Ok(Here { staged, _partial: partial })
    }

    /// A small blob that is here; `None` if it is not any more.
    fn read(&self, here: &Here) -> Result<Option<Vec<u8>>> {
        let subject = here.staged.digest.to_string();
        // Who pulls the same at the same time may have moved it to its place.
        for path in [&here.staged.path, &self.images.layout.blob_path(&here.staged.digest)] {
            match File::open(path) {
                Ok(file) => return read_bounded(file, &subject).map(Some),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::os("open blob", subject, error)),
            }
        }
        Ok(None)
    }

    /// Checks what an image without an index may be wrong in: its layers and its platform.
    fn check_config(&self, found: &Found<'_>, bytes: &[u8]) -> Result<ImageConfig> {
        let subject = found.manifest.config.digest.to_string();
        let config = ImageConfig::parse(bytes, &found.manifest, &subject)
            .map_err(|error| self.about(error))?;
        let wanted = self.options.platform.clone().unwrap_or_else(Platform::host);
        let same = |has: &str, wanted: &str| has.is_empty() || has == wanted;
        if same(&config.os, &wanted.os) && same(&config.architecture, &wanted.architecture) {
            return Ok(config);
        }
        Err(Error::new(ErrorKind::Unsupported, OPERATION, self.subject)
            .cause(format!("it is for {}/{}, not {wanted}", config.os, config.architecture))
            .fix("ask for its platform, if that is what is wanted"))
    }

    fn publish(
        &self,
        found: &Found<'_>,
        staging: &Staging<'_>,
        here: &[Here],
    ) -> Result<Option<Image>> {
        let mut blobs: Vec<StagedBlob> = here.iter().map(|here| here.staged.clone()).collect();
        let digest = found.descriptor.digest.to_string();
        staging.note_fetched(blobs.iter().map(|blob| &blob.digest))?;
        blobs.push(staging.blob(&*found.bytes, &digest)?);
        let mut manifest = found.descriptor.clone();
        manifest.platform = None;
        manifest.annotations.clear();
        let name = match self.reference.digest() {
            Some(_) => self.reference.clone().without_tag(),
            None => self.reference.clone(),
        };
        let config = found.manifest.config.clone();
        let candidate = Candidate { manifest, config, blobs, references: vec![name] };
        match self.images.publish(staging, &[candidate]) {
            Ok(mut images) => Ok(images.pop()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
