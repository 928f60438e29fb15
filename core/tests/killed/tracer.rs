//! Runs a process and kills it, or fills its disk, at one chosen system call.
//!
//! The process says itself what is to be looked at: it calls [`traced`], which stops it before and
//! after. In between its system calls are counted over all of its threads, but for those that only
//! look, wait or get memory: what is on the disk between two that count is always the same, so the
//! number names each of the states in which it can be killed.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What befalls the process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// It lives.
    None,
    /// SIGKILL before the system call of this number, counted from 1, is carried out.
    Kill(u64),
    /// The call of this number, of those that can take room on a disk, says that it is full.
    FullOnce(u64),
    /// That call and all that follow.
    FullFrom(u64),
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Run {
    /// How many calls were counted.
    pub(crate) calls: u64,
    pub(crate) status: WaitStatus,
}

/// Does `work` where [`run`] looks. In the process that is run.
pub(crate) fn traced<T>(work: impl FnOnce() -> T) -> T {
    ptrace::traceme().unwrap();
    raise(Signal::SIGSTOP).unwrap();
    let done = work();
    raise(Signal::SIGSTOP).unwrap();
    done
}

/// Runs a program that calls [`traced`]. What it writes counts as taking room if it is below `disk`.
#[allow(clippy::zombie_processes, reason = "waited for by its id")]
pub(crate) fn run(command: &mut Command, disk: &Path, fate: Fate) -> Run {
    let child = Pid::from_raw(command.spawn().unwrap().id() as i32);
    let mut run = Run { calls: 0, status: WaitStatus::StillAlive };
    // The thread that traces itself; what it starts is traced, too.
    let mut first = None;
    let mut counting = false;
    let mut failing = HashSet::new();
    // Not those of this process's other threads.
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    loop {
        match waitpid(None, Some(flags)) {
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                let entered = ptrace::syscall_info(thread).is_ok_and(|info| info.op == ENTRY);
                if entered && counting {
                    match at_entry(thread, disk, fate, &mut run.calls) {
                        Act::Go => {}
                        Act::Kill => kill(child, Signal::SIGKILL).unwrap(),
                        Act::Fail => drop(failing.insert(thread)),
                    }
                } else if failing.remove(&thread) {
                    set(thread, |registers| registers.rax = -i64::from(libc::ENOSPC) as u64);
                }
                go_on(thread, None);
            }
            Ok(WaitStatus::Stopped(thread, Signal::SIGSTOP)) => {
                if first.is_none() {
                    first = Some(thread);
                    let options = Options::PTRACE_O_TRACESYSGOOD
                        | Options::PTRACE_O_TRACECLONE
                        | Options::PTRACE_O_EXITKILL;
                    ptrace::setoptions(thread, options).unwrap();
                    counting = true;
                } else if first == Some(thread) {
                    counting = false;
                }
                go_on(thread, None);
            }
            Ok(WaitStatus::Stopped(thread, signal)) => go_on(thread, Some(signal)),
            Ok(WaitStatus::PtraceEvent(thread, ..)) => go_on(thread, None),
            Ok(status) if status.pid() == Some(child) => run.status = status,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::ECHILD) => return run,
            Err(errno) => panic!("{errno}"),
        }
    }
}

/// `PTRACE_SYSCALL_INFO_ENTRY`
const ENTRY: u8 = 1;

enum Act {
    Go,
    Kill,
    Fail,
}

fn at_entry(thread: Pid, disk: &Path, fate: Fate, calls: &mut u64) -> Act {
    let Ok(registers) = ptrace::getregs(thread) else { return Act::Go };
    let counts = match fate {
        Fate::None | Fate::Kill(_) => changes(registers.orig_rax as i64),
        Fate::FullOnce(_) | Fate::FullFrom(_) => takes_room(thread, &registers, disk),
    };
    if !counts {
        return Act::Go;
    }
    *calls += 1;
    match fate {
        Fate::Kill(at) if *calls == at => Act::Kill,
        Fate::FullOnce(at) if *calls == at => fail(thread),
        Fate::FullFrom(at) if *calls >= at => fail(thread),
        _ => Act::Go,
    }
}

/// Has the call not carried out.
fn fail(thread: Pid) -> Act {
    set(thread, |registers| registers.orig_rax = u64::MAX);
    Act::Fail
}

fn set(thread: Pid, change: impl FnOnce(&mut user_regs_struct)) {
    let mut registers = ptrace::getregs(thread).unwrap();
    change(&mut registers);
    ptrace::setregs(thread, registers).unwrap();
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    // One that was killed is not there to be told.
    let _ = ptrace::syscall(thread, signal);
}

/// Whether others may see a difference after this call: not if it looks, waits or is about memory.
fn changes(number: i64) -> bool {
    !matches!(
        number,
        libc::SYS_read
            | libc::SYS_pread64
            | libc::SYS_lseek
            | libc::SYS_fstat
            | libc::SYS_newfstatat
            | libc::SYS_statx
            | libc::SYS_stat
            | libc::SYS_lstat
            | libc::SYS_access
            | libc::SYS_getdents64
            | libc::SYS_readlink
            | libc::SYS_readlinkat
            | libc::SYS_fcntl
            | libc::SYS_ioctl
            | libc::SYS_getrandom
            | libc::SYS_mmap
            | libc::SYS_munmap
            | libc::SYS_mremap
            | libc::SYS_mprotect
            | libc::SYS_madvise
            | libc::SYS_brk
            | libc::SYS_futex
            | libc::SYS_poll
            | libc::SYS_sched_yield
            | libc::SYS_sched_getaffinity
            | libc::SYS_gettid
            | libc::SYS_sigaltstack
            | libc::SYS_rt_sigprocmask
            | libc::SYS_rt_sigaction
            | libc::SYS_rseq
            | libc::SYS_set_robust_list
            | libc::SYS_prctl
            | libc::SYS_geteuid
            | libc::SYS_flistxattr
            | libc::SYS_fgetxattr
    )
}

/// Whether the call may need room on the file system of `disk`.
fn takes_room(thread: Pid, registers: &user_regs_struct, disk: &Path) -> bool {
    let creates = |flags: u64| {
        let flags = flags as i32;
        flags & libc::O_CREAT != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE
    };
    match registers.orig_rax as i64 {
        libc::SYS_mkdir
        | libc::SYS_mkdirat
        | libc::SYS_rename
        | libc::SYS_renameat
        | libc::SYS_renameat2
        | libc::SYS_link
        | libc::SYS_linkat
        | libc::SYS_symlink
        | libc::SYS_symlinkat
        | libc::SYS_mknod
        | libc::SYS_mknodat
        | libc::SYS_setxattr
        | libc::SYS_lsetxattr
        | libc::SYS_fsetxattr
        | libc::SYS_fallocate
        | libc::SYS_fsync
        | libc::SYS_fdatasync
        | libc::SYS_syncfs => true,
        libc::SYS_open => creates(registers.rsi),
        libc::SYS_openat => creates(registers.rdx),
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_copy_file_range => {
            let fd = match registers.orig_rax as i64 {
                libc::SYS_copy_file_range => registers.rdx,
                _ => registers.rdi,
            };
            let path = std::fs::read_link(format!("/proc/{thread}/fd/{fd}"));
            path.is_ok_and(|path| path.starts_with(disk))
        }
        _ => false,
    }
}
