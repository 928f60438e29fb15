//! The keeper's system calls: just those, each as narrow as its one use.

use crate::arch::{nr, syscall};
use crate::protocol::MAX_FDS;

pub const EAGAIN: i32 = 11;
pub const EMFILE: i32 = 24;
pub const EINVAL: i32 = 22;

pub const SIGKILL: i32 = 9;
pub const CLOEXEC: usize = 0o2_000_000;
pub const EPOLLIN: u32 = 1;

const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;
const MSG_CTRUNC: i32 = 8;
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const WALL: usize = 0x4000_0000;

/// An errno.
pub type Result<T> = core::result::Result<T, i32>;

/// The plain system call, its error told apart.
///
/// # Safety
/// As for the system call.
unsafe fn call(nr: usize, args: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller's promise.
    let result = unsafe { syscall(nr, args) };
    if result < 0 {
        Err(-result as i32)
    } else {
        Ok(result as usize)
    }
}

macro_rules! call {
    ($nr:ident $(, $arg:expr)*) => {{
        let list = [$($arg as usize),*];
        let mut args = [0usize; 6];
        args[..list.len()].copy_from_slice(&list);
        // SAFETY: each use below passes numbers, or pointers to live values of the right type.
        unsafe { call(nr::$nr, args) }
    }};
}

/// A byte string with its closing NUL.
pub type CStr<'a> = &'a [u8];

pub fn close(fd: i32) {
    let _ = call!(CLOSE, fd);
}

/// Closes every file descriptor from `first` to `last`.
pub fn close_range(first: u32, last: u32) {
    if first <= last {
        let _ = call!(CLOSE_RANGE, first, last, 0);
    }
}

pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, code);
    }
}

pub fn setsid() {
    let _ = call!(SETSID);
}

pub fn umask(mask: u32) {
    let _ = call!(UMASK, mask);
}

/// Names this process as ps(1) shows it.
pub fn set_name(name: CStr<'_>) {
    let _ = call!(PRCTL, 15, name.as_ptr());
}

/// No core dump, no ptrace, and /proc/PID owned by root.
pub fn set_not_dumpable() {
    let _ = call!(PRCTL, 4, 0);
}

/// An empty signal mask, and default dispositions for all signals.
pub fn reset_signals() {
    let none = 0u64;
    let _ = call!(RT_SIGPROCMASK, 2, &none as *const u64, 0, 8);
    let default = [0u64; 4];
    for signal in 1..=64 {
        let _ = call!(RT_SIGACTION, signal, default.as_ptr(), 0, 8);
    }
}

/// Blocks SIGCHLD; a file descriptor that is readable when there is one. Nobody is to block in a read
/// of it, so that it does not.
pub fn child_signals() -> Result<i32> {
    const NONBLOCK: usize = 0o4000;
    let child = 1u64 << 16;
    let mask = &child as *const u64;
    call!(RT_SIGPROCMASK, 2, mask, 0, 8)?;
    call!(SIGNALFD4, -1isize, mask, 8, CLOEXEC | NONBLOCK).map(|fd| fd as i32)
}

/// Takes the signal from [`child_signals`]. There is never more than one at a time.
pub fn take_signal(fd: i32) {
    let mut info = [0u8; 128];
    let _ = call!(READ, fd, info.as_mut_ptr(), info.len());
}

/// Undoes [`child_signals`] in a new process.
pub fn unblock_signals() {
    let none = 0u64;
    let _ = call!(RT_SIGPROCMASK, 2, &none as *const u64, 0, 8);
}

/// Lets go of a traced thread that has stopped, with the signal that it was stopped by; SIGTRAP is
/// only the trace itself.
pub fn detach(pid: i32, status: i32) {
    const DETACH: usize = 17;
    const SIGTRAP: i32 = 5;
    let signal = status >> 8 & 0x7f;
    let _ = call!(PTRACE, DETACH, pid, 0, if signal == SIGTRAP { 0 } else { signal });
}

/// Raises the soft limit of open files as far as the hard one allows.
pub fn raise_nofile() {
    let mut limit = [0u64; 2];
    if call!(PRLIMIT64, 0, 7, 0, limit.as_mut_ptr()).is_ok() {
        limit[0] = limit[1];
        let _ = call!(PRLIMIT64, 0, 7, limit.as_ptr(), 0);
    }
}

/// Milliseconds since some fixed moment.
pub fn now_ms() -> u64 {
    let mut time = [0u64; 2];
    let _ = call!(CLOCK_GETTIME, 1, time.as_mut_ptr());
    time[0] * 1000 + time[1] / 1_000_000
}

