//! What a store's images are saved to, take of the disk, and leave when they go.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use skep::image::{ArchiveFormat, DiskUsage, ImageUsage, Prune, Pruned};

use crate::argument::{Text, Texts};
use crate::engine::skep_engine;
use crate::error::{skep_error, string};
use crate::panic::{self, call};

/// A form in which images are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_archive_format {
    /// `manifest.json` and plain layers: what all versions of docker load.
    SKEP_ARCHIVE_DOCKER = 0,
    /// An OCI image layout in an archive. Every blob is kept as it is, and with it all digests.
    SKEP_ARCHIVE_OCI = 1,
}

/// What skep_engine_prune_images() removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_prune {
    /// Files that no image needs.
    SKEP_PRUNE_FILES = 0,
    /// Images without a name that nobody uses, and such files: docker's `image prune`.
    SKEP_PRUNE_NAMELESS = 1,
    /// All images that nobody uses, and such files: docker's `image prune --all`.
    SKEP_PRUNE_UNUSED = 2,
}

/// What was removed. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_pruned {
    images: Vec<CString>,
    blobs: u64,
    layers: u64,
    bytes: u64,
}

/// What the images of a store take of the disk: bytes that the file system has given out. It never
/// changes: any thread may read it.
#[derive(Debug)]
pub struct skep_disk_usage {
    images: Vec<skep_image_usage>,
    blobs: u64,
    layers: u64,
    unneeded: u64,
}

/// What one image takes of the disk.
#[derive(Debug)]
pub struct skep_image_usage {
    id: CString,
    references: Vec<CString>,
    blobs: u64,
    layers: u64,
    shared: u64,
    in_use: bool,
}

impl From<Pruned> for skep_pruned {
    fn from(Pruned { images, blobs, layers, bytes }: Pruned) -> skep_pruned {
        let images = images.iter().map(|id| string(&id.to_string())).collect();
        skep_pruned { images, blobs, layers, bytes }
    }
}

impl From<DiskUsage> for skep_disk_usage {
    fn from(DiskUsage { images, blobs, layers, unneeded }: DiskUsage) -> skep_disk_usage {
        let images = images.iter().map(skep_image_usage::from).collect();
        skep_disk_usage { images, blobs, layers, unneeded }
    }
}

impl From<&ImageUsage> for skep_image_usage {
    fn from(usage: &ImageUsage) -> skep_image_usage {
        skep_image_usage {
            id: string(&usage.id.to_string()),
            references: usage.references.iter().map(|name| string(&name.to_string())).collect(),
            blobs: usage.blobs,
            layers: usage.layers,
            shared: usage.shared,
            in_use: usage.in_use,
        }
    }
}

/// Saves the images of a list of names and ids, which ends in NULL, into one archive, which replaces a
/// file at `path`. `format` is one of `enum skep_archive_format`.
///
/// A name saves the image under that name alone, an id under all its names. skep_engine_load_images()
/// of the archive gives the same images, by id. It is readable by its owner only, deterministic, and at
/// `path` when it is complete: after an error the former file is there.
///
/// Errors: SKEP_NOT_FOUND if there is no such image, or no directory for the archive;
/// SKEP_INVALID_INPUT without any names, or if `path` is something else than a file;
/// SKEP_DIGEST_MISMATCH or SKEP_INVALID_DATA if an image is damaged; SKEP_RESOURCE_EXHAUSTED on a full
/// disk; SKEP_CANCELLED.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_save_images(
    engine: Option<&skep_engine>,
    names: Texts<'_>,
    path: Text<'_>,
    format: c_int,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    const DOCKER: c_int = skep_archive_format::SKEP_ARCHIVE_DOCKER as c_int;
    const OCI: c_int = skep_archive_format::SKEP_ARCHIVE_OCI as c_int;
    call("skep_engine_save_images", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let (names, path) = (names.strings(call, "names")?, path.path(call, "path")?);
        let format = match format {
            DOCKER => ArchiveFormat::Docker,
            OCI => ArchiveFormat::Oci,
            _ => {
                let cause = format!("its argument format is {format}, no skep_archive_format");
                return Err(call.refuse(cause));
            }
        };
        Ok(images.save(&names, path, format)?)
    })
}

