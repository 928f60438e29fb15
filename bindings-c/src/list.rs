//! Lists that functions give.

use std::ffi::{CString, c_char};
use std::path::PathBuf;
use std::ptr;

use skep::image::Descriptor;

use crate::error::{path_string, string};
use crate::panic;

/// Several strings. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_text_list {
    texts: Vec<CString>,
}

impl From<Vec<String>> for skep_text_list {
    fn from(texts: Vec<String>) -> skep_text_list {
        skep_text_list { texts: texts.iter().map(|text| string(text)).collect() }
    }
}

impl From<Vec<PathBuf>> for skep_text_list {
    fn from(paths: Vec<PathBuf>) -> skep_text_list {
        skep_text_list { texts: paths.iter().map(|path| path_string(path)).collect() }
    }
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_text_list_length(list: Option<&skep_text_list>) -> usize {
    list.map_or(0, |list| list.texts.len())
}

/// String number `index`, from 0; NULL behind the last. Valid as long as the list.
#[unsafe(no_mangle)]
pub extern "C" fn skep_text_list_at(list: Option<&skep_text_list>, index: usize) -> *const c_char {
    let text = list.and_then(|list| list.texts.get(index));
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// Frees a list and its strings. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_text_list_free(list: Option<Box<skep_text_list>>) {
    panic::free(list);
}

/// What a registry has under a name, or for an image. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_descriptor {
    digest: CString,
    media_type: CString,
    size: u64,
    inspection: CString,
}

/// Several of them. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_descriptor_list {
    descriptors: Vec<skep_descriptor>,
}

impl From<Descriptor> for skep_descriptor {
    fn from(descriptor: Descriptor) -> skep_descriptor {
        // It came as JSON, and has no keys but text.
        let inspection = serde_json::to_string(&descriptor).unwrap_or_default();
        skep_descriptor {
            digest: string(&descriptor.digest.to_string()),
            media_type: string(&descriptor.media_type),
            size: descriptor.size,
            inspection: string(&inspection),
        }
    }
}

impl From<Vec<Descriptor>> for skep_descriptor_list {
    fn from(descriptors: Vec<Descriptor>) -> skep_descriptor_list {
        skep_descriptor_list { descriptors: descriptors.into_iter().map(Into::into).collect() }
    }
}

/// The digest of its bytes, "sha256:...". Valid as long as the descriptor; NULL for NULL, as with the
/// functions below.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_digest(descriptor: Option<&skep_descriptor>) -> *const c_char {
    descriptor.map_or(ptr::null(), |descriptor| descriptor.digest.as_ptr())
}

/// Its media type, such as "application/vnd.oci.image.manifest.v1+json". Valid as long as the
/// descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_media_type(
    descriptor: Option<&skep_descriptor>,
) -> *const c_char {
    descriptor.map_or(ptr::null(), |descriptor| descriptor.media_type.as_ptr())
}

/// The number of its bytes; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_size(descriptor: Option<&skep_descriptor>) -> u64 {
    descriptor.map_or(0, |descriptor| descriptor.size)
}

/// All of it as a JSON object, as the registry has it: `artifactType` and `annotations` too. Valid as
/// long as the descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_inspect(descriptor: Option<&skep_descriptor>) -> *const c_char {
    descriptor.map_or(ptr::null(), |descriptor| descriptor.inspection.as_ptr())
}

/// Frees a descriptor. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_free(descriptor: Option<Box<skep_descriptor>>) {
    panic::free(descriptor);
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_list_length(list: Option<&skep_descriptor_list>) -> usize {
    list.map_or(0, |list| list.descriptors.len())
}

/// Descriptor number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_list_at(
    list: Option<&skep_descriptor_list>,
    index: usize,
) -> Option<&skep_descriptor> {
    list.and_then(|list| list.descriptors.get(index))
}

/// Frees a list and its descriptors. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_descriptor_list_free(list: Option<Box<skep_descriptor_list>>) {
    panic::free(list);
}
