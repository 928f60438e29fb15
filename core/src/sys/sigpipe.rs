//! Calls that fail with an error, and not also with a signal that would end the host.
#![allow(unsafe_code)]

use std::{io, mem, ptr};

use nix::libc;

/// Calls `write`, which fails with EPIPE and raises no SIGPIPE.
///
/// A pipe's write has no flag for this before Linux 6.18, and changing the disposition would change
/// it for the whole host.
pub(crate) fn without<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let broken = |result: &io::Result<T>| matches!(result, Err(error) if error.kind() == io::ErrorKind::BrokenPipe);
    without_signal(libc::SIGPIPE, write, broken)
}

/// Calls `run`, whose writes fail with EFBIG above RLIMIT_FSIZE and raise no SIGXFSZ. Memory files
/// have that limit, too.
pub(crate) fn without_file_size_signal<T>(run: impl FnOnce() -> T) -> T {
    without_signal(libc::SIGXFSZ, run, |_| true)
}

/// Calls `run` with `signal` blocked in this thread; one that it has `raised` is taken back, and the
/// mask is as it was.
fn without_signal<T>(signal: i32, run: impl FnOnce() -> T, raised: impl FnOnce(&T) -> bool) -> T {
    // SAFETY: sigset_t is plain memory, filled by sigemptyset before use; all pointers are to
    // locals, and only this thread's mask changes.
    unsafe {
        let (mut set, mut old, mut pending) = (mem::zeroed(), mem::zeroed(), mem::zeroed());
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigpending(&mut pending);
        let was_pending = libc::sigismember(&pending, signal) == 1;
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut old);
        let result = run();
        if !was_pending && raised(&result) {
            let now: libc::timespec = mem::zeroed();
            while libc::sigtimedwait(&set, ptr::null_mut(), &now) < 0
                && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
            {}
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, ptr::null_mut());
        result
    }
}