/// Removes what is not needed: files that no image has, and images if `what`, one of
/// `enum skep_prune`, says so. Images that containers or leases use stay, whatever process has those.
///
/// Safe at any moment: images that are loaded, committed or unpacked meanwhile are complete.
///
/// Errors: SKEP_INVALID_DATA if the store's index is damaged; those of reading and removing. What was
/// removed before stays removed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_prune_images(
    engine: Option<&skep_engine>,
    what: c_int,
    pruned: Option<&mut MaybeUninit<Box<skep_pruned>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    const FILES: c_int = skep_prune::SKEP_PRUNE_FILES as c_int;
    const NAMELESS: c_int = skep_prune::SKEP_PRUNE_NAMELESS as c_int;
    const UNUSED: c_int = skep_prune::SKEP_PRUNE_UNUSED as c_int;
    call("skep_engine_prune_images", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let what = match what {
            FILES => Prune::Files,
            NAMELESS => Prune::Nameless,
            UNUSED => Prune::Unused,
            _ => return Err(call.refuse(format!("its argument what is {what}, no skep_prune"))),
        };
        let slot = call.given(pruned, "pruned")?;
        slot.write(Box::new(images.prune(what)?.into()));
        Ok(())
    })
}

/// How many images were removed; 0 for NULL, as with the numbers below.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_length(pruned: Option<&skep_pruned>) -> usize {
    pruned.map_or(0, |pruned| pruned.images.len())
}

/// The id of removed image number `index`, from 0; NULL behind the last. Valid as long as the object.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_image(pruned: Option<&skep_pruned>, index: usize) -> *const c_char {
    let id = pruned.and_then(|pruned| pruned.images.get(index));
    id.map_or(ptr::null(), |id| id.as_ptr())
}

/// How many blobs were removed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_blobs(pruned: Option<&skep_pruned>) -> u64 {
    pruned.map_or(0, |pruned| pruned.blobs)
}

/// How many unpacked layers were removed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_layers(pruned: Option<&skep_pruned>) -> u64 {
    pruned.map_or(0, |pruned| pruned.layers)
}

/// The bytes of both on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_bytes(pruned: Option<&skep_pruned>) -> u64 {
    pruned.map_or(0, |pruned| pruned.bytes)
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pruned_free(pruned: Option<Box<skep_pruned>>) {
    panic::free(pruned);
}

/// Measures what the images take of the disk. Every file of every unpacked layer is looked at. What is
/// damaged counts as unneeded.
///
/// Errors: SKEP_INVALID_DATA if the store's index is damaged; those of reading.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_disk_usage(
    engine: Option<&skep_engine>,
    usage: Option<&mut MaybeUninit<Box<skep_disk_usage>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_disk_usage", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let slot = call.given(usage, "usage")?;
        slot.write(Box::new(images.disk_usage()?.into()));
        Ok(())
    })
}

/// Bytes of all blobs; 0 for NULL, as with the numbers below.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_blobs(usage: Option<&skep_disk_usage>) -> u64 {
    usage.map_or(0, |usage| usage.blobs)
}

/// Bytes of all unpacked layers.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_layers(usage: Option<&skep_disk_usage>) -> u64 {
    usage.map_or(0, |usage| usage.layers)
}

/// Bytes of both that no image needs: what SKEP_PRUNE_FILES gives back.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_unneeded(usage: Option<&skep_disk_usage>) -> u64 {
    usage.map_or(0, |usage| usage.unneeded)
}

/// How many images there are.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_length(usage: Option<&skep_disk_usage>) -> usize {
    usage.map_or(0, |usage| usage.images.len())
}

/// What image number `index` takes, from 0; NULL behind the last. It is the usage's, and not to be
/// freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_at(
    usage: Option<&skep_disk_usage>,
    index: usize,
) -> Option<&skep_image_usage> {
    usage.and_then(|usage| usage.images.get(index))
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_disk_usage_free(usage: Option<Box<skep_disk_usage>>) {
    panic::free(usage);
}

/// The image's id, "sha256:..."; NULL for NULL. Valid as long as the whole usage.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_id(usage: Option<&skep_image_usage>) -> *const c_char {
    usage.map_or(ptr::null(), |usage| usage.id.as_ptr())
}

/// Its name number `index`, from 0; NULL behind the last. Valid as long as the whole usage.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_reference(
    usage: Option<&skep_image_usage>,
    index: usize,
) -> *const c_char {
    let reference = usage.and_then(|usage| usage.references.get(index));
    reference.map_or(ptr::null(), |reference| reference.as_ptr())
}

/// Bytes of its blobs; 0 for NULL, as with the numbers below. What several images have counts for each
/// of them.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_blobs(usage: Option<&skep_image_usage>) -> u64 {
    usage.map_or(0, |usage| usage.blobs)
}

/// Bytes of its unpacked layers.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_layers(usage: Option<&skep_image_usage>) -> u64 {
    usage.map_or(0, |usage| usage.layers)
}

/// Bytes of both that other images have, too: the rest is what removing it gives back.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_shared(usage: Option<&skep_image_usage>) -> u64 {
    usage.map_or(0, |usage| usage.shared)
}

/// Whether a container or a lease uses it; false for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_usage_in_use(usage: Option<&skep_image_usage>) -> bool {
    usage.is_some_and(|usage| usage.in_use)
}
