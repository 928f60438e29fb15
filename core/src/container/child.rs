//! A running container.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use nix::libc;

use super::exit::ExitStatus;
use super::files::Files;
use super::prepare::Prepared;
use super::seat::Seat;
use super::stdio::{ChildStderr, ChildStdin, ChildStdout};
use crate::cgroup::{Group, Usage};
use crate::process::running::Running;
use crate::sys::fork;
use crate::sys::protocol::Exit;
use crate::{Error, ErrorKind, Result};

/// How long a drop waits for the kernel to end a killed container.
const PATIENCE_OF_DROP: Duration = Duration::from_secs(5);

/// A running container. It is attached: dropping this kills it and removes what it has written, and
/// so does the end of the host, however that ends.
///
/// Any number of threads may wait for it and signal it at once.
///
/// ```no_run
/// use std::io::Read;
/// use skep::{Engine, Root, Stdio};
///
/// let engine = Engine::open_default()?;
/// let mut child =
///     engine.command(Root::host()).args(["ls", "/"]).stdout(Stdio::piped()).spawn()?;
/// let mut names = String::new();
/// child.stdout.take().unwrap().read_to_string(&mut names).unwrap();
/// assert!(child.wait()?.success());
/// # Ok::<(), skep::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    /// The pipe into it, if [`Stdio::piped`](super::Stdio::piped) was asked for.
    pub stdin: Option<ChildStdin>,
    /// The pipe out of it, likewise.
    pub stdout: Option<ChildStdout>,
    /// The pipe of its errors, likewise.
    pub stderr: Option<ChildStderr>,
    id: String,
    running: Running,
    stop_signal: i32,
    live: Mutex<Option<Live>>,
    /// What is kept of it after its end.
    kept: Mutex<Option<Files>>,
    ended: OnceLock<ExitStatus>,
    /// Whether the host has killed it: then that it was killed says nothing about its memory.
    killed: AtomicBool,
    host: fork::Process,
}

/// What exists as long as the container lives.
#[derive(Debug)]
struct Live {
    group: Group,
    files: Files,
    end: AtEnd,
}

/// What becomes of a container's files at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtEnd {
    /// No file descriptor can have left the container.
    pub(super) sealed: bool,
    /// They are kept as long as the handle.
    pub(super) keep_files: bool,
}

impl Live {
    /// Removes group and root; the usage that the group had counted, and the files that are kept.
    /// What cannot be removed now, the next opening of the store sweeps.
    fn take_apart(self) -> (Option<Usage>, Option<Files>) {
        let Live { group, files, end } = self;
        let usage = group.usage().ok();
        let _ = group.remove();
        if end.keep_files {
            return (usage, Some(files));
        }
        files.give_back(end.sealed);
        (usage, None)
    }
}

impl Child {
    pub(super) fn new(
        id: String,
        running: Running,
        seat: Arc<Seat>,
        group: Group,
        prepared: Prepared,
        end: AtEnd,
        stop_signal: Option<String>,
    ) -> Child {
        let Prepared { mut root, source, lease, .. } = prepared;
        let mut running = running;
        if running.park_if_scarce() {
            root.forget_mount();
        }
        let files = Files::new(root, source, lease, seat);
        Child {
            stdin: None,
            stdout: None,
            stderr: None,
            id,
            running,
            stop_signal: stop_signal.as_deref().and_then(signal_number).unwrap_or(libc::SIGTERM),
            live: Mutex::new(Some(Live { group, files, end })),
            kept: Mutex::new(None),
            ended: OnceLock::new(),
            killed: AtomicBool::new(false),
            host: fork::Process::current(),
        }
    }

    pub(super) fn with_streams(mut self, [stdin, stdout, stderr]: [Option<OwnedFd>; 3]) -> Child {
        self.stdin = stdin.map(|fd| ChildStdin(fd.into()));
        self.stdout = stdout.map(|fd| ChildStdout(fd.into()));
        self.stderr = stderr.map(|fd| ChildStderr(fd.into()));
        self
    }

