//! A process that the keeper has been asked to start.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::keeper::{Keeper, lost};
use super::plan::{Operation, Plan};
use crate::sys::message;
use crate::sys::protocol::{Exit, OP_CLONE, PARK, Report, Signal};
use crate::{Error, ErrorKind, Result};

/// A started process: two sockets, one of which closes at its exec. Dropping it kills it, unless it
/// is parked.
#[derive(Debug)]
pub(crate) struct Running {
    /// To the process itself, until its exec.
    status: Option<OwnedFd>,
    /// To the keeper, which says here how the process ended. Empty while it is parked.
    reply: OnceLock<OwnedFd>,
    attaching: Mutex<()>,
    keeper: Arc<Keeper>,
    token: u64,
}

impl Running {
    pub(super) fn new(status: OwnedFd, reply: OwnedFd, keeper: Arc<Keeper>, token: u64) -> Running {
        let attaching = Mutex::new(());
        Running { status: Some(status), reply: OnceLock::from(reply), attaching, keeper, token }
    }

    /// Gives the file descriptor back where they are scarce: its number is in the upper half of
    /// what the host may open. Says whether it did; the next use takes another.
    pub(crate) fn park_if_scarce(&mut self) -> bool {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let number = self.reply.get().map_or(0, AsRawFd::as_raw_fd) as u64;
        limit.is_some_and(|limit| number >= limit / 2) && self.park()
    }

    fn park(&mut self) -> bool {
        let parked = self.reply.get().is_some_and(|reply| {
            // Refused by a keeper that has just told how the process ended: then that is read here.
            message::send(reply, &Signal { signal: PARK }, &[]).is_ok()
        });
        if parked {
            self.reply = OnceLock::new();
        }
        parked
    }

    /// Kills the process, if need be without a file descriptor for hearing of its end.
    pub(crate) fn discard(&self) {
        if self.signal(libc::SIGKILL).is_err() {
            let _ = self.keeper.discard(self.token);
        }
    }

    fn reply(&self) -> Result<&OwnedFd> {
        if let Some(reply) = self.reply.get() {
            return Ok(reply);
        }
        let _attaching = self.attaching.lock().unwrap_or_else(PoisonError::into_inner);
        match self.reply.get() {
            Some(reply) => Ok(reply),
            None => {
                let reply = self.keeper.attach(self.token)?;
                Ok(self.reply.get_or_init(|| reply))
            }
        }
    }

    /// Waits until the command runs.
    ///
    /// # Errors
    /// The operation of `plan` that failed, as its error; nothing of the process is left then.
    pub(crate) fn await_exec(&mut self, plan: &Plan) -> Result<()> {
        let Some(status) = self.status.take() else { return Ok(()) };
        loop {
            match message::receive::<Report>(&status) {
                Ok(None) => return Ok(()),
                Ok(Some(report)) if report.errno != 0 => return Err(explain(plan, report)),
                Ok(Some(_)) => {}
                Err(errno) => return Err(Error::os("start", "a process", errno)),
            }
        }
    }

    /// Waits until the plan reaches its `Send`, or its end.
    pub(crate) fn await_send(&self, plan: &Plan) -> Result<()> {
        let ended = || Error::new(ErrorKind::KeeperLost, "start", "a process").cause("it ended");
        let status = self.status.as_ref().ok_or_else(ended)?;
        match message::receive::<Report>(status) {
            Ok(Some(report)) if report.errno == 0 => Ok(()),
            Ok(Some(report)) => Err(explain(plan, report)),
            Ok(None) => Err(ended()),
            Err(errno) => Err(Error::os("start", "a process", errno)),
        }
    }

    /// Waits for the mount that the plan's `SendMount` hands over.
    pub(crate) fn await_mount(&self, plan: &Plan) -> Result<OwnedFd> {
        let failed = |errno| Error::os("mount", "the root file system", errno);
        let status = self.status.as_ref().ok_or_else(lost)?;
        match message::receive_with_fds::<Report>(status).map_err(failed)? {
            Some((_, mut fds)) if !fds.is_empty() => Ok(fds.remove(0)),
            Some((report, _)) => Err(explain(plan, report)),
            None => Err(lost()),
        }
    }

