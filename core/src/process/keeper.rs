//! The library's side of the keeper: its birth, and the start of processes through it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::PidfdFlags;

use super::plan::Plan;
use super::program;
use super::running::Running;
use crate::sys::protocol::{
    ABANDONED, ATTACH, Channels, DISCARD, Hello, INTO_CGROUP, MAGIC, MAX_FDS, ONE_SHOT, Report,
    Start, VERSION,
};
use crate::sys::{birth, message};
use crate::{Error, ErrorKind, Result};

/// What a keeper is born with.
pub(crate) struct Birth<'a> {
    /// Held locked as long as the keeper lives; the host closes its copy.
    pub(crate) lock: OwnedFd,
    /// The name under which it owns things, in the store and below each directory of `sweep`.
    pub(crate) owner: &'a str,
    /// Control groups whose child `owner` is to be removed when the host is gone.
    pub(crate) sweep: &'a [BorrowedFd<'a>],
    /// Where its program may be put if it cannot be executed from memory.
    pub(crate) store: &'a Path,
}

/// How a plan is started.
#[derive(Default)]
pub(crate) struct StartOptions<'a> {
    /// The version 2 control group to be born in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Kill after this time.
    pub(crate) timeout: Option<Duration>,
}

/// A running keeper. Dropping it ends it, and with it every container it has started.
#[derive(Debug)]
pub(crate) struct Keeper {
    control: OwnedFd,
    /// The next container's number.
    next_token: AtomicU64,
}

impl Keeper {
    /// Starts the keeper of an engine: init of a pid namespace of its own, so that the kernel ends
    /// every container with it.
    pub(crate) fn birth(birth: Birth<'_>) -> Result<Keeper> {
        Self::in_namespaces(birth, libc::CLONE_NEWPID)
    }

    /// Starts a keeper for one container, which it leaves to the caller's reaper: it shares the
    /// host's pid namespace.
    pub(crate) fn one_shot(birth: Birth<'_>) -> Result<Keeper> {
        Self::in_namespaces(birth, 0)
    }

    fn in_namespaces(birth: Birth<'_>, namespaces: libc::c_int) -> Result<Keeper> {
        let failed = |errno: Errno| Error::os("start", "the keeper", errno);
        let (control, theirs) = message::pair().map_err(failed)?;
        execute(birth.store, theirs.as_fd(), namespaces)?;
        drop(theirs);
        let host = this_process(&control).map_err(failed)?;
        let mut hello = Hello { magic: MAGIC, version: VERSION, sweep: 0, owner: [0; 52] };
        hello.sweep = birth.sweep.len() as u32;
        hello.owner[..birth.owner.len()].copy_from_slice(birth.owner.as_bytes());
        let mut fds = vec![host.as_fd(), birth.lock.as_fd()];
        fds.extend_from_slice(birth.sweep);
        message::send(&control, &hello, &fds).map_err(failed)?;
        Ok(Keeper { control, next_token: AtomicU64::new(1) })
    }

