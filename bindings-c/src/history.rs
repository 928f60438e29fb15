//! How an image came to be.

use std::ffi::{CString, c_char};
use std::ptr;

use skep::image::Step;

use crate::error::string;
use crate::image::skep_image;

/// One step of how an image came to be. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_step {
    created: Option<CString>,
    created_by: Option<CString>,
    author: Option<CString>,
    comment: Option<CString>,
    layer: Option<CString>,
    layer_size: u64,
}

impl From<Step> for skep_step {
    fn from(Step { history, layer }: Step) -> skep_step {
        let text = |text: Option<String>| text.as_deref().map(string);
        skep_step {
            created: text(history.created),
            created_by: text(history.created_by),
            author: text(history.author),
            comment: text(history.comment),
            layer: layer.as_ref().map(|layer| string(&layer.digest.to_string())),
            layer_size: layer.map_or(0, |layer| layer.size),
        }
    }
}

/// How many steps an image's history has; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_history_length(image: Option<&skep_image>) -> usize {
    image.map_or(0, |image| image.history().len())
}

/// Step number `index` of an image's history, from 0, which is the bottom; NULL behind the last. It is
/// the image's, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_history_at(
    image: Option<&skep_image>,
    index: usize,
) -> Option<&skep_step> {
    image.and_then(|image| image.history().get(index))
}

/// When it was made, in RFC 3339. NULL if the history does not say, and for NULL, as with the functions
/// below; valid as long as the image.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_created(step: Option<&skep_step>) -> *const c_char {
    pointer(step, |step| &step.created)
}

/// The command that made it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_created_by(step: Option<&skep_step>) -> *const c_char {
    pointer(step, |step| &step.created_by)
}

/// Who made it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_author(step: Option<&skep_step>) -> *const c_char {
    pointer(step, |step| &step.author)
}

/// Anything else that is said of it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_comment(step: Option<&skep_step>) -> *const c_char {
    pointer(step, |step| &step.comment)
}

/// The digest of the layer that it made, "sha256:..."; NULL if it made none.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_layer(step: Option<&skep_step>) -> *const c_char {
    pointer(step, |step| &step.layer)
}

/// Bytes of that layer's blob; 0 without one.
#[unsafe(no_mangle)]
pub extern "C" fn skep_step_layer_size(step: Option<&skep_step>) -> u64 {
    step.map_or(0, |step| step.layer_size)
}

fn pointer(
    step: Option<&skep_step>,
    field: impl FnOnce(&skep_step) -> &Option<CString>,
) -> *const c_char {
    step.and_then(|step| field(step).as_ref()).map_or(ptr::null(), |text| text.as_ptr())
}