    /// The pid that a one-shot keeper reports when it has made the process.
    pub(crate) fn await_pid(&self) -> Result<i32> {
        match message::receive::<Report>(self.reply()?) {
            Ok(Some(report)) if report.op == OP_CLONE && report.errno == 0 => Ok(report.pid),
            // The error itself is on the status channel.
            Ok(_) | Err(Errno::CONNRESET) => Ok(0),
            Err(errno) => Err(Error::os("start", "a process", errno)),
        }
    }

    /// Sends `signal`. A process that has ended is left alone, without an error.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        match message::send(self.reply()?, &Signal { signal }, &[]) {
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Ok(()),
            Err(errno) => Err(Error::os("signal", "a process", errno)),
        }
    }

    /// Waits for the end. `None` if `timeout` passes first.
    ///
    /// Any number of threads may wait at once, and again after the end.
    ///
    /// # Errors
    /// `KeeperLost` if the keeper is gone: the process has been killed with it.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<Option<Exit>> {
        let failed = |errno| Error::os("wait for", "a process", errno);
        let reply = self.reply()?;
        let exit = match timeout {
            None => message::peek::<Exit>(reply).map_err(failed)?,
            Some(timeout) => {
                if !poll_in(reply.as_fd(), timeout).map_err(failed)? {
                    return Ok(None);
                }
                match message::try_peek::<Exit>(reply) {
                    Err(Errno::AGAIN) => return Ok(None),
                    result => result.map_err(failed)?,
                }
            }
        };
        exit.map(Some).ok_or_else(lost)
    }

    /// Becomes readable when the process has ended.
    pub(crate) fn as_fd(&self) -> Result<BorrowedFd<'_>> {
        self.reply().map(AsFd::as_fd)
    }
}

/// Waits until `fd` is readable or hung up, or `timeout` passes.
fn poll_in(fd: BorrowedFd<'_>, timeout: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

/// The failed operation as an error that a person can act on.
fn explain(plan: &Plan, report: Report) -> Error {
    let errno = std::io::Error::from_raw_os_error(report.errno);
    let Some(operation) = plan.operations().get(report.op as usize) else {
        return explain_clone(errno);
    };
    let (verb, subject) = operation.described();
    let error = Error::os(verb, subject, errno);
    match (operation, report.errno) {
        (Operation::Exec { .. } | Operation::Find { .. }, libc::ENOENT | libc::ENOTDIR) => error
            .with_kind(ErrorKind::NotFound)
            .cause("there is no such command in the container, or its interpreter is missing")
            .fix("check its name and the PATH of the container"),
        (
            Operation::Exec { .. } | Operation::Find { .. },
            libc::EACCES | libc::ENOEXEC | libc::EISDIR | libc::ELIBBAD,
        ) => error.with_kind(ErrorKind::NotExecutable).fix(
            "give an executable file of this machine's architecture that the user may execute",
        ),
        (Operation::Exec { .. }, libc::E2BIG) => error
            .with_kind(ErrorKind::InvalidInput)
            .fix("shorten the arguments and the environment"),
        (Operation::WorkingDirectory { .. }, libc::ENOTDIR) => {
            error.with_kind(ErrorKind::InvalidInput).fix("give a directory, or one to be made")
        }
        (Operation::Attach { .. }, libc::EINVAL) => error
            .with_kind(ErrorKind::InvalidInput)
            .cause("a directory can be bound to a directory only, and a file to a file"),
        (Operation::Await { .. }, libc::EPIPE) => error.cause("nobody is left to start it"),
        (Operation::Unshare { .. }, libc::ENOSPC) => {
            error.cause("the limit of namespaces is reached").fix("see /proc/sys/user")
        }
        _ => error,
    }
}

fn explain_clone(errno: std::io::Error) -> Error {
    let fix = match errno.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOMEM) => "check RLIMIT_NPROC, pids limits and free memory",
        Some(libc::EMFILE) => "raise the hard limit of open files (RLIMIT_NOFILE)",
        Some(libc::EPERM) => "run as root: skep does not run rootless yet",
        _ => return Error::os("start", "a process in new namespaces", errno),
    };
    Error::os("start", "a process in new namespaces", errno).fix(fix)
}
