//! `run` without `--detach`: this command is the container's reaper and hands on its signals.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::Result;

/// Signals are held back from here on, until [`wait`](Self::wait) takes them one by one.
#[derive(Debug)]
pub(crate) struct Foreground {
    signals: SigSet,
}

/// What a terminal or a service manager sends.
const HANDED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
];

impl Foreground {
    /// Becomes the reaper of what is started from here on.
    pub(crate) fn begin() -> Result<Foreground> {
        nix::sys::prctl::set_child_subreaper(true)?;
        let mut signals = SigSet::from_iter(HANDED_ON);
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        Ok(Foreground { signals })
    }

    /// Waits for the end of `init`; its exit code, 128 and more for a signal.
    ///
    /// All children are waited for: the keeper is one of them, and `init` becomes one only as the
    /// keeper ends.
    pub(crate) fn wait(&self, init: i32) -> Result<u8> {
        let init = Pid::from_raw(init);
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == init => return Ok(code as u8),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == init => {
                    return Ok(128 + signal as u8);
                }
                Ok(WaitStatus::StillAlive) => self.take_signal(init)?,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(format!("cannot wait for the container: {errno}").into()),
            }
        }
    }

    fn take_signal(&self, init: Pid) -> Result<()> {
        let signal = self.signals.wait()?;
        if signal != Signal::SIGCHLD {
            // It is our child and not waited for, so that the number is its own.
            let _ = nix::sys::signal::kill(init, signal);
        }
        Ok(())
    }
}

/// Waits until a killed process has ended: ten seconds at most, as runc.
pub(crate) fn await_end(process: &OwnedFd) -> Result<()> {
    let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
    let ended =
        rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience))? > 0;
    if ended { Ok(()) } else { Err("the container's process cannot be killed".into()) }
}
