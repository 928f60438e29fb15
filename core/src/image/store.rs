//! The images of a store: found by name or id, listed, tagged.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::Budget;
use super::config::ImageConfig;
use super::digest::Digest;
use super::handle::Image;
use super::layout::Layout;
use super::manifest::{Descriptor, Index, Manifest, REF_NAME, resolve};
use super::platform::Platform;
use super::reference::Reference;
use crate::cancel::Cancel;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// containerd's annotation for the complete name; the standard one may be a mere tag.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The shortest beginning of an id that [`Images::find`] takes.
const MIN_PREFIX: usize = 4;

/// The images of a store. Clones share it; several processes may, too.
///
/// ```no_run
/// let images = skep::image::Images::open("/var/lib/skep".as_ref())?;
/// let image = images.load("app.tar")?;
/// println!("{} {:?}", image.id(), image.config().config.cmd);
/// # Ok::<(), skep::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Images {
    pub(super) layout: Arc<Layout>,
    /// Manifests by what the index has for them: they never change, and an image is looked for at
    /// every start of a container.
    manifests: Arc<Mutex<HashMap<Digest, Resolved>>>,
    /// See [`max_size`](Self::max_size).
    max_size: Option<u64>,
}

/// A manifest and its descriptor.
pub(super) type Resolved = (Descriptor, Manifest);

/// One line of [`Images::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image's names; none if another image took them over.
    pub references: Vec<Reference>,
    /// The image's id: the digest of its config.
    pub id: Digest,
    /// Bytes of its blobs in the store; blobs may be shared with other images.
    pub size: u64,
    /// When it was built, in RFC 3339, if its config says so.
    pub created: Option<String>,
}

/// One descriptor of the index, followed to its manifest.
pub(super) struct Entry {
    pub(super) top: Descriptor,
    pub(super) reference: Option<Reference>,
    /// `None` if it cannot be followed: it is damaged or no image.
    resolved: Option<Resolved>,
}

impl Entry {
    /// The image's id.
    pub(super) fn id(&self) -> Option<Digest> {
        self.resolved.as_ref().map(|(_, manifest)| manifest.config.digest)
    }

    /// The manifest's digest.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.resolved.as_ref().map(|(descriptor, _)| descriptor.digest)
    }
}

impl Images {
    /// Opens the images in `store_root`, an existing directory, and creates what is missing there.
    ///
    /// Sweeps what processes that died in the middle of an operation left behind.
    ///
    /// # Errors
    /// `NotFound` without that directory, `PermissionDenied` if it cannot be written to.
    pub fn open(store_root: &Path) -> Result<Images> {
        let layout = Arc::new(Layout::open(store_root)?);
        let images = Images { layout, manifests: Arc::default(), max_size: None };
        sigpipe::without_file_size_signal(|| images.layout.keep_reserve());
        if images.layout.has_staging()? {
            images.sweep()?;
        }
        images.layout.sweep_partials()?;
        Ok(images)
    }

    /// The same images for a caller who lets an image, or an archive of images, become at most
    /// `bytes`: what its layers are uncompressed, holes of sparse files included.
    ///
    /// It holds for what is loaded, imported, pulled, unpacked and saved through the result, and
    /// through an [`Image`] found or made there. Beyond it, these fail with `ResourceExhausted` and
    /// leave the store as it was. Without, an image may become 50 times as large as its blobs, or 16
    /// GiB if that is more.
    ///
    /// ```no_run
    /// let engine = skep::Engine::open_default()?;
    /// let image = engine.images().max_size(2 << 30).load("foreign.tar")?;
    /// image.layers()?;
    /// # Ok::<(), skep::Error>(())
    /// ```
    pub fn max_size(&self, bytes: u64) -> Images {
        Images { max_size: Some(bytes), ..self.clone() }
    }

    /// What may come of something that has `compressed` bytes.
    pub(super) fn budget(&self, compressed: u64) -> Budget {
        Budget::new(self.max_size, compressed)
    }

