//! A process that is remembered in a file: its number, and when it started.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Numbers are used again; no two processes have the number and the start in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Clock ticks from the machine's start to the process's.
    pub(crate) start_time: u64,
}

impl Process {
    /// The living process with this number now.
    pub(crate) fn of(pid: i32) -> Result<Process> {
        let stat = stat(pid).ok_or_else(|| format!("process {pid} has ended"))?;
        Ok(Process { pid, start_time: stat.start_time })
    }

    /// A handle of it, if it has not ended: an exit status that nobody has asked for yet is no life.
    pub(crate) fn open(self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        // The handle first: what is looked at then is what the handle stands for.
        let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            handle => handle?,
        };
        let same = stat(self.pid).is_some_and(|stat| stat.start_time == self.start_time);
        Ok(same.then_some(handle))
    }
}

struct Stat {
    start_time: u64,
}

/// From `/proc/PID/stat`; `None` for a process that has ended.
fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Source: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn parse(text: &str) -> Option<Stat> {
    // The name may contain anything, brackets too: the last one ends it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_cannot_mislead() {
        let tail = "1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8675 9 10";
        let parsed = |state| parse(&format!("7 (a) Z 1 (b) {state} {tail}"));
        assert_eq!(parsed("S").map(|stat| stat.start_time), Some(8675));
        assert!(parsed("Z").is_none());
        assert!(parsed("X").is_none());
    }

    #[test]
    fn another_process_with_the_number_is_not_it() {
        let own = Process::of(std::process::id() as i32).unwrap();
        assert!(own.open().unwrap().is_some());
        let other = Process { start_time: own.start_time + 1, ..own };
        assert!(other.open().unwrap().is_none());
    }
}
