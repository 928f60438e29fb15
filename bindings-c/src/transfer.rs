//! Pull and push.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use skep::image::registry::{PullOptions, PushOptions, Pushed};

use crate::argument::Text;
use crate::engine::skep_engine;
use crate::error::{skep_error, string};
use crate::image::skep_image;
use crate::panic::{self, call};
use crate::policy::skep_policy;
use crate::registries::skep_registries;
use crate::setting::{Setting, build};

/// How far one layer of a pull is. Later versions may have more fields at its end: read it where it
/// is.
#[derive(Debug)]
#[repr(C)]
pub struct skep_pull_progress {
    /// The digest of the layer's blob, "sha256:...".
    pub layer: *const c_char,
    /// The blob's bytes.
    pub total: u64,
    /// Those of them that are here.
    pub fetched: u64,
    /// Whether the layer is unpacked.
    pub unpacked: bool,
}

/// How a registry came to have a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_pushed {
    /// It has not all of it yet.
    SKEP_PUSHED_NOT = 0,
    /// It was sent.
    SKEP_PUSHED_SENT = 1,
    /// The repository had it.
    SKEP_PUSHED_EXISTED = 2,
    /// Another repository of the registry had it.
    SKEP_PUSHED_MOUNTED = 3,
    /// In a way that is newer than this interface.
    SKEP_PUSHED_OTHERWISE = 4,
}

/// How far one blob of a push is: a layer, or the configuration. Later versions may have more fields
/// at its end: read it where it is.
#[derive(Debug)]
#[repr(C)]
pub struct skep_push_progress {
    /// The blob's digest, "sha256:...".
    pub blob: *const c_char,
    /// The blob's bytes.
    pub total: u64,
    /// Those of them that were sent: in this attempt, for after a break it begins again.
    pub sent: u64,
    /// How the registry came to have it: one of `enum skep_pushed`.
    pub done: c_int,
}

/// How images are pulled. For one thread at a time while options are set; any number of threads may
/// pull with it.
///
/// The functions that set options return a code and may be called without looking at it: the first
/// that failed fails every later pull, with its error.
#[derive(Debug, Default)]
pub struct skep_pull_options {
    setting: Setting<PullOptions>,
}

/// How images are pushed; otherwise as skep_pull_options.
#[derive(Debug, Default)]
pub struct skep_push_options {
    setting: Setting<PushOptions>,
}

/// What a caller wants back with each report.
struct User(*mut c_void);

impl User {
    /// Not the field, or a closure would have that alone.
    fn get(&self) -> *mut c_void {
        self.0
    }
}

// SAFETY: it is only handed to the function that came with it, and that any thread may do so is the
// caller's promise.
unsafe impl Send for User {}
// SAFETY: as above.
unsafe impl Sync for User {}

/// Pulls an image from its registry, or a mirror of that, into the store, and names it `reference`.
/// What the store has already is not fetched again. `options` may be NULL: for this machine's
/// platform, by https, four blobs at once, then unpacked.
///
/// Every byte is checked against its digest before anything is visible. A pull that fails, or is
/// killed, leaves what it has fetched for the next. It ends all threads that it starts, which block all
/// signals, before it returns.
///
/// Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a bad reference;
/// SKEP_NOT_FOUND if the registry has no such image; SKEP_PERMISSION_DENIED if it lets nobody in with
/// these credentials, or the policy refuses the image, which skep_error_operation() calls "accept";
/// SKEP_UNSUPPORTED if there is none for the platform; SKEP_DIGEST_MISMATCH or
/// SKEP_INVALID_DATA if what comes is not what was announced; SKEP_TIMED_OUT if the registry is silent;
/// SKEP_RESOURCE_EXHAUSTED if it wants to be left alone or the disk is full; SKEP_IO if it is not
/// reached or fails; SKEP_CANCELLED, see skep_engine_cancellable().
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_pull_image(
    engine: Option<&skep_engine>,
    reference: Text<'_>,
    options: Option<&skep_pull_options>,
    image: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_pull_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let reference = reference.str(call, "reference")?;
        let slot = call.given(image, "image")?;
        let image = match options {
            Some(options) => images.pull(reference, options.setting.get()?)?,
            None => images.pull(reference, &PullOptions::new())?,
        };
        slot.write(Box::new(image.into()));
        Ok(())
    })
}