    /// The same store, whose operations `cancel` ends: they fail with
    /// [`Cancelled`](ErrorKind::Cancelled) soon after [`Cancel::cancel`], be they waiting for a
    /// registry, for a lock, for another process that fetches the same, or for a slow pipe.
    ///
    /// So do operations on the images that are found through it, their
    /// [`layers`](Image::layers) with which a container begins among them; see
    /// [`Image::cancellable`].
    ///
    /// Nothing is half visible then, as after any other failure; a pull leaves what it has fetched for
    /// the next, and an image that is pulled and not yet unpacked is in the store. A lock that others
    /// hold is asked for up to a thousand times a second, which costs a little; without a `cancel` it
    /// is waited for.
    ///
    /// ```no_run
    /// use skep::Cancel;
    /// use skep::image::registry::PullOptions;
    ///
    /// let engine = skep::Engine::open_default()?;
    /// let cancel = Cancel::new();
    /// let stop = cancel.clone();
    /// // In the thread, or the handler, that knows when it is enough: stop.cancel();
    /// # drop(stop);
    /// let image = engine.images().cancellable(&cancel).pull("debian:12", &PullOptions::new())?;
    /// # drop(image);
    /// # Ok::<(), skep::Error>(())
    /// ```
    pub fn cancellable(&self, cancel: &Cancel) -> Images {
        let layout = Arc::new(self.layout.cancellable(cancel));
        Images { layout, ..self.clone() }
    }

    /// Finds an image by a reference or by its id: `sha256:<hex>`, the hexadecimal digits, or at
    /// least four of them from the front. A reference goes before an id.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` if it is neither a reference nor an id, or begins several ids;
    /// `InvalidData`, `DigestMismatch` or `Unsupported` if it is damaged or no image.
    pub fn find(&self, name_or_id: &str) -> Result<Image> {
        let entries = self.entries(&self.layout.index()?)?;
        self.image(&entries, choose(&entries, name_or_id)?)
    }

    /// All images, in the order in which they came. What is damaged or no image is left out;
    /// [`find`](Self::find) says what is wrong with it.
    ///
    /// # Errors
    /// `InvalidData` if the index is damaged; those of reading, such as `ResourceExhausted`.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        let entries = self.entries(&self.layout.index()?)?;
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            let Some(id) = entry.id().filter(|id| seen.insert(*id)) else { continue };
            if let Some(image) = unless_damaged(self.image(&entries, i))? {
                list.push(ImageSummary {
                    references: image.references().to_vec(),
                    id,
                    size: image.size(),
                    created: image.config().created.clone(),
                });
            }
        }
        Ok(list)
    }

    /// Names an image `reference`. Another image of that name loses it and stays.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` if either is malformed, or `reference` has a digest.
    pub fn tag(&self, name_or_id: &str, reference: &str) -> Result<()> {
        let reference = taggable(reference)?;
        let _lock = self.layout.lock_exclusive()?;
        let mut index = self.layout.index()?;
        let entries = self.entries(&index)?;
        let descriptor = entries[choose(&entries, name_or_id)?].top.clone();
        set_reference(&mut index, Some(&reference), &descriptor);
        self.layout.write_index(&index)
    }

    /// The index's descriptors followed to their manifests, in the same order.
    ///
    /// # Errors
    /// Those of reading, but for what is damaged or not there.
    pub(super) fn entries(&self, index: &Index) -> Result<Vec<Entry>> {
        let entry = |top: &Descriptor| {
            let resolved = unless_damaged(self.resolve(top))?;
            Ok(Entry { top: top.clone(), reference: reference_of(top), resolved })
        };
        index.manifests.iter().map(entry).collect()
    }

    pub(super) fn resolve(&self, top: &Descriptor) -> Result<Resolved> {
        // Nothing can panic half way through a change of the map.
        let manifests = || self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolved) = manifests().get(&top.digest) {
            return Ok(resolved.clone());
        }
        let (descriptor, _, manifest) =
            resolve(top, &Platform::host(), |d| self.layout.document(d))?;
        manifests().insert(top.digest, (descriptor.clone(), manifest.clone()));
        Ok((descriptor, manifest))
    }

    /// The image of one entry, with the names of all entries that are the same image.
    pub(super) fn image(&self, entries: &[Entry], chosen: usize) -> Result<Image> {
        // Again, for the reason why it could not be followed.
        let (descriptor, manifest) = self.resolve(&entries[chosen].top)?;
        let subject = manifest.config.digest.to_string();
        let bytes = self.layout.document(&manifest.config)?;
        let config = ImageConfig::parse(&bytes, &manifest, &subject)?;
        let mut references: Vec<Reference> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.id() == Some(manifest.config.digest)) {
            if let Some(reference) = entry.reference.as_ref().filter(|r| !references.contains(r)) {
                references.push(reference.clone());
            }
        }
        Ok(Image::new(self.clone(), descriptor.digest, manifest, config, references))
    }
}

