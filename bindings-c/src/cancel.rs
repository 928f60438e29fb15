//! Cancelling what takes long, from another thread.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use skep::Cancel;

use crate::engine::skep_engine;
use crate::error::skep_error;
use crate::image::skep_image;
use crate::panic::{self, call};
use crate::registries::skep_registries;

/// Ends operations that take long: those through the engines, images and registries that were made
/// with it. Any number of threads may use it at once.
#[derive(Debug)]
pub struct skep_cancel {
    cancel: Cancel,
}

/// Makes one that is not cancelled.
#[unsafe(no_mangle)]
pub extern "C" fn skep_cancel_new(
    cancel: Option<&mut MaybeUninit<Box<skep_cancel>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_cancel_new", error, |call| {
        call.given(cancel, "cancel")?.write(Box::new(skep_cancel { cancel: Cancel::new() }));
        Ok(())
    })
}

/// Makes what was made with it fail with SKEP_CANCELLED, now and later: operations under way usually
/// within a few milliseconds. What is all but done may still succeed. It is for good, and to cancel
/// again does nothing; nor does NULL.
///
/// Any thread may call it, one that is told of progress too; a signal handler may not: it takes a
/// lock. The resolution of a host's name and the kernel's writing to the disk are not interrupted.
#[unsafe(no_mangle)]
pub extern "C" fn skep_cancel_cancel(cancel: Option<&skep_cancel>) {
    if let Some(cancel) = cancel {
        // Nobody can be told of a panic.
        let _ = panic::contained("skep_cancel_cancel", || {
            cancel.cancel.cancel();
            Ok(())
        });
    }
}

/// Whether it is cancelled; false for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_cancel_is_cancelled(cancel: Option<&skep_cancel>) -> bool {
    cancel.is_some_and(|cancel| cancel.cancel.is_cancelled())
}

/// Frees it. NULL is fine. What was made with it goes on, and cannot be cancelled any more.
#[unsafe(no_mangle)]
pub extern "C" fn skep_cancel_free(cancel: Option<Box<skep_cancel>>) {
    panic::free(cancel);
}

/// Makes another handle of an engine, whose operations on images `cancel` ends: be they waiting for a
/// registry, for another process or for a slow pipe. So it does with those on images that are found,
/// loaded or pulled through it, on containers of these, and with the unpacking at a start. Containers
/// themselves are not ended.
///
/// Nothing is half visible after it; a pull leaves what it has fetched for the next.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_cancellable(
    engine: Option<&skep_engine>,
    cancel: Option<&skep_cancel>,
    cancellable: Option<&mut MaybeUninit<Box<skep_engine>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_cancellable", error, |call| {
        let engine = call.given(engine, "engine")?;
        let cancel = &call.given(cancel, "cancel")?.cancel;
        let slot = call.given(cancellable, "cancellable")?;
        let images = engine.images.cancellable(cancel);
        slot.write(Box::new(skep_engine { engine: engine.engine.clone(), images }));
        Ok(())
    })
}

/// Makes another handle of an image, whose operations `cancel` ends, and nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_cancellable(
    image: Option<&skep_image>,
    cancel: Option<&skep_cancel>,
    cancellable: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_image_cancellable", error, |call| {
        let image = &call.given(image, "image")?.image;
        let cancel = &call.given(cancel, "cancel")?.cancel;
        let slot = call.given(cancellable, "cancellable")?;
        slot.write(Box::new(image.cancellable(cancel).into()));
        Ok(())
    })
}

/// Makes another handle of registries, on the same connections, whose questions `cancel` ends. Pulls
/// and pushes are ended by their engine's.
///
/// Errors: the first that an option's function returned.
#[unsafe(no_mangle)]
pub extern "C" fn skep_registries_cancellable(
    registries: Option<&skep_registries>,
    cancel: Option<&skep_cancel>,
    cancellable: Option<&mut MaybeUninit<Box<skep_registries>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_registries_cancellable", error, |call| {
        let registries = call.given(registries, "registries")?;
        let cancel = &call.given(cancel, "cancel")?.cancel;
        let slot = call.given(cancellable, "cancellable")?;
        slot.write(Box::new(registries.cancellable(cancel)?));
        Ok(())
    })
}
