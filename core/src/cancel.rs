//! Cancelling what takes long, from another thread.
//!
//! A [`Cancel`] is a flag with what wakes those who wait: a condition for pauses, an eventfd(2) for
//! whoever polls. Copies look at the flag between two pieces ([`Cancel::watch`]); connections and pipes
//! are polled together with the eventfd; flock(2), which nothing can be polled with, is tried again and
//! again (`image::lock`). What fails after `cancel()` failed because of it: [`Cancel::run`] says so, in
//! the words of the operation that was asked for.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::sys::fork;
use crate::{Error, ErrorKind, Result};

/// Cancels the operations that were given it, from any thread.
///
/// [`Images::cancellable`](crate::Images::cancellable) and
/// [`Registries::cancellable`](crate::image::registry::Registries::cancellable) give handles whose
/// operations fail with [`ErrorKind::Cancelled`] soon after [`cancel`](Self::cancel), usually within a
/// few milliseconds. Clones are the same. It is cancelled for good: make a new one for the next
/// operation.
///
/// ```
/// use skep::{Cancel, ErrorKind};
///
/// # let directory = tempfile::tempdir().unwrap();
/// let images = skep::Images::open(directory.path())?;
/// let cancel = Cancel::new();
/// let load = std::thread::spawn({
///     let images = images.cancellable(&cancel);
///     move || images.load("slow.tar")
/// });
/// cancel.cancel();
/// assert!(load.join().unwrap().is_err());
///
/// let error = images.cancellable(&cancel).load("app.tar").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Cancelled);
/// assert_eq!(error.to_string(), "cannot load image from app.tar: it was cancelled");
/// # Ok::<(), skep::Error>(())
/// ```
///
/// What is not interrupted: the resolution of a host's name, and the kernel's writing to the disk
/// (fsync(2), syncfs(2)). It is not for signal handlers: it takes a lock.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancelled: AtomicBool,
    /// Made when somebody first polls; readable for ever once cancelled.
    wake: Mutex<Option<Arc<OwnedFd>>>,
    changed: Condvar,
    /// Whether it can be cancelled at all.
    live: bool,
    /// A forked copy must not wake the original by the eventfd that they share.
    host: fork::Process,
}

impl Default for Cancel {
    fn default() -> Self {
        Cancel::new()
    }
}

impl Cancel {
    /// One that is not cancelled.
    pub fn new() -> Self {
        Cancel::made(true)
    }