/// `None` for what is damaged, or no image of this machine's: not for a failure to look.
pub(super) fn unless_damaged<T>(result: Result<T>) -> Result<Option<T>> {
    use ErrorKind::{DigestMismatch, InvalidData, NotFound, Unsupported};
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            NotFound | InvalidData | DigestMismatch | Unsupported => Ok(None),
            _ => Err(error),
        },
    }
}

/// Which entry `name_or_id` means.
pub(super) fn choose(entries: &[Entry], name_or_id: &str) -> Result<usize> {
    let reference = Reference::parse(name_or_id);
    if let Some(i) = entries.iter().position(|entry| has_name(entry, name_or_id)) {
        return Ok(i);
    }
    let not_found = || {
        Error::new(ErrorKind::NotFound, "find image", name_or_id)
            .cause("the store has none of that name or id")
            .fix("load or import it")
    };
    let prefix = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
    let hexadecimal = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if prefix.len() < MIN_PREFIX || prefix.len() > 64 || !hexadecimal {
        return Err(reference.err().unwrap_or_else(not_found));
    }
    let mut found: BTreeMap<Digest, usize> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if let Some(id) = entry.id().filter(|id| is_id(name_or_id, id)) {
            found.entry(id).or_insert(i);
        }
    }
    match found.len() {
        0 => Err(not_found()),
        1 => found.into_values().next().ok_or_else(not_found),
        several => Err(Error::new(ErrorKind::InvalidInput, "find image", name_or_id)
            .cause(format!("{several} images have an id that begins so"))
            .fix("give more digits")),
    }
}

/// Whether `text` is `id` or at least four digits of its beginning.
fn is_id(text: &str, id: &Digest) -> bool {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    prefix.len() >= MIN_PREFIX && id.hex().starts_with(&prefix.to_ascii_lowercase())
}

/// Whether `entry` is what `text` names. With a digest, the tag says nothing, as in docker.
pub(super) fn has_name(entry: &Entry, text: &str) -> bool {
    let Some(name) = &entry.reference else { return false };
    Reference::parse(text).is_ok_and(|wanted| match wanted.digest() {
        None => *name == wanted,
        // An image that was pulled by its index's digest has that in its name.
        Some(digest) => {
            (entry.digest() == Some(*digest) || name.digest() == Some(digest))
                && (name.domain(), name.path()) == (wanted.domain(), wanted.path())
        }
    })
}

/// The complete name that a descriptor's annotations give it. A mere tag is none.
pub(super) fn reference_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotation = |key| descriptor.annotations.get(key);
    let standard = annotation(REF_NAME).filter(|name| name.contains(['/', ':']));
    annotation(CONTAINERD_NAME).or(standard).and_then(|name| Reference::parse(name).ok())
}

/// Parses a reference for an image to be stored under.
pub(super) fn taggable(reference: &str) -> Result<Reference> {
    let parsed = Reference::parse(reference)?;
    if parsed.digest().is_some() {
        return Err(Error::new(ErrorKind::InvalidInput, "tag image", reference)
            .cause("a digest cannot be given, only computed"));
    }
    Ok(parsed)
}

/// Puts `descriptor` into the index under `reference`, which its former bearer loses; or without
/// a name, unless it is there already.
pub(super) fn set_reference(
    index: &mut Index,
    reference: Option<&Reference>,
    descriptor: &Descriptor,
) {
    let digest = descriptor.digest;
    let mut entry = descriptor.clone();
    entry.annotations.remove(CONTAINERD_NAME);
    entry.annotations.remove(REF_NAME);
    let Some(reference) = reference else {
        if !index.manifests.iter().any(|d| d.digest == digest) {
            index.manifests.push(entry);
        }
        return;
    };
    let bears = |d: &Descriptor| reference_of(d).as_ref() == Some(reference);
    if index.manifests.iter().any(|d| d.digest == digest && bears(d)) {
        return;
    }
    entry.annotations.insert(REF_NAME.to_owned(), reference.to_string());
    let former = index.manifests.iter().position(bears).map(|i| index.manifests.remove(i));
    // The image is named now.
    index.manifests.retain(|d| d.digest != digest || reference_of(d).is_some());
    index.manifests.push(entry);
    if let Some(former) = former {
        set_reference(index, None, &former);
    }
}
