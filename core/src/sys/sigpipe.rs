//! Writes to a pipe without raising SIGPIPE in a process that has not ignored it.
#![allow(unsafe_code)]

use std::{mem, ptr};

use nix::libc;

/// Calls `write` with SIGPIPE blocked in this thread; one that it raises is taken back, and the
/// mask is as it was. `write` says whether it failed with EPIPE.
///
/// A pipe's write has no flag for this before Linux 6.18, and changing the disposition would change
/// it for the whole host.
pub(crate) fn without<T>(write: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    // SAFETY: sigset_t is plain memory, filled by sigemptyset before use; all pointers are to
    // locals, and only this thread's mask changes.
    unsafe {
        let (mut pipe, mut old, mut pending) = (mem::zeroed(), mem::zeroed(), mem::zeroed());
        libc::sigemptyset(&mut pipe);
        libc::sigaddset(&mut pipe, libc::SIGPIPE);
        libc::sigpending(&mut pending);
        let was_pending = libc::sigismember(&pending, libc::SIGPIPE) == 1;
        libc::pthread_sigmask(libc::SIG_BLOCK, &pipe, &mut old);
        let result = write();
        let broken = matches!(&result, Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe);
        if broken && !was_pending {
            let now: libc::timespec = mem::zeroed();
            while libc::sigtimedwait(&pipe, ptr::null_mut(), &now) < 0
                && std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
            {}
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &old, ptr::null_mut());
        result
    }
}
