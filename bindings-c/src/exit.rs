//! How a container ended, and what it used.

use std::ffi::{c_char, c_int};

use skep::{Bytes, ExitReason, ExitStatus, Usage};

/// What a number of skep_usage is where this kernel does not count it.
pub const SKEP_NOT_COUNTED: u64 = u64::MAX;

/// Why a container's command ended. Later versions may have more reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_exit_reason {
    /// It has not: a wait without a wait, or one whose time was over.
    SKEP_REASON_RUNNING = 0,
    /// It exited by itself.
    SKEP_REASON_EXITED = 1,
    /// A signal ended it.
    SKEP_REASON_SIGNALED = 2,
    /// The kernel killed it because the container's memory limit was reached.
    SKEP_REASON_OOM_KILLED = 3,
    /// The command's timeout passed, and everything in the container was killed.
    SKEP_REASON_TIMED_OUT = 4,
}

/// What a whole container used; SKEP_NOT_COUNTED where this kernel does not count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct skep_usage {
    /// The most memory at one time, in bytes, page cache included.
    pub memory_peak: u64,
    /// CPU time, in microseconds; the sum of the two below.
    pub cpu_total_us: u64,
    /// The part of it in programs, in microseconds, as far as the kernel's sampling saw it.
    pub cpu_user_us: u64,
    /// The part of it in the kernel, in microseconds.
    pub cpu_system_us: u64,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// The most processes and threads at one time.
    pub pids_peak: u64,
    /// SKEP_NOT_COUNTED; counts of later versions.
    pub reserved: [u64; 2],
}

/// How a container ended. A non-zero exit code is a result, and no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct skep_exit_status {
    /// Why it ended: one of `enum skep_exit_reason`.
    pub reason: c_int,
    /// The exit code, if it exited by itself; -1 otherwise.
    pub code: c_int,
    /// The signal that ended it, SIGKILL for a timeout and for want of memory; 0 if it exited by
    /// itself.
    pub signal: c_int,
    /// 0.
    pub reserved: c_int,
    /// What the container used. `oom_kills` may be above 0 where the command exited by itself:
    /// another process was killed.
    pub usage: skep_usage,
}

impl From<Usage> for skep_usage {
    fn from(usage: Usage) -> skep_usage {
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let cpu = |part: fn(skep::CpuTime) -> std::time::Duration| {
            usage.cpu.map_or(SKEP_NOT_COUNTED, |cpu| us(part(cpu)))
        };
        skep_usage {
            memory_peak: usage.memory_peak.map_or(SKEP_NOT_COUNTED, Bytes::get),
            cpu_total_us: cpu(|cpu| cpu.total),
            cpu_user_us: cpu(|cpu| cpu.user),
            cpu_system_us: cpu(|cpu| cpu.system),
            oom_kills: usage.oom_kills.unwrap_or(SKEP_NOT_COUNTED),
            pids_peak: usage.pids_peak.unwrap_or(SKEP_NOT_COUNTED),
            reserved: [SKEP_NOT_COUNTED; 2],
        }
    }
}

impl From<ExitStatus> for skep_exit_status {
    fn from(status: ExitStatus) -> skep_exit_status {
        let reason = match status.reason() {
            ExitReason::Exited(_) => skep_exit_reason::SKEP_REASON_EXITED,
            ExitReason::OomKilled => skep_exit_reason::SKEP_REASON_OOM_KILLED,
            ExitReason::TimedOut => skep_exit_reason::SKEP_REASON_TIMED_OUT,
            _ => skep_exit_reason::SKEP_REASON_SIGNALED,
        };
        skep_exit_status {
            reason: reason as c_int,
            code: status.code().unwrap_or(-1),
            signal: status.signal().unwrap_or(0),
            reserved: 0,
            usage: status.usage().into(),
        }
    }
}

impl From<Option<ExitStatus>> for skep_exit_status {
    fn from(status: Option<ExitStatus>) -> skep_exit_status {
        status.map_or_else(
            || skep_exit_status {
                reason: skep_exit_reason::SKEP_REASON_RUNNING as c_int,
                code: -1,
                signal: 0,
                reserved: 0,
                usage: Usage::default().into(),
            },
            skep_exit_status::from,
        )
    }
}

impl skep_exit_status {
    fn text(&self) -> String {
        const STILL_RUNNING: c_int = skep_exit_reason::SKEP_REASON_RUNNING as c_int;
        const EXITED: c_int = skep_exit_reason::SKEP_REASON_EXITED as c_int;
        const OOM_KILLED: c_int = skep_exit_reason::SKEP_REASON_OOM_KILLED as c_int;
        const TIMEOUT_KILLED: c_int = skep_exit_reason::SKEP_REASON_TIMED_OUT as c_int;
        match self.reason {
            STILL_RUNNING => "still running".to_owned(),
            EXITED => ExitReason::Exited(self.code).to_string(),
            OOM_KILLED => ExitReason::OomKilled.to_string(),
            TIMEOUT_KILLED => ExitReason::TimedOut.to_string(),
            _ => ExitReason::Signaled(self.signal).to_string(),
        }
    }
}

/// Whether the command exited by itself with code 0. False for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_exit_status_success(status: Option<&skep_exit_status>) -> bool {
    let exited = skep_exit_reason::SKEP_REASON_EXITED as c_int;
    status.is_some_and(|status| status.reason == exited && status.code == 0)
}

/// Writes `status` in words, such as "exit code 3", "signal 15 (SIGTERM)" or "killed for want of
/// memory", to `buffer`, with a NUL byte at its end, as snprintf(3) does: at most `size` bytes, none
/// if that is 0 or `buffer` is NULL. Returns the length of the whole text, without the NUL byte;
/// 64 bytes are enough. Nothing (0, and an empty string) for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn skep_exit_status_text(
    status: Option<&skep_exit_status>,
    buffer: *mut c_char,
    size: usize,
) -> usize {
    let text = status.map(skep_exit_status::text).unwrap_or_default();
    if !buffer.is_null() && size > 0 {
        let length = text.len().min(size - 1);
        // SAFETY: the buffer has `size` bytes, of which no more are written (the caller's promise).
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), buffer, length);
            buffer.add(length).write(0);
        }
    }
    text.len()
}
