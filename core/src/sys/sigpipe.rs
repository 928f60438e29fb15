//! Calls that fail with an error, and not also with a signal that would end the host.
#![allow(unsafe_code)]

use std::{io, mem, ptr};

use nix::libc;

/// Calls `write`, which raises no SIGPIPE.
///
/// A pipe's write has no flag for this before Linux 6.18, and changing the disposition would change
/// it for the whole host.
pub(crate) fn write(
    bytes: &[u8],
    write: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let broken = |result: &io::Result<usize>| match result {
        // The signal comes with a short write, too: the reader went while the pipe was full.
        Ok(written) => *written < bytes.len(),
        Err(error) => error.kind() == io::ErrorKind::BrokenPipe,
    };
    without_signal(libc::SIGPIPE, || write(bytes), broken)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn sigpipe_is_pending() -> bool {
        // SAFETY: as above.
        unsafe {
            let mut pending = mem::zeroed();
            libc::sigpending(&mut pending);
            libc::sigismember(&pending, libc::SIGPIPE) == 1
        }
    }

    /// A thread in which a SIGPIPE stays to be seen: blocked, though tests ignore it.
    fn write_much(mut pipe: File) -> (Option<usize>, bool) {
        // SAFETY: as above.
        unsafe {
            let mut set = mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        }
        let much = vec![0; 1 << 20];
        (write(&much, |bytes| pipe.write(bytes)).ok(), sigpipe_is_pending())
    }

    #[test]
    fn a_reader_that_goes_before_or_during_a_write_raises_no_signal() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        assert_eq!(std::thread::spawn(|| write_much(writer.into())).join().unwrap(), (None, false));

        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let thread = std::thread::spawn(|| write_much(writer.into()));
        while rustix::io::ioctl_fionread(&reader).unwrap() < 65536 {
            std::thread::yield_now();
        }
        drop(reader);
        assert_eq!(thread.join().unwrap(), (Some(65536), false));
    }
}