pub fn epoll_create() -> Result<i32> {
    call!(EPOLL_CREATE1, CLOEXEC).map(|fd| fd as i32)
}

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
pub struct Event {
    pub events: u32,
    pub data: u64,
}

/// Watches `fd` for input and hang-up.
pub fn epoll_add(epoll: i32, fd: i32, data: u64) -> Result<()> {
    let event = Event { events: EPOLLIN, data };
    call!(EPOLL_CTL, epoll, 1, fd, &event as *const Event).map(|_| ())
}

pub fn epoll_remove(epoll: i32, fd: i32) {
    let _ = call!(EPOLL_CTL, epoll, 2, fd, 0);
}

/// Waits for events; `timeout_ms` -1 is for ever.
pub fn epoll_wait(epoll: i32, events: &mut [Event], timeout_ms: i32) -> usize {
    let timeout = timeout_ms as isize;
    call!(EPOLL_PWAIT, epoll, events.as_mut_ptr(), events.len(), timeout, 0, 8).unwrap_or(0)
}

#[repr(C)]
struct IoVec {
    base: *mut u8,
    len: usize,
}

#[repr(C)]
struct MsgHdr {
    name: usize,
    name_len: u32,
    iov: *mut IoVec,
    iov_len: usize,
    control: *mut u8,
    control_len: usize,
    flags: i32,
}

/// Received file descriptors, in the order sent, which is also ascending: the kernel takes the
/// lowest free number for each.
pub struct Fds {
    pub list: [i32; MAX_FDS],
    pub len: usize,
    /// Some did not fit the limit of open files.
    pub truncated: bool,
}

impl Fds {
    pub const fn none() -> Fds {
        Fds { list: [0; MAX_FDS], len: 0, truncated: false }
    }

    pub fn as_slice(&self) -> &[i32] {
        self.list.get(..self.len).unwrap_or(&[])
    }

    pub fn close_all(&mut self) {
        for &fd in self.as_slice() {
            close(fd);
        }
        self.len = 0;
    }
}

#[repr(C, align(8))]
struct ControlBuffer([u8; 16 + 4 * MAX_FDS + 4]);

/// Receives one message into `buffer` with its file descriptors. 0 bytes is end of file.
pub fn receive(socket: i32, buffer: &mut [u8], fds: &mut Fds) -> Result<usize> {
    let mut control = ControlBuffer([0; 16 + 4 * MAX_FDS + 4]);
    let mut iov = IoVec { base: buffer.as_mut_ptr(), len: buffer.len() };
    let mut header = MsgHdr {
        name: 0,
        name_len: 0,
        iov: &mut iov,
        iov_len: 1,
        control: control.0.as_mut_ptr(),
        control_len: control.0.len(),
        flags: 0,
    };
    let flags = MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
    let received = call!(RECVMSG, socket, &mut header as *mut MsgHdr, flags)?;
    fds.len = 0;
    fds.truncated = header.flags & MSG_CTRUNC != 0;
    let word = |at: usize| {
        let mut bytes = [0u8; 4];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = *control.0.get(at + i).unwrap_or(&0);
        }
        i32::from_ne_bytes(bytes)
    };
    // One control message at most: only file descriptors are ever sent. Its length is 8 bytes.
    if header.control_len >= 16 && word(8) == SOL_SOCKET && word(12) == SCM_RIGHTS {
        let count = (word(0) as usize).saturating_sub(16) / 4;
        for (i, slot) in fds.list.iter_mut().take(count).enumerate() {
            *slot = word(16 + 4 * i);
        }
        fds.len = if count < MAX_FDS { count } else { MAX_FDS };
    }
    Ok(received)
}

/// Two connected `SOCK_SEQPACKET` sockets.
pub fn socket_pair() -> Result<[i32; 2]> {
    const UNIX: usize = 1;
    const SEQPACKET: usize = 5;
    let mut pair = [0i32; 2];
    call!(SOCKETPAIR, UNIX, SEQPACKET | CLOEXEC, 0, pair.as_mut_ptr())?;
    Ok(pair)
}

/// Fails where two more [pairs](socket_pair) could not be made.
pub fn check_room() -> Result<()> {
    let one = socket_pair()?;
    let other = socket_pair();
    one.iter().chain(other.iter().flatten()).for_each(|&fd| close(fd));
    other.map(|_| ())
}

#[repr(C, align(8))]
struct TwoFds {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; 2],
}

