//! Starts the keeper, or a program that is asked something, without the host noticing: no SIGCHLD,
//! nothing for its `waitpid(-1)`.
//!
//! The calling thread clones an intermediate (`CLONE_VM | CLONE_VFORK`: it runs in this address
//! space, on a stack of its own, while the thread waits; nothing of the host is copied, whatever its
//! size). The intermediate clones the keeper in the same way and exits, so that the keeper's parent
//! is init, or the host where that is init or a child subreaper. The intermediate has exit signal 0:
//! only a wait with `__WCLONE` sees it. An exec'd child of our own would not do, because exec sets
//! the exit signal back to SIGCHLD.
//!
//! Plain clone(2) by libc, not clone3: valgrind does not know that one, and neither do many seccomp
//! filters. Signals are blocked all the while, so that no handler of the host runs in a clone.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_int, c_long, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

use nix::libc;

use super::raw;

/// Enough for three nested calls; the clones allocate nothing.
const STACK: usize = 32 * 1024;

/// What both clones read and one writes: they run in this address space while the thread waits.
struct Shared {
    program: Program,
    stdio: [c_int; 3],
    /// Of the second clone.
    flags: c_int,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    second_stack: *mut c_void,
    pidfd: c_int,
    errno: c_int,
}

/// What is executed.
enum Program {
    /// An open file.
    File(c_int),
    /// A path, for scripts have to be opened by their interpreter.
    Path(*const libc::c_char),
}

/// Executes `program` as a new process with `control` as its only file descriptor (as 0, 1 and 2),
/// in new `namespaces` (`CLONE_NEW*`), as a child of init.
///
/// Source: <https://man7.org/linux/man-pages/man2/clone.2.html>
pub(crate) fn birth(
    program: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    name: &CStr,
    namespaces: c_int,
) -> io::Result<()> {
    let argv = [name.as_ptr(), ptr::null()];
    let envp = [ptr::null()];
    let shared = Shared {
        program: Program::File(program.as_raw_fd()),
        stdio: [control.as_raw_fd(); 3],
        flags: namespaces,
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        second_stack: ptr::null_mut(),
        pidfd: -1,
        errno: 0,
    };
    clone_twice(shared, 0).map(drop)
}

