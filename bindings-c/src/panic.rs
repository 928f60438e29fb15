//! The boundary to C: checks arguments, catches panics, and hands errors over.

use std::any::Any;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::{SKEP_OK, skep_code, skep_error};

#[cfg(not(panic = "unwind"))]
compile_error!("a panic has to unwind as far as this: build without panic=abort");

/// Where a caller wants its error; may be NULL.
pub(crate) type ErrorSlot<'a> = Option<&'a mut MaybeUninit<Box<skep_error>>>;

/// A call of the C function with this name, for the errors of its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Call(pub(crate) &'static str);

impl Call {
    /// What the caller must give, and calls `name`.
    pub(crate) fn given<T>(self, argument: Option<T>, name: &str) -> Result<T, skep_error> {
        argument.ok_or_else(|| self.refuse(format!("its argument {name} is NULL")))
    }

    /// A time of the caller's, in milliseconds.
    pub(crate) fn milliseconds(self, time: i64, name: &str) -> Result<Duration, skep_error> {
        let time = u64::try_from(time);
        let time = time.map_err(|_| self.refuse(format!("its argument {name} is negative")))?;
        Ok(Duration::from_millis(time))
    }

    pub(crate) fn refuse(self, cause: String) -> skep_error {
        skep::Error::invalid_input("call", self.0).cause(cause).into()
    }
}

/// Runs `body`; its error goes to `slot`, and the code of it is returned.
pub(crate) fn call(
    name: &'static str,
    slot: ErrorSlot<'_>,
    body: impl FnOnce(Call) -> Result<(), skep_error>,
) -> c_int {
    let Err(error) = contained(name, || body(Call(name))) else { return SKEP_OK };
    let code = error.code();
    if let Some(slot) = slot {
        slot.write(Box::new(error));
    }
    code
}

/// Runs `body`; its error, or what it panics with, comes back.
///
/// Handles are as safe to use after a panic as a Rust program's whose thread has panicked: core's
/// locks are taken again, and nothing here is left half changed.
pub(crate) fn contained(
    name: &'static str,
    body: impl FnOnce() -> Result<(), skep_error>,
) -> Result<(), skep_error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let error = skep::Error::invalid_input("call", name)
            .cause(format!("skep has a defect and panicked: {}", text(&*panic)))
            .fix("report it");
        Err(skep_error::from(error).with_code(skep_code::SKEP_PANIC, "Panic"))
    })
}

/// Frees what the caller has given back.
pub(crate) fn free<T>(object: Option<Box<T>>) {
    // There is nobody to be told of a panic.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(object)));
}

fn text(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().copied().unwrap_or("no reason is given"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error() {
        let mut slot = MaybeUninit::uninit();
        let code = call("skep_test", Some(&mut slot), |_| panic!("number {}", 7));
        assert_eq!(code, skep_code::SKEP_PANIC as c_int);
        // SAFETY: there is an error, for there is a code.
        let error = unsafe { slot.assume_init() };
        assert_eq!(
            error.message(),
            c"cannot call skep_test: skep has a defect and panicked: number 7; report it"
        );
    }

    #[test]
    fn a_panic_while_freeing_stops_here() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("while dropped");
            }
        }
        free(Some(Box::new(Bomb)));
    }
}