    /// Ends the keeper and its containers. Dropping it does not while a forked copy of the host
    /// holds the same socket.
    pub(crate) fn end(&self) {
        let _ = rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both);
    }

    /// Starts `plan` in a new process. `inputs` are the plan's, in its order.
    ///
    /// Returns as soon as the keeper has been asked: see [`Running::await_exec`].
    ///
    /// # Errors
    /// `KeeperLost` if the keeper is gone; nothing has been started then.
    pub(crate) fn start(
        self: &Arc<Self>,
        plan: &Plan,
        inputs: &[BorrowedFd<'_>],
        options: &StartOptions<'_>,
    ) -> Result<Running> {
        self.send_start(plan, inputs, options, 0)
    }

    /// As [`start`](Self::start) for a keeper born [one-shot](Self::one_shot).
    pub(crate) fn start_once(
        self: &Arc<Self>,
        plan: &Plan,
        inputs: &[BorrowedFd<'_>],
        options: &StartOptions<'_>,
    ) -> Result<Running> {
        self.send_start(plan, inputs, options, ONE_SHOT)
    }

    fn send_start(
        self: &Arc<Self>,
        plan: &Plan,
        inputs: &[BorrowedFd<'_>],
        options: &StartOptions<'_>,
        mut flags: u32,
    ) -> Result<Running> {
        let failed = |errno: Errno| Error::os("start", "a process", errno);
        let encoded = super::encode::encode(plan);
        let memory = memory_file(&encoded).map_err(failed)?;
        let mut fds = Vec::with_capacity(2 + inputs.len());
        fds.push(memory.as_fd());
        if let Some(cgroup) = options.cgroup {
            flags |= INTO_CGROUP;
            fds.push(cgroup);
        }
        fds.extend_from_slice(inputs);
        if fds.len() > MAX_FDS {
            return Err(Error::new(ErrorKind::InvalidInput, "start", "a process")
                .cause(format!("it needs {} file descriptors, of {MAX_FDS} at most", fds.len()))
                .fix("bind fewer mounts"));
        }
        let (channels, status, reply) = self.take_channels()?;
        let start = Start {
            channels,
            flags,
            clone_flags: plan.clone_flags,
            timeout_ms: options.timeout.map_or(0, milliseconds),
            plan_size: encoded.len() as u64,
            token: self.next_token.fetch_add(1, Ordering::Relaxed),
        };
        let sent = message::send(&self.control, &start, &fds);
        if sent.is_err() {
            let _ = self.tell(Start { channels, ..only(ABANDONED) });
        }
        let keeper = Arc::clone(self);
        sent.map(|()| Running::new(status, reply, keeper, start.token)).map_err(explain)
    }

    /// A new reply channel for a parked container.
    pub(super) fn attach(&self, token: u64) -> Result<OwnedFd> {
        let (channels, status, reply) = self.take_channels()?;
        self.tell(Start { channels, token, ..only(ATTACH) })?;
        match message::receive::<Report>(&status).map_err(explain)? {
            Some(report) if report.errno == libc::EMFILE => Err(explain(Errno::MFILE)),
            // Of a container that the keeper does not have, the end of file on `reply` tells.
            _ => Ok(reply),
        }
    }

    /// Kills a parked container without a channel of its own.
    pub(super) fn discard(&self, token: u64) -> Result<()> {
        self.tell(Start { token, ..only(DISCARD) })
    }

    fn tell(&self, start: Start) -> Result<()> {
        message::send(&self.control, &start, &[]).map_err(explain)
    }

    /// Channels for one start; the keeper sends them ahead, so that there is hardly ever a wait.
    fn take_channels(&self) -> Result<(u32, OwnedFd, OwnedFd)> {
        match message::receive_with_fds::<Channels>(&self.control) {
            Ok(Some((channels, fds))) => match <[OwnedFd; 2]>::try_from(fds) {
                Ok([status, reply]) => Ok((channels.index, status, reply)),
                Err(_) => {
                    // They are lost: the keeper has to make others.
                    self.tell(Start { channels: channels.index, ..only(ABANDONED) })?;
                    Err(explain(Errno::MFILE))
                }
            },
            Ok(None) => Err(lost()),
            Err(errno) => Err(explain(errno)),
        }
    }
}

/// A message that starts nothing.
fn only(flags: u32) -> Start {
    Start { channels: 0, flags, clone_flags: 0, timeout_ms: 0, plan_size: 0, token: 0 }
}

/// A failure of the control channel.
fn explain(errno: Errno) -> Error {
    match errno {
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => lost(),
        Errno::MFILE => Error::os("start", "a process", errno)
            .fix("raise the host's limit of open files (RLIMIT_NOFILE)"),
        errno => Error::os("start", "a process", errno),
    }
}

/// The error of everything that needs a keeper that is gone.
pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::KeeperLost, "reach", "the keeper")
        .cause("it has ended, and its containers with it")
        .fix("start them again: the engine starts a new keeper")
}

/// At least one: zero is "never".
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A pidfd of the host, by which the keeper sees its end.
///
/// What stands between a program and the kernel may not know pidfd_open, as valgrind 3.19: then it is
/// the peer of `control`, both of whose ends the host has made (Linux 6.5).
fn this_process(control: &OwnedFd) -> Result<OwnedFd, Errno> {
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Err(Errno::NOSYS) => peer(control).ok_or(Errno::NOSYS),
        result => result,
    }
}

fn peer(socket: &OwnedFd) -> Option<OwnedFd> {
    nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerPidfd).ok()
}

fn execute(store: &Path, control: BorrowedFd<'_>, namespaces: libc::c_int) -> Result<()> {
    let (program, origin) = program::open(store)?;
    let born = birth::birth(program.as_fd(), control, c"skep-keeper", namespaces);
    // A security policy may let the memory file be made and not be executed.
    let refused = matches!(&born, Err(error) if error.raw_os_error() == Some(libc::EACCES));
    let born = if refused && origin == program::Origin::Memory {
        let program = program::in_store(store)?;
        birth::birth(program.as_fd(), control, c"skep-keeper", namespaces)
    } else {
        born
    };
    born.map_err(|error| {
        let denied = error.raw_os_error() == Some(libc::EPERM);
        let error = Error::os("start", "the keeper", error);
        if denied { error.fix("run as root: skep does not run rootless yet") } else { error }
    })
}

/// The plan in a sealed file that only memory holds.
fn memory_file(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // With vm.memfd_noexec=2 only this flag is let through; kernels before 6.3 do not know it.
    let file = match rustix::fs::memfd_create(c"skep-plan", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"skep-plan", flags),
        result => result,
    }?;
    let mut left = bytes;
    while !left.is_empty() {
        let written = rustix::io::write(&file, left)?;
        left = &left[written..];
    }
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_peer_of_the_control_socket_is_this_process() {
        let (control, _theirs) = message::pair().unwrap();
        let Some(pidfd) = peer(&control) else {
            println!("skipped: this kernel has no SO_PEERPIDFD");
            return;
        };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
        let pid = format!("Pid:\t{}", std::process::id());
        assert!(info.unwrap().lines().any(|line| line == pid));
    }
}
