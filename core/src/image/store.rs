//! The images of a store: found by name or id, listed, tagged, removed.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::config::ImageConfig;
use super::digest::Digest;
use super::handle::Image;
use super::layout::{Layout, blob_name};
use super::lock::Lock;
use super::manifest::{Descriptor, Index, Manifest, REF_NAME, resolve};
use super::reference::Reference;
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
}

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
    pub(super) reference: Option<Reference>,
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
}

impl Entry {
    fn id(&self) -> Digest {
        self.manifest.config.digest
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
        let images = Images { layout: Arc::new(Layout::open(store_root)?) };
        if images.layout.has_staging()? {
            let _lock = images.layout.lock_exclusive()?;
            if images.layout.sweep_staging()? {
                images.sweep_unreachable()?;
            }
        }
        Ok(images)
    }

    /// Finds an image by a reference or by its id: `sha256:<hex>`, the hexadecimal digits, or at
    /// least four of them from the front. A reference goes before an id.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` if it is neither a reference nor an id, or begins several ids.
    pub fn find(&self, name_or_id: &str) -> Result<Image> {
        let entries = self.entries(&self.layout.index()?)?;
        self.image(&entries, choose(&entries, name_or_id)?)
    }

    /// All images, in the order in which they came.
    ///
    /// # Errors
    /// `InvalidData` or `DigestMismatch` if the store is damaged.
    pub fn list(&self) -> Result<Vec<ImageSummary>> {
        let entries = self.entries(&self.layout.index()?)?;
        let mut seen = HashSet::new();
        let mut list = Vec::new();
        for (i, entry) in entries.iter().enumerate() {
            if seen.insert(entry.id()) {
                let image = self.image(&entries, i)?;
                list.push(ImageSummary {
                    references: image.references().to_vec(),
                    id: *image.id(),
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
        let descriptor = entries[choose(&entries, name_or_id)?].descriptor.clone();
        set_reference(&mut index, Some(&reference), &descriptor);
        self.layout.write_index(&index)
    }

    /// Removes a name and, if it was the image's last, the image with all blobs and layers that no
    /// other image uses. An id removes the image with all its names.
    ///
    /// # Errors
    /// `NotFound`; `InUse` while a [`Lease`](super::Lease) on the image is held, and then nothing
    /// was removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        // Its owner's death makes the next `open` sweep what this leaves half done.
        let staging = self.layout.stage()?;
        let _lock = self.layout.lock_exclusive()?;
        let mut index = self.layout.index()?;
        let entries = self.entries(&index)?;
        let chosen = choose(&entries, name)?;
        let id = entries[chosen].id();
        let by_name = entries[chosen].reference.is_some() && !is_id(name, &id);
        let keeps = |i: usize| match by_name {
            true => i != chosen,
            false => entries[i].id() != id,
        };
        let mut at = 0..;
        index.manifests.retain(|_| at.next().is_none_or(keeps));
        if (0..entries.len()).any(|i| keeps(i) && entries[i].id() == id) {
            return self.layout.write_index(&index);
        }
        let lease = self.layout.lease_path(&id);
        let Some(_unused) = Lock::try_exclusive(&lease)? else {
            return Err(Error::new(ErrorKind::InUse, "remove image", name)
                .cause("a container uses it")
                .fix("remove the container first"));
        };
        let image = self.image(&entries, chosen)?;
        let doomed: Vec<Descriptor> = entries
            .iter()
            .filter(|entry| entry.id() == id)
            .flat_map(|entry| blobs(&entry.descriptor, &entry.manifest))
            .collect();
        self.layout.write_index(&index)?;
        let kept = self.reachable(&index)?;
        for descriptor in doomed.iter().filter(|d| !kept.blobs.contains(&d.digest)) {
            self.layout.remove(&blob_name(&descriptor.digest))?;
        }
        for chain_id in image.config().chain_ids() {
            if !kept.layers.contains(&chain_id) {
                // Renamed here, removed when the locks are released: a layer is large.
                let from = self.layout.layer_path(&chain_id);
                match std::fs::rename(&from, staging.path().join(chain_id.hex())) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        let subject = from.display().to_string();
                        return Err(Error::os("remove layer", subject, error));
                    }
                    _ => {}
                }
            }
        }
        self.layout.remove(&format!("locks/{}", id.hex()))
    }

    /// The index's descriptors followed to their manifests, in the same order.
    pub(super) fn entries(&self, index: &Index) -> Result<Vec<Entry>> {
        let entry = |top: &Descriptor| {
            let (descriptor, _, manifest) = resolve(top, |d| self.layout.document(d))?;
            Ok(Entry { reference: reference_of(top), descriptor, manifest })
        };
        index.manifests.iter().map(entry).collect()
    }

    /// The image of one entry, with the names of all entries that are the same image.
    pub(super) fn image(&self, entries: &[Entry], chosen: usize) -> Result<Image> {
        let Entry { descriptor, manifest, .. } = &entries[chosen];
        let bytes = self.layout.document(&manifest.config)?;
        let config = ImageConfig::parse(&bytes, manifest, &manifest.config.digest.to_string())?;
        let same = entries.iter().filter(|entry| entry.id() == entries[chosen].id());
        let mut references: Vec<Reference> = Vec::new();
        for reference in same.filter_map(|entry| entry.reference.clone()) {
            if !references.contains(&reference) {
                references.push(reference);
            }
        }
        Ok(Image::new(self.clone(), descriptor.digest, manifest.clone(), config, references))
    }

    /// Removes blobs, layers and leases that no image in the index needs. The caller holds the
    /// exclusive lock.
    fn sweep_unreachable(&self) -> Result<()> {
        let kept = self.reachable(&self.layout.index()?)?;
        let sweep = |directory: &str, kept: &HashSet<Digest>| {
            for name in self.layout.names(directory)? {
                // Other names than skep's own are not skep's to touch.
                if Digest::from_hex(&name).is_some_and(|digest| !kept.contains(&digest)) {
                    self.layout.remove(&format!("{directory}/{name}"))?;
                }
            }
            Ok(())
        };
        sweep("images/blobs/sha256", &kept.blobs)?;
        sweep("layers", &kept.layers)?;
        sweep("locks", &kept.blobs)
    }

    fn reachable(&self, index: &Index) -> Result<Reachable> {
        let mut kept = Reachable::default();
        for top in &index.manifests {
            kept.blobs.insert(top.digest);
            let document = |d: &Descriptor| {
                kept.blobs.insert(d.digest);
                self.layout.document(d)
            };
            let (descriptor, _, manifest) = resolve(top, document)?;
            kept.blobs.extend(blobs(&descriptor, &manifest).map(|d| d.digest));
            let bytes = self.layout.document(&manifest.config)?;
            let subject = manifest.config.digest.to_string();
            let config = ImageConfig::parse(&bytes, &manifest, &subject)?;
            kept.layers.extend(config.chain_ids());
        }
        Ok(kept)
    }
}

/// What the index leads to.
#[derive(Default)]
struct Reachable {
    blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
}

/// The blobs of an image: manifest, config and layers.
fn blobs(descriptor: &Descriptor, manifest: &Manifest) -> impl Iterator<Item = Descriptor> {
    let layers = manifest.layers.clone().into_iter();
    [descriptor.clone(), manifest.config.clone()].into_iter().chain(layers)
}

/// Which entry `name_or_id` means.
fn choose(entries: &[Entry], name_or_id: &str) -> Result<usize> {
    let reference = Reference::parse(name_or_id);
    if let Ok(wanted) = &reference
        && let Some(i) = entries.iter().position(|entry| names(entry, wanted))
    {
        return Ok(i);
    }
    let not_found = || Error::new(ErrorKind::NotFound, "find image", name_or_id);
    let prefix = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
    let hexadecimal = prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if prefix.len() < MIN_PREFIX || prefix.len() > 64 || !hexadecimal {
        return Err(reference.err().unwrap_or_else(not_found));
    }
    let mut found: BTreeMap<Digest, usize> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        if is_id(name_or_id, &entry.id()) {
            found.entry(entry.id()).or_insert(i);
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

/// Whether `entry` is what `wanted` names. With a digest, the tag says nothing, as in docker.
fn names(entry: &Entry, wanted: &Reference) -> bool {
    let Some(name) = &entry.reference else {
        return false;
    };
    match wanted.digest() {
        None => name == wanted,
        Some(digest) => {
            *digest == entry.descriptor.digest
                && (name.domain(), name.path()) == (wanted.domain(), wanted.path())
        }
    }
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
