//! The engine: opens a store, and makes everything else.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use skep::{Engine, Images};

use crate::argument::Text;
use crate::error::skep_error;
use crate::panic::{self, call};

/// A container engine inside your program, on a store of images.
///
/// Any number of threads may use it at once. It starts no thread. Its first container starts a small
/// process, the keeper, which holds all of them and ends with the last object that was made from the
/// engine, or with your program, however that ends.
#[derive(Debug)]
pub struct skep_engine {
    pub(crate) engine: Engine,
    /// Its own, or the same with a cancel or a bound.
    pub(crate) images: Images,
}

impl From<Engine> for skep_engine {
    fn from(engine: Engine) -> skep_engine {
        skep_engine { images: engine.images().clone(), engine }
    }
}

/// Opens an engine on the store at `path`, which is made if it is not there; NULL is
/// "/var/lib/skep". What crashed programs have left in the store is removed.
///
/// Several programs may use one store, and one program several engines.
///
/// Errors: SKEP_INVALID_DATA for a directory that holds something else, or a store of another
/// version; SKEP_UNSUPPORTED on a network file system; SKEP_PERMISSION_DENIED without the rights.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_open(
    path: Text<'_>,
    engine: Option<&mut MaybeUninit<Box<skep_engine>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_open", error, |call| {
        let slot = call.given(engine, "engine")?;
        let engine = match path.is_null() {
            true => Engine::open_default()?,
            false => Engine::open(path.path(call, "path")?)?,
        };
        slot.write(Box::new(engine.into()));
        Ok(())
    })
}

/// Makes another handle of an engine, through which an image, or an archive of images, becomes at
/// most `bytes`: what its layers are uncompressed, holes of sparse files included.
///
/// It holds for what is loaded, imported, pulled and saved through it, and for the unpacking of images
/// that are found or made there. Beyond it, these fail with SKEP_RESOURCE_EXHAUSTED and leave the store
/// as it was. Without, an image may become 50 times as large as its blobs, or 16 GiB if that is more.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_max_size(
    engine: Option<&skep_engine>,
    bytes: u64,
    bounded: Option<&mut MaybeUninit<Box<skep_engine>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_engine_max_size", error, |call| {
        let engine = call.given(engine, "engine")?;
        let slot = call.given(bounded, "bounded")?;
        let images = engine.images.max_size(bytes);
        slot.write(Box::new(skep_engine { engine: engine.engine.clone(), images }));
        Ok(())
    })
}

/// Frees an engine. NULL is fine.
///
/// Images, commands and containers that were made from it go on, and keep what they need of it:
/// no order of freeing is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn skep_engine_free(engine: Option<Box<skep_engine>>) {
    panic::free(engine);
}
