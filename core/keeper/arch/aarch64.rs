//! aarch64: the system call instruction and the numbers the keeper itself uses.

use core::arch::asm;

/// One system call with up to six arguments; an error is the negated errno, as the kernel says it.
///
/// # Safety
/// As for the system call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the aarch64 system call convention: all registers but x0 are kept. Whether the call
    // is sound is the caller's promise.
    unsafe {
        asm!(
            "svc 0",
            in("x8") nr,
            inlateout("x0") args[0] => result,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack),
        );
    }
    result
}

#[rustfmt::skip]
pub mod nr {
    pub const EPOLL_CREATE1: usize = 20;
    pub const EPOLL_CTL: usize = 21;
    pub const EPOLL_PWAIT: usize = 22;
    pub const MKNODAT: usize = 33;
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const UMOUNT2: usize = 39;
    pub const MOUNT: usize = 40;
    pub const PIVOT_ROOT: usize = 41;
    pub const FCHDIR: usize = 50;
    pub const CHROOT: usize = 51;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const GETDENTS64: usize = 61;
    pub const READ: usize = 63;
    pub const SIGNALFD4: usize = 74;
    pub const EXIT_GROUP: usize = 94;
    pub const UNSHARE: usize = 97;
    pub const CLOCK_GETTIME: usize = 113;
    pub const PTRACE: usize = 117;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const SETSID: usize = 157;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const SENDTO: usize = 206;
    pub const RECVFROM: usize = 207;
    pub const RECVMSG: usize = 212;
    pub const MMAP: usize = 222;
    pub const WAIT4: usize = 260;
    pub const PRLIMIT64: usize = 261;
    pub const PIDFD_SEND_SIGNAL: usize = 424;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const MOUNT_SETATTR: usize = 442;
    pub const SHUTDOWN: usize = 210;
    pub const SOCKETPAIR: usize = 199;
    pub const SENDMSG: usize = 211;
    pub const SOCKET: usize = 198;
    pub const IOCTL: usize = 29;
}