    /// Makes the operations that have it, now or later, fail with [`ErrorKind::Cancelled`]. Those that
    /// are all but done may still succeed. To cancel again does nothing.
    pub fn cancel(&self) {
        let wake = self.lock();
        self.0.cancelled.store(true, Ordering::Release);
        if let Some(wake) = wake.as_ref()
            && self.0.host.is_current()
        {
            // EAGAIN: it is readable already.
            let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
        }
        self.0.changed.notify_all();
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// The one of who was given none.
    pub(crate) fn never() -> Self {
        Cancel::made(false)
    }

    /// Whether somebody may cancel it.
    pub(crate) fn is_live(&self) -> bool {
        self.0.live
    }

    fn made(live: bool) -> Self {
        Cancel(Arc::new(Inner {
            cancelled: AtomicBool::new(false),
            wake: Mutex::default(),
            changed: Condvar::new(),
            live,
            host: fork::Process::current(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        // Nothing can panic half way through a change.
        self.0.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`, which the caller calls "`operation` `subject`": its error is that it was cancelled,
    /// if it was.
    pub(crate) fn run<T>(
        &self,
        operation: &'static str,
        subject: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.check(operation, subject)?;
        work().map_err(|error| self.check(operation, subject).err().unwrap_or(error))
    }

    /// Fails if it is cancelled.
    pub(crate) fn check(&self, operation: &'static str, subject: &str) -> Result<()> {
        match self.is_cancelled() {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Cancelled, operation, subject).cause(CAUSE)),
        }
    }

    /// As [`check`](Self::check), within I/O.
    pub(crate) fn check_io(&self) -> io::Result<()> {
        // Not Interrupted, which says that one should try again.
        if self.is_cancelled() { Err(io::Error::other(Cancelled)) } else { Ok(()) }
    }

    /// A reader or writer that fails once it is cancelled: for what is never waited long for.
    pub(crate) fn watch<T>(&self, inner: T) -> Watched<T> {
        Watched { inner, cancel: self.clone() }
    }

    /// Opens a file to read, or a pipe that may be slow.
    pub(crate) fn open(&self, path: &Path) -> io::Result<Opened> {
        // NONBLOCK means nothing to a regular file; a FIFO is opened without a wait for its writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let kind = file.metadata()?.file_type();
        let slow = kind.is_fifo() || kind.is_char_device();
        Ok(Opened { file, slow, cancel: self.clone() })
    }

    /// Waits until `until` is true, it is cancelled, or `pause` is over. Whether one of the first two
    /// is the case. Whoever changes what `until` looks at [wakes](Self::wake_all) those who wait.
    pub(crate) fn wait(&self, pause: Duration, until: impl Fn() -> bool) -> bool {
        let done = || until() || self.is_cancelled();
        let waited = self.0.changed.wait_timeout_while(self.lock(), pause, |_| !done());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        done()
    }

    /// Has those in [`wait`](Self::wait) look again.
    pub(crate) fn wake_all(&self) {
        // Held, so that nobody is between looking and waiting.
        let _held = self.lock();
        self.0.changed.notify_all();
    }

    /// Polls `fd` for `events`, for at most `timeout`; whether there are any.
    ///
    /// # Errors
    /// That it was cancelled; those of poll(2) and eventfd(2).
    pub(crate) fn poll(
        &self,
        fd: impl AsFd,
        events: PollFlags,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let wake = self.wake()?;
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            self.check_io()?;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = vec![PollFd::new(&fd, events)];
            fds.extend(wake.iter().map(|wake| PollFd::new(wake, PollFlags::IN)));
            match rustix::event::poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => continue,
                polled => drop(polled?),
            }
            self.check_io()?;
            return Ok(!fds[0].revents().is_empty());
        }
    }

    fn wake(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        if !self.is_live() {
            return Ok(None);
        }
        let mut wake = self.lock();
        if wake.is_none() {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            *wake = Some(Arc::new(eventfd(self.is_cancelled().into(), flags)?));
        }
        Ok(wake.clone())
    }
}

const CAUSE: &str = "it was cancelled";

/// What an [`io::Error`] of something cancelled holds.
#[derive(Debug, thiserror::Error)]
#[error("{CAUSE}")]
pub(crate) struct Cancelled;

/// See [`Cancel::watch`].
pub(crate) struct Watched<T> {
    inner: T,
    cancel: Cancel,
}

impl<T> Watched<T> {
    pub(crate) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Read> Read for Watched<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check_io()?;
        self.inner.read(buffer)
    }
}

impl<T: Write> Write for Watched<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cancel.check_io()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// See [`Cancel::open`].
pub(crate) struct Opened {
    file: File,
    /// Whether it may have nothing to read, and yet not be at its end.
    slow: bool,
    cancel: Cancel,
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.cancel.check_io()?;
            if self.slow {
                self.cancel.poll(&self.file, PollFlags::IN, None)?;
            }
            match self.file.read(buffer) {
                // Another reader of the pipe was faster.
                Err(error) if self.slow && error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_polls_and_who_waits_is_woken() {
        let (silent, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let polls = scope.spawn(|| cancel.poll(&silent, PollFlags::IN, None));
            let waits = scope.spawn(|| cancel.wait(Duration::from_secs(1000), || false));
            cancel.clone().cancel();
            assert!(polls.join().unwrap().unwrap_err().get_ref().unwrap().is::<Cancelled>());
            assert!(waits.join().unwrap());
        });
        // Those who come later, too, and with an eventfd that is made later.
        cancel.cancel();
        assert!(cancel.is_cancelled());
        assert!(cancel.wait(Duration::from_secs(1000), || false));
        assert!(cancel.poll(&silent, PollFlags::IN, None).is_err());
        assert!(!Cancel::new().poll(&silent, PollFlags::IN, Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn an_error_after_it_is_that_it_was_cancelled() {
        let cancel = Cancel::new();
        let fails = || Err::<(), _>(Error::new(ErrorKind::NotFound, "find", "it"));
        assert_eq!(cancel.run("do", "this", fails).unwrap_err().kind(), ErrorKind::NotFound);
        let error = cancel.run("do", "this", || {
            cancel.cancel();
            fails()
        });
        assert_eq!(error.unwrap_err().to_string(), "cannot do this: it was cancelled");
        let begun = cancel.run("do", "this", || -> Result<()> { panic!("it is not begun") });
        assert_eq!(begun.unwrap_err().kind(), ErrorKind::Cancelled);
    }

    #[test]
    fn what_was_done_is_done() {
        let cancel = Cancel::new();
        let done = cancel.run("do", "this", || {
            cancel.cancel();
            Ok(7)
        });
        assert_eq!(done.unwrap(), 7);
    }

    #[test]
    fn a_pipe_without_a_writer_is_waited_for() {
        let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let mut opened = cancel.open(&path).unwrap();
            let reads = scope.spawn(move || {
                let mut read = Vec::new();
                let result = opened.read_to_end(&mut read);
                (read, result)
            });
            std::fs::write(&path, "from a pipe").unwrap();
            let (read, result) = reads.join().unwrap();
            assert_eq!((&*read, result.unwrap()), (&b"from a pipe"[..], 11));
            let mut opened = cancel.open(&path).unwrap();
            let reads = scope.spawn(move || opened.read(&mut [0]));
            cancel.cancel();
            assert!(reads.join().unwrap().is_err());
        });
    }
}