/// Executes the program at `path` as a new process with `stdio` as its only file descriptors, its
/// signals as they are by default and a session of its own, as a child of init. `arguments` begin
/// with its name. Returns what it can be ended by.
///
/// Source: <https://man7.org/linux/man-pages/man2/clone.2.html>
pub(crate) fn ask(
    path: &CStr,
    arguments: &[&CStr],
    environment: &[CString],
    stdio: [BorrowedFd<'_>; 3],
) -> io::Result<OwnedFd> {
    let end = [ptr::null()];
    let argv: Vec<_> = arguments.iter().map(|argument| argument.as_ptr()).chain(end).collect();
    let envp: Vec<_> = environment.iter().map(|variable| variable.as_ptr()).chain(end).collect();
    let shared = Shared {
        program: Program::Path(path.as_ptr()),
        stdio: stdio.map(|fd| fd.as_raw_fd()),
        flags: libc::CLONE_PIDFD,
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        second_stack: ptr::null_mut(),
        pidfd: -1,
        errno: 0,
    };
    // With this thread's file descriptors, so that the second clone's is one of them.
    let pidfd = clone_twice(shared, libc::CLONE_FILES)?;
    // SAFETY: new, valid after a success, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// Clones an intermediate that clones what executes `shared`'s program; returns the latter's pidfd,
/// if `shared.flags` ask for one. The pointers in `shared` are valid until this returns.
fn clone_twice(mut shared: Shared, flags: c_int) -> io::Result<c_int> {
    // Aligned to 16 bytes as both architectures want their stacks.
    let mut stacks = vec![0u128; 2 * STACK / size_of::<u128>()].into_boxed_slice();
    let top = |index: usize| stacks.as_ptr_range().start.cast::<u8>().wrapping_add(index * STACK);
    let middle_stack = top(1).cast_mut().cast();
    shared.second_stack = top(2).cast_mut().cast();
    let mask = block_signals();
    // SAFETY: the stack is ours alone and lives past the clone, which ends or execs before this
    // returns (CLONE_VFORK); `intermediate` makes system calls only.
    let pid = unsafe {
        libc::clone(
            intermediate,
            middle_stack,
            libc::CLONE_VM | libc::CLONE_VFORK | flags,
            ptr::from_mut(&mut shared).cast(),
        )
    };
    let failed = (pid < 0).then(io::Error::last_os_error);
    if pid > 0 {
        // SAFETY: waits for our own intermediate; a host thread that waits with __WALL may be
        // quicker (ECHILD), which is as well.
        while unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WCLONE) } < 0
            && io::Error::last_os_error().raw_os_error() == Some(libc::EINTR)
        {}
    }
    restore_signals(mask);
    // The clones used it behind the compiler's back.
    std::hint::black_box(&mut stacks);
    // SAFETY: plain reads of locals that the (ended) clones may have written.
    let (errno, pidfd) = unsafe {
        (ptr::read_volatile(&raw const shared.errno), ptr::read_volatile(&raw const shared.pidfd))
    };
    if errno != 0 && pidfd >= 0 {
        // SAFETY: new, and nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(pidfd) });
    }
    match (failed, errno) {
        (Some(error), _) => Err(error),
        (None, 0) => Ok(pidfd),
        (None, errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

extern "C" fn intermediate(shared: *mut c_void) -> c_int {
    let shared: *mut Shared = shared.cast();
    // SAFETY: the waiting thread keeps `shared` alive and untouched; the stack is unused so far.
    unsafe {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | (*shared).flags;
        let pidfd = &raw mut (*shared).pidfd;
        if libc::clone(second, (*shared).second_stack, flags, shared.cast(), pidfd) < 0 {
            (*shared).errno = *libc::__errno_location();
        }
    }
    0
}

/// In the process that is to be: its file descriptor table is a copy, so that nothing here is the host's.
extern "C" fn second(shared: *mut c_void) -> c_int {
    let shared: *mut Shared = shared.cast();
    // SAFETY: as in `intermediate`; the pointers lead to the waiting thread's locals.
    unsafe {
        let errno = exec(&*shared);
        (*shared).errno = errno;
    }
    127
}

/// Returns the errno of what failed, or not at all.
///
/// # Safety
/// Only in a process whose file descriptors are its own to close.
unsafe fn exec(shared: &Shared) -> c_int {
    // SAFETY: system calls on numbers and on pointers that outlive them.
    unsafe {
        // Above 2, whatever the host has closed.
        let above = |fd: c_int| call(libc::SYS_fcntl, [fd as usize, DUPFD_CLOEXEC, 3, 0, 0]);
        let [stdin, stdout, stderr] = shared.stdio.map(above);
        let program = match shared.program {
            Program::File(file) => above(file),
            Program::Path(_) => 0,
        };
        let worst = stdin.min(stdout).min(stderr).min(program);
        if worst < 0 {
            return -worst as c_int;
        }
        for (target, fd) in [stdin, stdout, stderr].into_iter().enumerate() {
            call(libc::SYS_dup3, [fd as usize, target, 0, 0, 0]);
        }
        let (argv, envp) = (shared.argv as usize, shared.envp as usize);
        let all = u32::MAX as usize;
        match shared.program {
            Program::File(_) => {
                // No CLOSE_RANGE_CLOEXEC, which came in Linux 5.11: around the program instead.
                call(libc::SYS_close_range, [3, program as usize - 1, 0, 0, 0]);
                call(libc::SYS_close_range, [program as usize + 1, all, 0, 0, 0]);
                let empty = c"".as_ptr() as usize;
                let flags = libc::AT_EMPTY_PATH as usize;
                let result = call(libc::SYS_execveat, [program as usize, empty, argv, envp, flags]);
                if result != -(libc::ENOENT as isize) {
                    return -result as c_int;
                }
                // Never of the kernel's for an open program. valgrind 3.19 looks it up by a name,
                // which a memory file does not have.
                let path = path_of(program as u32);
                -call(libc::SYS_execve, [path.as_ptr() as usize, argv, envp, 0, 0]) as c_int
            }
            Program::Path(path) => {
                call(libc::SYS_close_range, [3, all, 0, 0, 0]);
                call(libc::SYS_setsid, [0; 5]);
                default_signals();
                -call(libc::SYS_execve, [path as usize, argv, envp, 0, 0]) as c_int
            }
        }
    }
}

/// Gives all signals their default disposition and unblocks them. The keeper does so itself.
///
/// # Safety
/// Only in a process whose dispositions are its own: a clone without `CLONE_SIGHAND`.
unsafe fn default_signals() {
    // The kernel's struct sigaction: SIG_DFL, no flags, no restorer, an empty mask.
    let (default, empty) = ([0u64; 4], 0u64);
    let (default, empty, size) = (ptr::from_ref(&default), ptr::from_ref(&empty), size_of::<u64>());
    for signal in 1..=64 {
        // SAFETY: a valid pointer. SIGKILL and SIGSTOP say no.
        unsafe { call(libc::SYS_rt_sigaction, [signal, default as usize, 0, size, 0]) };
    }
    let how = libc::SIG_SETMASK as usize;
    // SAFETY: a valid pointer.
    unsafe { call(libc::SYS_rt_sigprocmask, [how, empty as usize, 0, size, 0]) };
}

/// `/proc/self/fd/` and the number, NUL-terminated, without an allocation.
fn path_of(mut number: u32) -> [u8; 32] {
    let mut path = *b"/proc/self/fd/0000000000\0\0\0\0\0\0\0\0";
    let length = 14 + number.checked_ilog10().unwrap_or(0) as usize + 1;
    path[length] = 0;
    for digit in path[14..length].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    path
}

const DUPFD_CLOEXEC: usize = libc::F_DUPFD_CLOEXEC as usize;

/// # Safety
/// As for the system call.
unsafe fn call(nr: c_long, args: [usize; 5]) -> isize {
    // SAFETY: the caller's promise.
    unsafe { raw::syscall(nr as usize, [args[0], args[1], args[2], args[3], args[4], 0]) }
}

/// The kernel's set of 64 signals, those that libc keeps for itself among them.
fn block_signals() -> u64 {
    let (all, mut old) = (u64::MAX, 0u64);
    set_mask(&all, &mut old);
    old
}

fn restore_signals(mask: u64) {
    set_mask(&mask, &mut 0);
}

fn set_mask(new: &u64, old: &mut u64) {
    let args = [
        libc::SIG_SETMASK as usize,
        ptr::from_ref(new) as usize,
        ptr::from_mut(old) as usize,
        size_of::<u64>(),
        0,
    ];
    // SAFETY: valid pointers to sets of the size given.
    unsafe { call(libc::SYS_rt_sigprocmask, args) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn file_descriptors_have_paths() {
        for number in [0, 9, 10, 1234, u32::MAX] {
            let path = super::path_of(number);
            let path = std::ffi::CStr::from_bytes_until_nul(&path).unwrap();
            assert_eq!(path.to_str().unwrap(), format!("/proc/self/fd/{number}"));
        }
    }
}
