//! The images of an engine's store.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use skep::Image;

use crate::argument::Text;
use crate::engine::skep_engine;
use crate::error::{skep_error, string};
use crate::history::skep_step;
use crate::panic::{self, call};

/// An image of a store, as it was when it was found. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_image {
    pub(crate) image: Image,
    id: CString,
    digest: CString,
    created: Option<CString>,
    references: Vec<CString>,
    inspection: OnceLock<CString>,
    history: OnceLock<Vec<skep_step>>,
}

/// Several images. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_image_list {
    images: Vec<skep_image>,
}

impl From<Image> for skep_image {
    fn from(image: Image) -> skep_image {
        skep_image {
            id: string(&image.id().to_string()),
            digest: string(&image.digest().to_string()),
            created: image.config().created.as_deref().map(string),
            references: image.references().iter().map(|name| string(&name.to_string())).collect(),
            inspection: OnceLock::new(),
            history: OnceLock::new(),
            image,
        }
    }
}

impl skep_image {
    pub(crate) fn history(&self) -> &[skep_step] {
        let steps = || self.image.history().into_iter().map(skep_step::from).collect();
        self.history.get_or_init(steps)
    }
}

/// Loads the only image of the archive or directory at `path`: what `docker save`, `podman save` and
/// `skopeo copy` write to `docker-archive:`, `oci-archive:` or `oci:`. An archive may be compressed
/// by gzip or zstd. The image gets the names it has there; they are taken from other images.
///
/// Errors: SKEP_NOT_FOUND without such a file; SKEP_INVALID_INPUT if there are several images, which
/// skep_engine_load_images() takes; SKEP_INVALID_DATA and SKEP_DIGEST_MISMATCH if it is damaged;
/// SKEP_UNSUPPORTED for another architecture; SKEP_RESOURCE_EXHAUSTED on a full disk. The store is as
/// before then.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_load_image(
    engine: Option<&skep_engine>,
    path: Text<'_>,
    image: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_load_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let path = path.path(call, "path")?;
        let slot = call.given(image, "image")?;
        slot.write(Box::new(images.load(path)?.into()));
        Ok(())
    })
}

/// Loads all images of the archive or directory at `path`; otherwise as skep_engine_load_image().
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_load_images(
    engine: Option<&skep_engine>,
    path: Text<'_>,
    list: Option<&mut MaybeUninit<Box<skep_image_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_load_images", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let path = path.path(call, "path")?;
        let slot = call.given(list, "list")?;
        let images = images.load_all(path)?.into_iter().map(skep_image::from).collect();
        slot.write(Box::new(skep_image_list { images }));
        Ok(())
    })
}

/// Makes an image of a root file system's tar archive, which may be compressed by gzip or zstd, and
/// names it `reference`, if that is not NULL. Its configuration is empty but for the platform.
///
/// Errors: SKEP_NOT_FOUND without such a file; SKEP_INVALID_INPUT for a bad reference;
/// SKEP_INVALID_DATA if the archive is malformed, truncated or empty; SKEP_RESOURCE_EXHAUSTED on a
/// full disk. The store is as before then.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_import_image(
    engine: Option<&skep_engine>,
    tar: Text<'_>,
    reference: Text<'_>,
    image: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_import_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let tar = tar.path(call, "tar")?;
        let reference = reference.optional(call, "reference")?;
        let slot = call.given(image, "image")?;
        slot.write(Box::new(images.import(tar, reference)?.into()));
        Ok(())
    })
}

/// Finds an image by a reference, such as "localhost/app:1", or by its id: "sha256:..." or at least
/// four of the digits from the front.
///
/// Errors: SKEP_NOT_FOUND; SKEP_INVALID_INPUT for what is neither, or begins several ids;
/// SKEP_INVALID_DATA, SKEP_DIGEST_MISMATCH and SKEP_UNSUPPORTED if it is damaged or no image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_find_image(
    engine: Option<&skep_engine>,
    name: Text<'_>,
    image: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_find_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let name = name.str(call, "name")?;
        let slot = call.given(image, "image")?;
        slot.write(Box::new(images.find(name)?.into()));
        Ok(())
    })
}

