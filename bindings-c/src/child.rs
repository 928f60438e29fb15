//! A running container.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{ErrorKind, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skep::{Child, ChildStderr, ChildStdin, ChildStdout};

use crate::argument::bytes;
use crate::error::{skep_code, skep_error, string};
use crate::exit::{skep_exit_status, skep_usage};
use crate::panic::{self, Call, call};

/// A running container. Freeing it kills the container and removes what it has written; so does the
/// end of your program, however it ends.
///
/// Any number of threads may use it at once: one may wait while another signals. Only freeing it has
/// to be the last.
#[derive(Debug)]
pub struct skep_child {
    pub(crate) child: Child,
    id: CString,
    stdin: Mutex<Option<ChildStdin>>,
    /// Its number, or -1: whoever asks for it does not wait for a write.
    stdin_fd: AtomicI32,
    stdout: Mutex<Option<ChildStdout>>,
    stderr: Mutex<Option<ChildStderr>>,
}

impl From<Child> for skep_child {
    fn from(mut child: Child) -> skep_child {
        let stdin_fd = child.stdin.as_ref().map_or(-1, |pipe| pipe.as_fd().as_raw_fd());
        skep_child {
            id: string(child.id()),
            stdin_fd: AtomicI32::new(stdin_fd),
            stdin: Mutex::new(child.stdin.take()),
            stdout: Mutex::new(child.stdout.take()),
            stderr: Mutex::new(child.stderr.take()),
            child,
        }
    }
}

/// The container's id: 32 hexadecimal digits. Valid as long as the child; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_id(child: Option<&skep_child>) -> *const c_char {
    child.map_or(ptr::null(), |child| child.id.as_ptr())
}

/// Waits for the container's end, then removes what is left of it. Standard input is not closed: a
/// command that reads it to its end wants skep_child_close_stdin() first. May be called again, with
/// the same status.
///
/// A signal to your program does not end the wait.
///
/// Errors: SKEP_KEEPER_LOST if the keeper was killed, and the container with it;
/// SKEP_RESOURCE_EXHAUSTED as skep_child_exit_fd(), and so with signals, for a child that was started
/// when files were scarce; SKEP_INVALID_STATE in a forked copy of the program that started it, as
/// with the functions below but for those of the pipes: these are the copy's too, as all its
/// descriptors.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_wait(
    child: Option<&skep_child>,
    status: Option<&mut MaybeUninit<skep_exit_status>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_wait", error, |call| {
        let child = &call.given(child, "child")?.child;
        call.given(status, "status")?.write(child.wait()?.into());
        Ok(())
    })
}

/// As skep_child_wait(), for so many milliseconds at most. If the container still runs then, the
/// status has the reason SKEP_REASON_RUNNING; that is no error.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_wait_timeout_ms(
    child: Option<&skep_child>,
    timeout_ms: i64,
    status: Option<&mut MaybeUninit<skep_exit_status>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_wait_timeout_ms", error, |call| {
        let child = &call.given(child, "child")?.child;
        let timeout = call.milliseconds(timeout_ms, "timeout_ms")?;
        call.given(status, "status")?.write(child.wait_timeout(timeout)?.into());
        Ok(())
    })
}

/// As skep_child_wait_timeout_ms(), without waiting.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_try_wait(
    child: Option<&skep_child>,
    status: Option<&mut MaybeUninit<skep_exit_status>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_try_wait", error, |call| {
        let child = &call.given(child, "child")?.child;
        call.given(status, "status")?.write(child.try_wait()?.into());
        Ok(())
    })
}

/// Sends a signal to the container's command. One that has ended is left alone.
///
/// The command is the init of its pid namespace: a signal that it has no handler for does nothing,
/// except SIGKILL, which ends every process in the container.
///
/// Errors: SKEP_INVALID_INPUT for a number that is no signal.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_signal(
    child: Option<&skep_child>,
    number: c_int,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_signal", error, |call| Ok(call.given(child, "child")?.child.signal(number)?))
}

/// Kills everything in the container, with SIGKILL. Wait for its end, or free the child.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_kill(
    child: Option<&skep_child>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_kill", error, |call| Ok(call.given(child, "child")?.child.kill()?))
}

/// Asks the container to end with its stop signal (the image's, or SIGTERM), waits `grace_ms`
/// milliseconds at most, kills it if it still runs then, and waits for its end. Docker's grace is
/// 10000. One that has ended already only tells how.
///
/// Errors: as skep_child_wait().
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_stop(
    child: Option<&skep_child>,
    grace_ms: i64,
    status: Option<&mut MaybeUninit<skep_exit_status>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_stop", error, |call| {
        let child = &call.given(child, "child")?.child;
        let grace = call.milliseconds(grace_ms, "grace_ms")?;
        call.given(status, "status")?.write(child.stop(grace)?.into());
        Ok(())
    })
}

/// The signal that skep_child_stop() asks it to end with: the image's, or SIGTERM. For a program with
/// an event loop, which cannot wait in there. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_stop_signal(child: Option<&skep_child>) -> c_int {
    child.map_or(0, |child| child.child.stop_signal())
}

/// What the container has used so far; what it used in all, once its end was waited for.
///
/// Errors: those of reading the files of its control group.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_usage(
    child: Option<&skep_child>,
    usage: Option<&mut MaybeUninit<skep_usage>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_usage", error, |call| {
        let child = &call.given(child, "child")?.child;
        call.given(usage, "usage")?.write(child.usage()?.into());
        Ok(())
    })
}

