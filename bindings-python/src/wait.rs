//! Waiting as Python wants it: without the GIL, and not deaf to signals.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// When `timeout` will have passed; never for `None`, and for times that no clock has.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Waits until `fd` is readable; `false` if `deadline` passes before.
///
/// After a signal Python's handlers run, in its main thread. What they raise (KeyboardInterrupt)
/// ends the wait, and otherwise it goes on, as in all of Python since PEP 475.
pub(crate) fn readable(
    py: Python<'_>,
    fd: BorrowedFd<'_>,
    deadline: Option<Instant>,
) -> PyResult<bool> {
    loop {
        py.check_signals()?;
        match py.detach(|| poll(fd, deadline)) {
            Err(Errno::INTR) => {}
            result => return result.map_err(|errno| io::Error::from(errno).into()),
        }
    }
}

/// How late a signal is heard that another thread was given, or that came just before the wait.
const DEAF: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether `fd` is readable; EINTR, too, if it is not and there is time left: for signals to be heard.
pub(crate) fn poll(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<bool, Errno> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok()).filter(|left| *left < DEAF);
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match rustix::event::poll(&mut fds, Some(&left.unwrap_or(DEAF)))? {
        0 if left.is_none() => Err(Errno::INTR),
        ready => Ok(ready > 0),
    }
}
