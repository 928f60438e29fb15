//! How a container ended, and what it used.

use std::fmt;

use nix::sys::signal::Signal;

use crate::cgroup::Usage;
use crate::sys::protocol::Exit;

/// Why a container's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It exited by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// The kernel killed it because the container's memory limit was reached.
    OomKilled,
    /// The command's [timeout](super::Command::timeout) passed, and everything in it was killed.
    TimedOut,
}

/// How a container ended. A non-zero exit is a result, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    reason: ExitReason,
    usage: Usage,
}

impl ExitStatus {
    /// `killed`: whether the host has sent SIGKILL.
    pub(super) fn new(exit: Exit, usage: Usage, killed: bool) -> ExitStatus {
        let status = nix::libc::WIFSIGNALED(exit.wait_status);
        let reason = match status {
            _ if exit.timed_out != 0 => ExitReason::TimedOut,
            false => ExitReason::Exited(nix::libc::WEXITSTATUS(exit.wait_status)),
            true => match nix::libc::WTERMSIG(exit.wait_status) {
                // The kernel's OOM killer leaves no other trace than the group's counter, which also
                // counts processes whose end the container has survived.
                nix::libc::SIGKILL if !killed && usage.oom_kills.is_some_and(|kills| kills > 0) => {
                    ExitReason::OomKilled
                }
                signal => ExitReason::Signaled(signal),
            },
        };
        ExitStatus { reason, usage }
    }

    /// Whether the command exited by itself with code 0.
    pub fn success(&self) -> bool {
        self.reason == ExitReason::Exited(0)
    }

    /// Why it ended.
    pub fn reason(&self) -> ExitReason {
        self.reason
    }

    /// The exit code, if it exited by itself.
    pub fn code(&self) -> Option<i32> {
        match self.reason {
            ExitReason::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended it, if one did: SIGKILL for a timeout and for want of memory.
    pub fn signal(&self) -> Option<i32> {
        match self.reason {
            ExitReason::Exited(_) => None,
            ExitReason::Signaled(signal) => Some(signal),
            ExitReason::OomKilled | ExitReason::TimedOut => Some(nix::libc::SIGKILL),
        }
    }

    /// What the whole container used; `None` where this kernel does not count it.
    ///
    /// `oom_kills` may be above 0 in a container that exited by itself: another of its processes
    /// was killed.
    pub fn usage(&self) -> Usage {
        self.usage
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitReason::Exited(code) => write!(f, "exit code {code}"),
            ExitReason::Signaled(signal) => match Signal::try_from(signal) {
                Ok(name) => write!(f, "signal {signal} ({name})"),
                Err(_) => write!(f, "signal {signal}"),
            },
            ExitReason::OomKilled => write!(f, "killed for want of memory"),
            ExitReason::TimedOut => write!(f, "killed after its timeout"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(wait_status: i32, timed_out: u32, oom_kills: Option<u64>) -> ExitStatus {
        let exit = Exit { wait_status, timed_out, user_us: 0, system_us: 0, max_rss_kib: 0 };
        ExitStatus::new(exit, Usage { oom_kills, ..Usage::default() }, false)
    }

    #[test]
    fn reasons_are_told_apart() {
        assert_eq!(status(0, 0, None).reason(), ExitReason::Exited(0));
        assert_eq!(status(7 << 8, 0, Some(1)).code(), Some(7));
        assert_eq!(status(15, 0, Some(0)).reason(), ExitReason::Signaled(15));
        assert_eq!(status(9, 0, Some(2)).reason(), ExitReason::OomKilled);
        assert_eq!(status(9, 0, Some(0)).reason(), ExitReason::Signaled(9));
        assert_eq!(status(9, 1, Some(0)).reason(), ExitReason::TimedOut);
        assert_eq!(status(9, 1, Some(0)).signal(), Some(9));
        assert_eq!(status(15, 0, None).to_string(), "signal 15 (SIGTERM)");
    }
}
