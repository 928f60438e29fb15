//! x86_64: the entry point, the system call instruction and the numbers the keeper itself uses.

use core::arch::asm;

/// One system call with up to six arguments; an error is the negated errno, as the kernel says it.
///
/// # Safety
/// As for the system call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the x86_64 system call convention: rcx and r11 are lost, all else is kept. Whether
    // the call is sound is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[rustfmt::skip]
pub mod nr {
    pub const READ: usize = 0;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const SENDTO: usize = 44;
    pub const RECVFROM: usize = 45;
    pub const RECVMSG: usize = 47;
    pub const WAIT4: usize = 61;
    pub const FCHDIR: usize = 81;
    pub const UMASK: usize = 95;
    pub const PTRACE: usize = 101;
    pub const SETSID: usize = 112;
    pub const PIVOT_ROOT: usize = 155;
    pub const PRCTL: usize = 157;
    pub const CHROOT: usize = 161;
    pub const MOUNT: usize = 165;
    pub const UMOUNT2: usize = 166;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const EPOLL_CTL: usize = 233;
    pub const OPENAT: usize = 257;
    pub const UNLINKAT: usize = 263;
    pub const UNSHARE: usize = 272;
    pub const EPOLL_PWAIT: usize = 281;
    pub const SIGNALFD4: usize = 289;
    pub const EPOLL_CREATE1: usize = 291;
    pub const PRLIMIT64: usize = 302;
    pub const PIDFD_SEND_SIGNAL: usize = 424;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const CLONE3: usize = 435;
    pub const CLOSE_RANGE: usize = 436;
    pub const MOUNT_SETATTR: usize = 442;
    pub const MKNODAT: usize = 259;
    pub const SHUTDOWN: usize = 48;
    pub const SOCKETPAIR: usize = 53;
    pub const SENDMSG: usize = 46;
    pub const SOCKET: usize = 41;
    pub const IOCTL: usize = 16;
    pub const MKDIRAT: usize = 258;
}
