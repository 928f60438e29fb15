//! A container whose output is being collected, for event loops.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use skep::{Child, Collector};

use crate::error::{skep_code, skep_error, string};
use crate::exit::skep_usage;
use crate::output::skep_output;
use crate::panic::{self, Call, call};

/// A running container whose input is being written and whose output is being read:
/// skep_command_run() in steps. For one thread at a time.
///
/// Freeing it kills the container, as freeing a child does.
#[derive(Debug)]
pub struct skep_collector {
    /// None once skep_collector_wait() has used it up.
    collector: Option<Collector>,
    id: CString,
}

impl From<Collector> for skep_collector {
    fn from(collector: Collector) -> skep_collector {
        skep_collector { id: string(collector.child().id()), collector: Some(collector) }
    }
}

/// The id of its container: 32 hexadecimal digits. Valid as long as the collector; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_id(collector: Option<&skep_collector>) -> *const c_char {
    collector.map_or(ptr::null(), |collector| collector.id.as_ptr())
}

/// A file descriptor that is readable whenever skep_collector_advance() has something to do: for
/// poll(2), epoll(7) and event loops. It is the collector's: do not read from it or close it, and
/// take it out of what you wait with before you free the collector. -1 after skep_collector_wait(),
/// and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_fd(collector: Option<&skep_collector>) -> c_int {
    let collector = collector.and_then(|collector| collector.collector.as_ref());
    collector.map_or(-1, |collector| collector.as_fd().as_raw_fd())
}

/// Writes and reads what can be without waiting, at most 1 MiB through each pipe. `output` is NULL
/// as long as the container runs, and what it said and how it ended when it has ended.
///
/// Errors: SKEP_KEEPER_LOST if the keeper was killed, and the container with it; SKEP_INVALID_STATE
/// once the output was given, and in a forked copy of the program that started it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_advance(
    collector: Option<&mut skep_collector>,
    output: Option<&mut MaybeUninit<Option<Box<skep_output>>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_collector_advance", error, |call| {
        let collector = call.given(collector, "collector")?;
        let slot = call.given(output, "output")?;
        let collector = collector.collector.as_mut().ok_or_else(|| used_up(call))?;
        slot.write(collector.advance()?.map(|output| Box::new(output.into())));
        Ok(())
    })
}

/// Waits for the container's end, and gives what it said and how it ended. The collector is still
/// yours to free.
///
/// Errors: as skep_collector_advance().
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_wait(
    collector: Option<&mut skep_collector>,
    output: Option<&mut MaybeUninit<Box<skep_output>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_collector_wait", error, |call| {
        let collector = call.given(collector, "collector")?;
        let slot = call.given(output, "output")?;
        let collector = collector.collector.take().ok_or_else(|| used_up(call))?;
        slot.write(Box::new(collector.wait()?.into()));
        Ok(())
    })
}

/// Sends a signal to the container's command, as skep_child_signal(). One that has ended is left
/// alone.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_signal(
    collector: Option<&skep_collector>,
    number: c_int,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_collector_signal", error, |call| Ok(child(call, collector)?.signal(number)?))
}

/// Kills everything in the container, with SIGKILL; go on with skep_collector_advance() to its end.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_kill(
    collector: Option<&skep_collector>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_collector_kill", error, |call| Ok(child(call, collector)?.kill()?))
}

/// What the container has used so far.
///
/// Errors: those of reading the files of its control group.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_usage(
    collector: Option<&skep_collector>,
    usage: Option<&mut MaybeUninit<skep_usage>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_collector_usage", error, |call| {
        let child = child(call, collector)?;
        call.given(usage, "usage")?.write(child.usage()?.into());
        Ok(())
    })
}

/// Frees a collector: kills the container, if it still runs, and removes what is left of it. NULL is
/// fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_collector_free(collector: Option<Box<skep_collector>>) {
    panic::free(collector);
}

fn child(call: Call, collector: Option<&skep_collector>) -> Result<&Child, skep_error> {
    let collector = call.given(collector, "collector")?.collector.as_ref();
    Ok(collector.ok_or_else(|| used_up(call))?.child())
}

fn used_up(call: Call) -> skep_error {
    call.refuse("skep_collector_wait() has been called".into())
        .with_code(skep_code::SKEP_INVALID_STATE, skep::ErrorKind::InvalidState.name())
}