/// Lists all images of the store, in the order in which they came. What is damaged is left out.
///
/// Errors: SKEP_INVALID_DATA if the store's index is damaged.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_list_images(
    engine: Option<&skep_engine>,
    list: Option<&mut MaybeUninit<Box<skep_image_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_list_images", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let slot = call.given(list, "list")?;
        // One that is removed meanwhile is not found any more, and not in the list.
        let found = |line: skep::image::ImageSummary| images.find(&line.id.to_string()).ok();
        let images = images.list()?.into_iter().filter_map(found).map(skep_image::from).collect();
        slot.write(Box::new(skep_image_list { images }));
        Ok(())
    })
}

/// Names the image that skep_engine_find_image() finds as `name` `reference` too. Another image of
/// that name loses it, and stays.
///
/// Errors: SKEP_NOT_FOUND; SKEP_INVALID_INPUT if either is malformed, or `reference` has a digest.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_tag_image(
    engine: Option<&skep_engine>,
    name: Text<'_>,
    reference: Text<'_>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_tag_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        images.tag(name.str(call, "name")?, reference.str(call, "reference")?)?;
        Ok(())
    })
}

/// Removes a name and, if it was the image's last, the image. An id removes the image with all its
/// names.
///
/// Errors: SKEP_NOT_FOUND; SKEP_IN_USE while a container of it runs, and then nothing was removed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_remove_image(
    engine: Option<&skep_engine>,
    name: Text<'_>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_remove_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        images.remove(name.str(call, "name")?)?;
        Ok(())
    })
}

/// The image's id, "sha256:...": the digest of its configuration. Valid as long as the image; NULL
/// for NULL, as with the functions below.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_id(image: Option<&skep_image>) -> *const c_char {
    image.map_or(ptr::null(), |image| image.id.as_ptr())
}

/// The digest of its manifest, "sha256:...". Valid as long as the image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_digest(image: Option<&skep_image>) -> *const c_char {
    image.map_or(ptr::null(), |image| image.digest.as_ptr())
}

/// Its name number `index`, from 0, such as "docker.io/library/debian:12"; NULL behind the last: an
/// image may have none. Valid as long as the image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_reference(image: Option<&skep_image>, index: usize) -> *const c_char {
    let reference = image.and_then(|image| image.references.get(index));
    reference.map_or(ptr::null(), |reference| reference.as_ptr())
}

/// When it was built, in RFC 3339, or NULL if its configuration does not say. Valid as long as the
/// image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_created(image: Option<&skep_image>) -> *const c_char {
    let created = image.and_then(|image| image.created.as_ref());
    created.map_or(ptr::null(), |created| created.as_ptr())
}

/// Bytes of what the store keeps for it, which may be shared with other images; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_size(image: Option<&skep_image>) -> u64 {
    image.map_or(0, |image| image.image.size())
}

/// All of it as a JSON object: `id`, `digest`, `references`, `size`, and as the image has them
/// `config` and `manifest`. Valid as long as the image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_inspect(image: Option<&skep_image>) -> *const c_char {
    let Some(image) = image else { return ptr::null() };
    let text = || string(&image.image.inspect().to_string());
    image.inspection.get_or_init(text).as_ptr()
}

/// Frees an image. NULL is fine. The image stays in the store, and commands that were made from it
/// are as they were.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_free(image: Option<Box<skep_image>>) {
    panic::free(image);
}

/// How many images there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_list_length(list: Option<&skep_image_list>) -> usize {
    list.map_or(0, |list| list.images.len())
}

/// Image number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_list_at(
    list: Option<&skep_image_list>,
    index: usize,
) -> Option<&skep_image> {
    list.and_then(|list| list.images.get(index))
}

/// Frees a list and its images. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_list_free(list: Option<Box<skep_image_list>>) {
    panic::free(list);
}
