//! What the images take of the disk.

use std::collections::HashMap;

use super::digest::Digest;
use super::lock::Lock;
use super::reference::Reference;
use super::store::{Images, unless_damaged};
use super::tree::disk_usage;
use crate::Result;

/// What [`Images::disk_usage`] finds. Bytes are those that the file system has given out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskUsage {
    /// Each image; what several have counts for each of them.
    pub images: Vec<ImageUsage>,
    /// Bytes of all blobs, and of what is here of those that are being fetched, or were.
    pub blobs: u64,
    /// Bytes of all unpacked layers.
    pub layers: u64,
    /// Bytes of blobs and layers that no image needs and nobody fetches: see
    /// [`Prune::Files`](super::Prune::Files).
    pub unneeded: u64,
}

/// What one image takes of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image's id.
    pub id: Digest,
    /// Its names.
    pub references: Vec<Reference>,
    /// Bytes of its blobs.
    pub blobs: u64,
    /// Bytes of its unpacked layers.
    pub layers: u64,
    /// Bytes of both that other images have, too: the rest is what removing it gives back.
    pub shared: u64,
    /// Whether a [`Lease`](super::Lease) on it is held.
    pub in_use: bool,
}

/// The bytes of a file or a directory, and how many images have it.
#[derive(Default, Clone, Copy)]
struct Size {
    bytes: u64,
    images: u32,
}

type Sizes = HashMap<Digest, Size>;

impl Images {
    /// Measures what the images take of the disk. Every file of every unpacked layer is looked at.
    ///
    /// What comes or goes meanwhile may be counted or not. What is damaged counts as unneeded.
    ///
    /// # Errors
    /// `InvalidData` if the index is damaged; those of reading.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let (images, in_use) = self.with_use()?;
        let mut blobs = self.sizes("images/blobs/sha256")?;
        let mut layers = self.sizes("layers")?;
        let parts: Vec<_> = images.iter().map(parts).collect();
        for (blob_digests, chain_ids) in &parts {
            count(&mut blobs, blob_digests);
            count(&mut layers, chain_ids);
        }
        let (partial, idle) = self.layout.measure_partials()?;
        let mut usage = DiskUsage {
            blobs: blobs.values().map(|size| size.bytes).sum::<u64>() + partial,
            layers: layers.values().map(|size| size.bytes).sum(),
            ..DiskUsage::default()
        };
        let unneeded = blobs.values().chain(layers.values()).filter(|size| size.images == 0);
        usage.unneeded = unneeded.map(|size| size.bytes).sum::<u64>() + idle;
        for ((image, (blob_digests, chain_ids)), in_use) in images.iter().zip(&parts).zip(in_use) {
            let of_blobs = sum(&blobs, blob_digests);
            let of_layers = sum(&layers, chain_ids);
            usage.images.push(ImageUsage {
                id: *image.id(),
                references: image.references().to_vec(),
                blobs: of_blobs.0,
                layers: of_layers.0,
                shared: of_blobs.1 + of_layers.1,
                in_use,
            });
        }
        Ok(usage)
    }

    /// The images, each once, and whether it is leased.
    fn with_use(&self) -> Result<(Vec<super::Image>, Vec<bool>)> {
        // In it nobody removes, whom a look at a lease would keep from it.
        let _lock = self.layout.lock_exclusive()?;
        let entries = self.entries(&self.layout.index()?)?;
        let (mut images, mut in_use) = (Vec::<super::Image>::new(), Vec::new());
        for i in 0..entries.len() {
            let Some(image) = unless_damaged(self.image(&entries, i))? else { continue };
            if images.iter().any(|known| known.id() == image.id()) {
                continue;
            }
            let lease = self.layout.lease_path(image.id());
            in_use.push(lease.exists() && Lock::try_exclusive(&lease)?.is_none());
            images.push(image);
        }
        Ok((images, in_use))
    }

    /// The sizes of what a directory of the store has, by digest.
    fn sizes(&self, directory: &str) -> Result<Sizes> {
        let mut sizes = Sizes::new();
        for name in self.layout.names(directory)? {
            if let Some(digest) = Digest::from_hex(&name) {
                let bytes = disk_usage(&self.layout.path(directory).join(&name))?;
                sizes.insert(digest, Size { bytes, images: 0 });
            }
        }
        Ok(sizes)
    }
}

/// The blobs and the layers of an image, each once.
fn parts(image: &super::Image) -> (Vec<Digest>, Vec<Digest>) {
    let manifest = image.manifest();
    let mut blobs = vec![*image.digest(), manifest.config.digest];
    blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
    let mut layers = image.config().chain_ids();
    for digests in [&mut blobs, &mut layers] {
        digests.sort();
        digests.dedup();
    }
    (blobs, layers)
}

fn count(sizes: &mut Sizes, digests: &[Digest]) {
    for digest in digests {
        if let Some(size) = sizes.get_mut(digest) {
            size.images += 1;
        }
    }
}

/// The bytes of all, and of those that several images have.
fn sum(sizes: &Sizes, digests: &[Digest]) -> (u64, u64) {
    let found = digests.iter().filter_map(|digest| sizes.get(digest));
    found.fold((0, 0), |(all, shared), size| {
        (all + size.bytes, shared + if size.images > 1 { size.bytes } else { 0 })
    })
}