/// Sends `bytes` with two file descriptors, if that is possible at once.
pub fn send_fds(socket: i32, bytes: &[u8], fds: [i32; 2]) -> Result<()> {
    let mut control = TwoFds { len: 24, level: SOL_SOCKET, kind: SCM_RIGHTS, fds };
    let mut iov = IoVec { base: bytes.as_ptr().cast_mut(), len: bytes.len() };
    let header = MsgHdr {
        name: 0,
        name_len: 0,
        iov: &mut iov,
        iov_len: 1,
        control: (&raw mut control).cast(),
        control_len: core::mem::size_of::<TwoFds>(),
        flags: 0,
    };
    let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    call!(SENDMSG, socket, &header as *const MsgHdr, flags).map(|_| ())
}

/// Sends `bytes` if that is possible at once: the keeper never blocks on a send.
pub fn send(socket: i32, bytes: &[u8]) {
    let flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    let _ = call!(SENDTO, socket, bytes.as_ptr(), bytes.len(), flags, 0, 0);
}

/// Receives one message into `buffer` if there is one. 0 bytes is end of file.
pub fn receive_bytes(socket: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(RECVFROM, socket, buffer.as_mut_ptr(), buffer.len(), MSG_DONTWAIT, 0, 0)
}

/// Refuses what the other side sends from now on (EPIPE there); what it has sent can be received.
pub fn refuse_more(socket: i32) {
    const SHUT_RD: usize = 0;
    let _ = call!(SHUTDOWN, socket, SHUT_RD);
}

#[repr(C)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A fork into new namespaces: 0 in the child, its pid and pidfd in the keeper. The keeper is a
/// few pages, so that copying them costs less than the moment a vfork would keep it waiting.
pub fn clone(namespaces: u64, cgroup: Option<i32>) -> Result<(i32, i32)> {
    let mut pidfd = -1i32;
    let mut args = CloneArgs {
        flags: namespaces | CLONE_PIDFD,
        pidfd: &mut pidfd as *mut i32 as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: 17,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd as u64;
    }
    let pid = call!(CLONE3, &mut args as *mut CloneArgs, core::mem::size_of::<CloneArgs>())?;
    Ok((pid as i32, pidfd))
}

pub fn kill(pidfd: i32, signal: i32) {
    let _ = call!(PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0);
}

/// What wait4(2) tells of an ended process.
pub struct Waited {
    pub pid: i32,
    pub status: i32,
    pub user_us: u64,
    pub system_us: u64,
    pub max_rss_kib: u64,
}

/// Waits for `pid`; -1 is for any. `None` where there is nothing to wait for.
pub fn wait(pid: i32) -> Option<Waited> {
    wait_with(pid, WALL)
}

/// Takes the next change of any child or traced thread that there is, without waiting.
pub fn next_change() -> Option<Waited> {
    const NO_HANG: usize = 1;
    wait_with(-1, WALL | NO_HANG).filter(|waited| waited.pid != 0)
}

fn wait_with(pid: i32, options: usize) -> Option<Waited> {
    let mut status = 0i32;
    let mut usage = [0u64; 18];
    let pid = loop {
        let pid = pid as isize;
        match call!(WAIT4, pid, &mut status as *mut i32, options, usage.as_mut_ptr()) {
            Ok(pid) => break pid as i32,
            Err(4) => {}
            Err(_) => return None,
        }
    };
    Some(Waited {
        pid,
        status,
        user_us: usage[0] * 1_000_000 + usage[1],
        system_us: usage[2] * 1_000_000 + usage[3],
        max_rss_kib: usage[4],
    })
}

/// Maps the plan privately at `address`.
pub fn map_plan(fd: i32, address: usize, len: usize) -> Result<*mut u8> {
    const PRIVATE_FIXED_NOREPLACE: usize = 0x10_0002;
    call!(MMAP, address, len, 3, PRIVATE_FIXED_NOREPLACE, fd, 0).map(|at| at as *mut u8)
}