/// Pushes an image to the registry of `reference`, under that name; its digest there is
/// skep_image_digest(). What the registry has is not sent. `options` may be NULL: by https, four blobs
/// at once. It ends all threads that it starts before it returns.
///
/// Errors: as skep_engine_pull_image(); SKEP_INVALID_INPUT for a bad reference, or one with another
/// digest; SKEP_NOT_FOUND if the image was removed; SKEP_PERMISSION_DENIED if one may not push there.
/// The registry may have blobs more then, and no other image under that name.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_push_image(
    engine: Option<&skep_engine>,
    image: Option<&skep_image>,
    reference: Text<'_>,
    options: Option<&skep_push_options>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_push_image", error, |call| {
        let images = &call.given(engine, "engine")?.images;
        let image = &call.given(image, "image")?.image;
        let reference = reference.str(call, "reference")?;
        match options {
            Some(options) => images.push(image, reference, options.setting.get()?)?,
            None => images.push(image, reference, &PushOptions::new())?,
        };
        Ok(())
    })
}

/// Makes options of a pull, all as they are by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_new(
    options: Option<&mut MaybeUninit<Box<skep_pull_options>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_pull_options_new", error, |call| {
        call.given(options, "options")?.write(Box::default());
        Ok(())
    })
}

/// Reaches registries as `registries` says now. They may be freed before the options.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_registries(
    options: Option<&mut skep_pull_options>,
    registries: Option<&skep_registries>,
) -> c_int {
    pull("skep_pull_options_set_registries", options, |call, options| {
        Ok(options.registries(call.given(registries, "registries")?.get()?))
    })
}

/// Pulls what `policy`, as it is now, accepts; without one, anything. It may be freed before the
/// options.
///
/// It is enforced before a blob of the image is fetched: what it refuses leaves nothing in the store.
/// What the store has already is not looked at again when it is used.
///
/// Errors: the first that a function of the policy returned.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_policy(
    options: Option<&mut skep_pull_options>,
    policy: Option<&skep_policy>,
) -> c_int {
    pull("skep_pull_options_set_policy", options, |call, options| {
        Ok(options.policy(&call.given(policy, "policy")?.get()?))
    })
}

/// Pulls the image for a platform, OS/ARCHITECTURE[/VARIANT] such as "linux/arm64": this machine's by
/// default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_platform(
    options: Option<&mut skep_pull_options>,
    platform: Text<'_>,
) -> c_int {
    pull("skep_pull_options_set_platform", options, |call, options| {
        Ok(options.platform(platform.str(call, "platform")?.parse()?))
    })
}

/// Fetches so many blobs at once, at least one; 4 by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_parallel(
    options: Option<&mut skep_pull_options>,
    blobs: usize,
) -> c_int {
    pull("skep_pull_options_set_parallel", options, |_, options| Ok(options.parallel(blobs)))
}

/// Whether layers are unpacked at once, as they are by default, or at their first use.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_unpack(
    options: Option<&mut skep_pull_options>,
    unpack: bool,
) -> c_int {
    pull("skep_pull_options_set_unpack", options, |_, options| Ok(options.unpack(unpack)))
}

/// Calls `report` with `user` at each step of each layer: when it begins, every 256 KiB, when it is
/// here, and when it is unpacked.
///
/// Several threads call it, those of the pull and the one that called for it, one at a time, and wait
/// until it returns. What it is given is valid until then. It may cancel the pull, and must neither
/// throw nor longjmp(3), nor wait for the pull. `user`, which may be NULL, is yours, and in use as long
/// as a pull with these options is under way.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_set_progress(
    options: Option<&mut skep_pull_options>,
    report: Option<extern "C" fn(user: *mut c_void, progress: &skep_pull_progress)>,
    user: *mut c_void,
) -> c_int {
    pull("skep_pull_options_set_progress", options, |call, options| {
        let (report, user) = (call.given(report, "report")?, User(user));
        Ok(options.progress(move |progress| {
            let layer = string(&progress.layer.to_string());
            let progress = skep_pull_progress {
                layer: layer.as_ptr(),
                total: progress.total,
                fetched: progress.fetched,
                unpacked: progress.unpacked,
            };
            report(user.get(), &progress);
        }))
    })
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_pull_options_free(options: Option<Box<skep_pull_options>>) {
    panic::free(options);
}

/// Makes options of a push, all as they are by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_new(
    options: Option<&mut MaybeUninit<Box<skep_push_options>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_push_options_new", error, |call| {
        call.given(options, "options")?.write(Box::default());
        Ok(())
    })
}