    /// The container's id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the container's end, then removes what is left of it. Standard input is not
    /// closed: a command that reads it to its end wants [`stdin`](Self::stdin) dropped first.
    ///
    /// # Errors
    /// `KeeperLost` if the keeper has been killed, and the container with it.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            // Without a timeout there is always an answer.
            if let Some(status) = self.wait_at_most(None)? {
                return Ok(status);
            }
        }
    }

    /// As [`wait`](Self::wait), for `timeout` at most: `None` if the container still runs then,
    /// which it goes on doing.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.wait_at_most(Some(timeout))
    }

    /// As [`wait`](Self::wait), without waiting: `None` if the container still runs.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.wait_at_most(Some(Duration::ZERO))
    }

    /// Sends a signal to the container's command. One that has ended is left alone.
    ///
    /// The command is the init of its pid namespace: a signal that it has no handler for does
    /// nothing, except SIGKILL, which ends every process in the container.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is no signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.check_host("signal")?;
        if !(1..=64).contains(&signal) {
            return Err(Error::new(ErrorKind::InvalidInput, "send", format!("signal {signal}"))
                .fix("give a number from 1 to 64"));
        }
        if self.ended.get().is_some() {
            return Ok(());
        }
        if signal == libc::SIGKILL && matches!(self.running.wait(Some(Duration::ZERO)), Ok(None)) {
            self.killed.store(true, Ordering::Relaxed);
        }
        self.running.signal(signal)
    }

    /// Kills everything in the container, with SIGKILL. See [`wait`](Self::wait) for its end.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Asks the container to end with its stop signal (the image's, or SIGTERM), and kills it if it
    /// has not by the end of `grace`: docker's `stop`, whose grace is 10 seconds. One that has ended
    /// already only tells how.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use skep::{Engine, ExitReason, Root};
    ///
    /// let engine = Engine::open_default()?;
    /// let child = engine.command(Root::host()).args(["sleep", "600"]).spawn()?;
    /// // sleep has no handler for SIGTERM, and as PID 1 it ignores what it has no handler for.
    /// let status = child.stop(Duration::from_millis(100))?;
    /// assert_eq!(status.reason(), ExitReason::Signaled(9));
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn stop(&self, grace: Duration) -> Result<ExitStatus> {
        self.signal(self.stop_signal)?;
        if let Some(status) = self.wait_timeout(grace)? {
            return Ok(status);
        }
        self.kill()?;
        self.wait()
    }

    /// The signal that [`stop`](Self::stop) asks it to end with: the image's, or SIGTERM. For a
    /// program with an event loop, which cannot wait in `stop` itself.
    pub fn stop_signal(&self) -> i32 {
        self.stop_signal
    }

    /// What the container has used so far; what it used in all once its end has been waited for.
    ///
    /// # Errors
    /// Those of reading the files of its control group.
    pub fn usage(&self) -> Result<Usage> {
        // A copy has none of the host's other threads, one of which may have held this lock.
        self.check_host("measure")?;
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*live, self.ended.get()) {
            (Some(live), _) => live.group.usage(),
            (None, Some(status)) => Ok(status.usage()),
            (None, None) => Ok(Usage::default()),
        }
    }

    /// A file descriptor that becomes readable when the container has ended: for poll(2) and its
    /// like. Nothing is to be read from it.
    ///
    /// # Errors
    /// `ResourceExhausted` if the host may not open one more file. Where these are scarce, a handle
    /// holds none before it is asked for.
    pub fn exit_fd(&self) -> Result<BorrowedFd<'_>> {
        self.check_host("watch")?;
        self.running.as_fd()
    }

    fn wait_at_most(&self, timeout: Option<Duration>) -> Result<Option<ExitStatus>> {
        self.check_host("wait for")?;
        if let Some(status) = self.ended.get() {
            return Ok(Some(*status));
        }
        match self.running.wait(timeout) {
            Ok(None) => Ok(None),
            Ok(Some(exit)) => Ok(Some(self.finish(exit))),
            Err(error) => {
                // Anything else is a failure to look, which says nothing about the container.
                if error.kind() == ErrorKind::KeeperLost {
                    self.clean_up();
                }
                Err(error)
            }
        }
    }

    /// Takes the container apart, once, and says how it ended.
    fn finish(&self, exit: Exit) -> ExitStatus {
        // Held to the end: whoever comes second finds the status, and not that the group is gone.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = self.take_apart(live.take()).unwrap_or_default();
        let killed = self.killed.load(Ordering::Relaxed);
        *self.ended.get_or_init(|| ExitStatus::new(exit, usage, killed))
    }

    fn clean_up(&self) {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.take_apart(live);
    }

    fn take_apart(&self, live: Option<Live>) -> Option<Usage> {
        let (usage, files) = live?.take_apart();
        if let Some(files) = files {
            // Once: there is one `Live`.
            *self.kept() = Some(files);
        }
        usage
    }

    /// The container's files, unless they are gone.
    pub(super) fn current_files(&self) -> Option<Files> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().map(|live| live.files.clone()).or_else(|| self.kept().clone())
    }

    fn kept(&self) -> MutexGuard<'_, Option<Files>> {
        // Nothing can panic while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the files that were [kept](super::Command::keep_files) after its end, as a drop does:
    /// for whoever ends a container and cannot drop it. What reads them now has them until its end.
    pub fn remove_files(&self) {
        if self.host.is_current() {
            // Removed with the lock released.
            let kept = self.kept().take();
            drop(kept);
        }
    }

    pub(super) fn check_host(&self, operation: &'static str) -> Result<()> {
        if self.host.is_current() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, operation, format!("container {}", self.id))
            .cause("this process is a forked copy of the one that started it"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let alive = self.live.get_mut().unwrap_or_else(PoisonError::into_inner).is_some();
        if !self.host.is_current() {
            // A forked copy: what is here belongs to the host.
            std::mem::forget(self.live.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            std::mem::forget(self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        } else if alive {
            self.running.discard();
            let _ = self.running.wait(Some(PATIENCE_OF_DROP));
            self.clean_up();
        }
    }
}

/// `SIGTERM`, `TERM` or `15`.
fn signal_number(name: &str) -> Option<i32> {
    let number = name.parse().ok().filter(|number| (1..=64).contains(number));
    number.or_else(|| {
        let name = name.to_ascii_uppercase();
        let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
        name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn stop_signals_have_names_and_numbers() {
        let number = super::signal_number;
        assert_eq!(number("SIGQUIT"), Some(3));
        assert_eq!(number("quit"), Some(3));
        assert_eq!(number("37"), Some(37));
        assert_eq!(number("0"), None);
        assert_eq!(number("NONSENSE"), None);
    }
}