/// A file descriptor that becomes readable when the container has ended: for poll(2), epoll(7) and
/// event loops. It is the child's: do not read from it or close it, and take it out of what you wait
/// with before you free the child.
///
/// Errors: SKEP_RESOURCE_EXHAUSTED if your program may not open one more file.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_exit_fd(
    child: Option<&skep_child>,
    fd: Option<&mut MaybeUninit<c_int>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_exit_fd", error, |call| {
        let child = &call.given(child, "child")?.child;
        call.given(fd, "fd")?.write(child.exit_fd()?.as_raw_fd());
        Ok(())
    })
}

/// The pipe into the container's standard input, if SKEP_STDIO_PIPED was set for it; -1 if not, or
/// if it was taken or closed, and for NULL. It is the child's: do not close it.
///
/// It blocks, until you set O_NONBLOCK. A write(2) after the container has closed its end raises
/// SIGPIPE in your program, unless you ignore that signal; skep_child_write_stdin() does not.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_stdin_fd(child: Option<&skep_child>) -> c_int {
    child.map_or(-1, |child| child.stdin_fd.load(Ordering::Relaxed))
}

/// The pipe out of its standard output, as skep_child_stdin_fd(). At its end, read(2) returns 0:
/// when all processes that have the other end have closed it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_stdout_fd(child: Option<&skep_child>) -> c_int {
    child.map_or(-1, |child| borrowed(&child.stdout))
}

/// The pipe out of its standard error, as skep_child_stdout_fd().
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_stderr_fd(child: Option<&skep_child>) -> c_int {
    child.map_or(-1, |child| borrowed(&child.stderr))
}

/// As skep_child_stdin_fd(), and makes the pipe yours: to be closed by you, before or after the
/// child is freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_take_stdin(child: Option<&skep_child>) -> c_int {
    child.and_then(take_stdin).map_or(-1, |pipe| OwnedFd::from(pipe).into_raw_fd())
}

/// As skep_child_stdout_fd(), and makes the pipe yours, for fdopen(3) or an event loop.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_take_stdout(child: Option<&skep_child>) -> c_int {
    child.map_or(-1, |child| taken(&child.stdout))
}

/// As skep_child_stderr_fd(), and makes the pipe yours.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_take_stderr(child: Option<&skep_child>) -> c_int {
    child.map_or(-1, |child| taken(&child.stderr))
}

/// Writes the `length` bytes at `bytes` to the container's standard input, and waits until the pipe
/// has taken them; if you have made it non-blocking, until it is full. Never raises SIGPIPE.
///
/// `written` is how many it has taken, fewer than `length` only where the pipe is non-blocking; it
/// may be NULL. One thread at a time: a second one that writes to, takes or closes standard input
/// waits for the first.
///
/// Errors: SKEP_INVALID_STATE if standard input is not a pipe, or was taken or closed; SKEP_IO with
/// EPIPE if the container has closed its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skep_child_write_stdin(
    child: Option<&skep_child>,
    bytes: *const c_void,
    length: usize,
    written: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_write_stdin", error, |call| {
        let child = call.given(child, "child")?;
        // SAFETY: there are as many bytes there, and stay during the call: the caller's promise.
        let bytes = unsafe { self::bytes(call, bytes.cast::<c_char>(), length) }?;
        let mut pipe = lock(&child.stdin);
        let pipe = pipe.as_mut().ok_or_else(|| no_pipe(call))?;
        let count = write(pipe, bytes)?;
        if let Some(written) = written {
            written.write(count);
        }
        Ok(())
    })
}

/// Closes the pipe into the container's standard input, which reads end of file then. Nothing if
/// there is none, or it was taken or closed already.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_close_stdin(child: Option<&skep_child>) {
    drop(child.and_then(take_stdin));
}

/// Frees a child: kills the container, if it still runs, removes what is left of it, and closes the
/// pipes that were not taken. NULL is fine. In a forked copy of the program that started it, only the
/// pipes are closed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_free(child: Option<Box<skep_child>>) {
    panic::free(child);
}

fn lock<T>(stream: &Mutex<T>) -> MutexGuard<'_, T> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_stdin(child: &skep_child) -> Option<ChildStdin> {
    let pipe = lock(&child.stdin).take();
    child.stdin_fd.store(-1, Ordering::Relaxed);
    pipe
}

fn borrowed(stream: &Mutex<Option<impl AsFd>>) -> c_int {
    lock(stream).as_ref().map_or(-1, |stream| stream.as_fd().as_raw_fd())
}

fn taken(stream: &Mutex<Option<impl Into<OwnedFd>>>) -> c_int {
    lock(stream).take().map_or(-1, |stream| stream.into().into_raw_fd())
}

fn no_pipe(call: Call) -> skep_error {
    call.refuse("standard input is not a pipe, or was taken or closed".into())
        .with_code(skep_code::SKEP_INVALID_STATE, skep::ErrorKind::InvalidState.name())
}

/// How many bytes the pipe has taken: all, unless it is non-blocking and full.
fn write(pipe: &mut ChildStdin, bytes: &[u8]) -> Result<usize, skep_error> {
    let mut written = 0;
    while written < bytes.len() {
        match pipe.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(skep_error::of_write(&error)),
        }
    }
    Ok(written)
}
