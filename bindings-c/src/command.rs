//! A container to be started: made, started, freed. What it runs and may use is set in `options`.

use std::ffi::c_int;
use std::mem::MaybeUninit;

use skep::{Command, Root};

use crate::argument::Text;
use crate::child::skep_child;
use crate::collector::skep_collector;
use crate::engine::skep_engine;
use crate::error::skep_error;
use crate::image::skep_image;
use crate::output::skep_output;
use crate::panic::{self, Call, call};
use crate::setting::Setting;

/// A container to be started: what runs in it, and what it may use.
///
/// Every option has a safe default: new namespaces, docker's capabilities, masks and seccomp filter,
/// no_new_privs, no network but loopback, no limits.
///
/// For one thread at a time. It can be started again and again, and changed in between; each start
/// is a new container. Nothing of it is used by the containers it has started.
///
/// The functions that set options return a code and may be called without looking at it: the first
/// that failed fails every later start, with its error.
#[derive(Debug)]
pub struct skep_command {
    pub(crate) setting: Setting<Command>,
}

/// Makes a command for a container of an image. Both stay yours, and may be freed before it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_new(
    engine: Option<&skep_engine>,
    image: Option<&skep_image>,
    command: Option<&mut MaybeUninit<Box<skep_command>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    let root = |call: Call| Ok(Root::from(&call.given(image, "image")?.image));
    new("skep_command_new", engine, root, command, error)
}

/// Makes a command for a container whose root file system is the host's directory `path`. What the
/// container writes goes elsewhere, and is gone with it. Whether the directory is there is found out
/// at the start.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_new_directory(
    engine: Option<&skep_engine>,
    path: Text<'_>,
    command: Option<&mut MaybeUninit<Box<skep_command>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    let root = |call| Ok(Root::directory(path.path(call, "path")?));
    new("skep_command_new_directory", engine, root, command, error)
}

/// Makes a command for a container whose root file system is the host's own, without the file
/// systems mounted below it: programs and libraries are there, and no image is needed. As
/// skep_command_new_directory() of "/".
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_new_host(
    engine: Option<&skep_engine>,
    command: Option<&mut MaybeUninit<Box<skep_command>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    new("skep_command_new_host", engine, |_| Ok(Root::host()), command, error)
}

fn new(
    name: &'static str,
    engine: Option<&skep_engine>,
    root: impl FnOnce(Call) -> Result<Root, skep_error>,
    command: Option<&mut MaybeUninit<Box<skep_command>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call(name, error, |call| {
        let engine = &call.given(engine, "engine")?.engine;
        let root = root(call)?;
        let slot = call.given(command, "command")?;
        slot.write(Box::new(skep_command { setting: Setting::new(engine.command(root)) }));
        Ok(())
    })
}

/// Runs a container to its end and collects what it says, in memory. Waits for it; to be able to
/// kill it from elsewhere, set a timeout, or use skep_command_spawn() or skep_command_collect().
///
/// Standard input is what skep_command_set_input() has set, or else empty; standard output and error
/// are collected. How it ended is in the output: a timeout or want of memory is no error.
///
/// Errors: as skep_command_spawn().
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_run(
    command: Option<&mut skep_command>,
    output: Option<&mut MaybeUninit<Box<skep_output>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_command_run", error, |call| {
        let command = call.given(command, "command")?.setting.get_mut()?;
        let slot = call.given(output, "output")?;
        slot.write(Box::new(command.output()?.into()));
        Ok(())
    })
}

/// Starts a container, and returns when its command runs. Standard input, output and error are your
/// program's own, where nothing else is set.
///
/// Errors: the first that an option's function returned; SKEP_INVALID_INPUT for a value that is
/// wrong; SKEP_NOT_FOUND for a command, user, mount source or root that is not there;
/// SKEP_NOT_EXECUTABLE for a command that is no program; SKEP_UNSUPPORTED for a limit that this
/// machine cannot enforce; SKEP_PERMISSION_DENIED without the rights; SKEP_RESOURCE_EXHAUSTED at
/// limits of the host; SKEP_INVALID_STATE in a forked copy of the program that opened the engine.
/// Nothing is left of the container then.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_spawn(
    command: Option<&mut skep_command>,
    child: Option<&mut MaybeUninit<Box<skep_child>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_command_spawn", error, |call| {
        let command = call.given(command, "command")?.setting.get_mut()?;
        let slot = call.given(child, "child")?;
        slot.write(Box::new(command.spawn()?.into()));
        Ok(())
    })
}

/// Starts a container as skep_command_run() does, and leaves it to you when its output is collected:
/// for programs with an event loop.
///
/// Errors: as skep_command_spawn().
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_collect(
    command: Option<&mut skep_command>,
    collector: Option<&mut MaybeUninit<Box<skep_collector>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_command_collect", error, |call| {
        let command = call.given(command, "command")?.setting.get_mut()?;
        let slot = call.given(collector, "collector")?;
        slot.write(Box::new(command.collect()?.into()));
        Ok(())
    })
}

/// Frees a command. NULL is fine. Containers that it has started go on.
#[unsafe(no_mangle)]
pub extern "C" fn skep_command_free(command: Option<Box<skep_command>>) {
    panic::free(command);
}