/// Reaches registries as `registries` says now. They may be freed before the options.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_set_registries(
    options: Option<&mut skep_push_options>,
    registries: Option<&skep_registries>,
) -> c_int {
    push("skep_push_options_set_registries", options, |call, options| {
        Ok(options.registries(call.given(registries, "registries")?.get()?))
    })
}

/// Sends so many blobs at once, at least one; 4 by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_set_parallel(
    options: Option<&mut skep_push_options>,
    blobs: usize,
) -> c_int {
    push("skep_push_options_set_parallel", options, |_, options| Ok(options.parallel(blobs)))
}

/// Sends blobs in pieces of so many bytes, for registries and proxies that bound a request; in one
/// piece by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_set_chunk(
    options: Option<&mut skep_push_options>,
    bytes: u64,
) -> c_int {
    push("skep_push_options_set_chunk", options, |_, options| Ok(options.chunk(bytes)))
}

/// Looks for blobs in this repository of the same registry too, such as "library/debian", before they
/// are sent. Those that the image has a name in are looked in anyway.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_add_mount_from(
    options: Option<&mut skep_push_options>,
    repository: Text<'_>,
) -> c_int {
    push("skep_push_options_add_mount_from", options, |call, options| {
        Ok(options.mount_from(repository.str(call, "repository")?))
    })
}

/// Calls `report` with `user` at each step of each blob: when it begins, every 256 KiB that are sent,
/// and when the registry has it. The manifest, which comes last, is not among them. Otherwise as
/// skep_pull_options_set_progress().
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_set_progress(
    options: Option<&mut skep_push_options>,
    report: Option<extern "C" fn(user: *mut c_void, progress: &skep_push_progress)>,
    user: *mut c_void,
) -> c_int {
    push("skep_push_options_set_progress", options, |call, options| {
        let (report, user) = (call.given(report, "report")?, User(user));
        Ok(options.progress(move |progress| {
            let blob = string(&progress.blob.to_string());
            let progress = skep_push_progress {
                blob: blob.as_ptr(),
                total: progress.total,
                sent: progress.sent,
                done: pushed(progress.done) as c_int,
            };
            report(user.get(), &progress);
        }))
    })
}

/// Frees options. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_push_options_free(options: Option<Box<skep_push_options>>) {
    panic::free(options);
}

fn pull(
    name: &'static str,
    options: Option<&mut skep_pull_options>,
    change: impl FnOnce(panic::Call, PullOptions) -> Result<PullOptions, skep_error>,
) -> c_int {
    build(name, options.map(|options| &mut options.setting), change)
}

fn push(
    name: &'static str,
    options: Option<&mut skep_push_options>,
    change: impl FnOnce(panic::Call, PushOptions) -> Result<PushOptions, skep_error>,
) -> c_int {
    build(name, options.map(|options| &mut options.setting), change)
}

fn pushed(done: Option<Pushed>) -> skep_pushed {
    match done {
        None => skep_pushed::SKEP_PUSHED_NOT,
        Some(Pushed::Sent) => skep_pushed::SKEP_PUSHED_SENT,
        Some(Pushed::Existed) => skep_pushed::SKEP_PUSHED_EXISTED,
        Some(Pushed::Mounted) => skep_pushed::SKEP_PUSHED_MOUNTED,
        Some(_) => skep_pushed::SKEP_PUSHED_OTHERWISE,
    }
}