/// Leaves the host's mount namespace for an own one that holds an empty tmpfs and nothing else, so
/// that the host's mounts are not kept busy, and the namespace each container starts from is small.
pub fn leave_mounts() -> Result<()> {
    const MS_REC_PRIVATE: usize = 0x4000 | 0x4_0000;
    const NEWNS: usize = 0x2_0000;
    const DETACH: usize = 2;
    const EMPTY_PATH: usize = 4;
    call!(UNSHARE, NEWNS)?;
    call!(MOUNT, 0, b"/\0".as_ptr(), 0, MS_REC_PRIVATE, 0)?;
    let context = call!(FSOPEN, b"tmpfs\0".as_ptr(), 1)?;
    call!(FSCONFIG, context, 6, 0, 0, 0)?;
    let root = call!(FSMOUNT, context, 1, 0)?;
    let here = -100isize;
    call!(MOVE_MOUNT, root, b"\0".as_ptr(), here, b"/\0".as_ptr(), EMPTY_PATH)?;
    call!(FCHDIR, root)?;
    // An initramfs cannot be pivoted away from: there the new root only covers the old.
    match call!(PIVOT_ROOT, b".\0".as_ptr(), b".\0".as_ptr()) {
        Ok(_) => call!(UMOUNT2, b".\0".as_ptr(), DETACH)?,
        Err(EINVAL) => call!(CHROOT, b".\0".as_ptr())?,
        Err(errno) => return Err(errno),
    };
    make_nodes()?;
    // Read-only as a mount: a device can be opened for writing all the same, and no container can
    // change the mode or the owner of a node that it shares with others.
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attr = [MOUNT_ATTR_RDONLY, 0, 0, 0];
    call!(MOUNT_SETATTR, root, b"\0".as_ptr(), 0x1000, attr.as_ptr(), 32)?;
    close(root as i32);
    close(context as i32);
    Ok(())
}

/// The device nodes that containers get copies of. The library's encoder knows the names.
fn make_nodes() -> Result<()> {
    const NODES: [(CStr<'static>, usize, usize); 6] = [
        (b"null\0", 1, 3),
        (b"zero\0", 1, 5),
        (b"full\0", 1, 7),
        (b"random\0", 1, 8),
        (b"urandom\0", 1, 9),
        (b"tty\0", 5, 0),
    ];
    const CHARACTER_0666: usize = 0o020_666;
    for (name, major, minor) in NODES {
        let here = -100isize;
        call!(MKNODAT, here, name.as_ptr(), CHARACTER_0666, major << 8 | minor)?;
    }
    let here = -100isize;
    // Where a plan may mount what it needs on the way.
    call!(MKDIRAT, here, b"scratch\0".as_ptr(), 0o700usize)?;
    Ok(())
}

/// Enters a new network namespace and brings its loopback interface up.
pub fn new_network() -> Result<()> {
    const NEWNET: usize = 0x4000_0000;
    const INET: usize = 2;
    const DATAGRAM: usize = 2;
    const SIOCSIFFLAGS: usize = 0x8914;
    const UP_RUNNING: u8 = 0x41;
    call!(UNSHARE, NEWNET)?;
    let socket = call!(SOCKET, INET, DATAGRAM | CLOEXEC, 0)?;
    // struct ifreq: a name of 16 bytes, then the flags.
    let mut request = [0u8; 40];
    (request[0], request[1], request[16]) = (b'l', b'o', UP_RUNNING);
    let result = call!(IOCTL, socket, SIOCSIFFLAGS, request.as_ptr());
    close(socket as i32);
    result.map(|_| ())
}

/// Opens the directory `name` below `dir`.
pub fn open_dir(dir: i32, name: CStr<'_>) -> Result<i32> {
    const DIRECTORY_NOFOLLOW: usize = if cfg!(target_arch = "aarch64") {
        0o40_000 | 0o100_000
    } else {
        0o200_000 | 0o400_000
    };
    call!(OPENAT, dir, name.as_ptr(), DIRECTORY_NOFOLLOW | CLOEXEC, 0).map(|fd| fd as i32)
}

/// Reads directory entries, as `struct linux_dirent64`.
pub fn read_dir(dir: i32, buffer: &mut [u8]) -> usize {
    call!(GETDENTS64, dir, buffer.as_mut_ptr(), buffer.len()).unwrap_or(0)
}

pub fn remove_dir(dir: i32, name: CStr<'_>) -> Result<()> {
    const AT_REMOVEDIR: usize = 0x200;
    call!(UNLINKAT, dir, name.as_ptr(), AT_REMOVEDIR).map(|_| ())
}

/// The kernel, as a plan reaches it.
pub struct Kernel;

impl crate::interpreter::System for Kernel {
    fn call(&mut self, nr: usize, args: [usize; 6]) -> isize {
        // SAFETY: a plan comes from the library whose process this is a part of; its pointers lead
        // into its own mapping, and the new process has nothing to lose but itself.
        unsafe { syscall(nr, args) }
    }
}
