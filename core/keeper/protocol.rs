//! What the library and its keeper say to each other. Both include this file.
//!
//! Three channels, all `SOCK_SEQPACKET` socket pairs, so that a message arrives whole or not at all:
//!
//! - *control*, one an engine: [`Hello`] once, then a [`Start`] for each container, each with its
//!   file descriptors; [`Channels`] back, ahead of need. End of file here ends the keeper and every
//!   container with it.
//! - *status*, one a container, between the library and the container's first process before its
//!   exec: [`Report`] out, a byte in where a plan awaits a go. The exec closes it, so end of file
//!   without a [`Report`] means that the command runs.
//! - *reply*, one a container, between the library and the keeper: [`Signal`] in, [`Exit`] out.
//!   Closing it drops the container: it is killed.
//!
//! The keeper makes the pairs of status and reply and hands the library its ends. Made by the host,
//! the other ends would for a moment be in the host too, and a fork of the host in that moment
//! would keep them open in its copy: an end of file would never come.
//!
//! A plan is a list of [`Call`]s in a sealed memfd. It is mapped privately at [`BASE`] in the new
//! process, so that the pointers in it are plain addresses and need no relocation; the kernel
//! checks them as it checks every pointer (EFAULT).

/// Says that both sides speak of the same thing; [`VERSION`] changes with every layout here.
pub const MAGIC: u32 = u32::from_le_bytes(*b"skep");
/// The version of the layouts in this file.
pub const VERSION: u32 = 1;

/// Where a plan is mapped: above any static program's image and below its stack, on x86_64 and on
/// aarch64 with 39 or more bits of addresses.
pub const BASE: usize = 0x10_0000_0000;

/// The most file descriptors in one message (the kernel's SCM_MAX_FD).
pub const MAX_FDS: usize = 253;

/// The keeper's end of the control channel; 1 and 2 are copies of it, so that no received file
/// descriptor ever takes a place of standard input, output or error.
pub const CONTROL: i32 = 0;

/// The first message on the control channel. File descriptors: the host's pidfd, the lock file
/// that says this keeper lives, and any number of directories to [sweep](Hello::sweep).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hello {
    pub magic: u32,
    pub version: u32,
    /// How many directories follow. When the host is gone and its containers are dead, the
    /// keeper removes each one's directory `owner` with the empty directories below it: these are
    /// control groups, which vanish only by rmdir(2).
    pub sweep: u32,
    /// NUL-terminated name below each of them.
    pub owner: [u8; 52],
}

/// The library's ends of a status and a reply channel, for one start. File descriptors: status,
/// reply.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    /// What [`Start::channels`] calls them by.
    pub index: u32,
}

/// How many [`Channels`] the keeper sends ahead. A message more than the kernel's default of
/// net.unix.max_dgram_qlen, 10, would not fit the socket.
pub const CHANNELS: usize = 8;

/// Starts a container. File descriptors: plan, the control group's directory (if [`INTO_CGROUP`]),
/// then those of the plan's slots from slot 1 on, in order.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// [`Channels::index`] of the channels to use, which are then replaced by new ones.
    pub channels: u32,
    /// [`INTO_CGROUP`], [`ONE_SHOT`], [`ABANDONED`], [`ATTACH`], [`DISCARD`].
    pub flags: u32,
    /// `CLONE_NEW*` for the clone itself; the plan unshares the rest, in parallel.
    pub clone_flags: u64,
    /// Kill after so many milliseconds; 0 for never.
    pub timeout_ms: u64,
    /// Bytes of the plan's memfd.
    pub plan_size: u64,
    /// The library's number for this container: what [`ATTACH`] names it by.
    pub token: u64,
}

/// Clone with `CLONE_INTO_CGROUP`.
pub const INTO_CGROUP: u32 = 1;
/// Start this one container and exit, so that it is reparented to the caller's reaper.
pub const ONE_SHOT: u32 = 2;
/// Start nothing: the library could not send what belongs to the start. The channels are replaced.
pub const ABANDONED: u32 = 4;

/// Start nothing: these channels' reply belongs to the parked container `token` from now on. End of
/// file on it says that there is none.
pub const ATTACH: u32 = 8;

/// Start nothing: kill the parked container `token`. No channels are used.
pub const DISCARD: u32 = 16;

/// From a process before its exec, on its status channel.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which operation of the plan, or [`OP_CLONE`].
    pub op: u32,
    /// The errno it failed with; 0 for [`OP_CLONE`] of a one-shot start: `pid` is the answer.
    pub errno: i32,
    /// The process, as the keeper's pid namespace counts it.
    pub pid: i32,
}

/// [`Report::op`] of what comes before the plan: receiving, cloning, mapping.
pub const OP_CLONE: u32 = u32::MAX;

/// From the keeper when a container's first process has ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// As wait4(2) gives it.
    pub wait_status: i32,
    /// 1 if the keeper killed it because [`Start::timeout_ms`] had passed.
    pub timed_out: u32,
    /// Of the first process and those that it waited for, in microseconds.
    pub user_us: u64,
    pub system_us: u64,
    /// The largest resident set of one of these processes.
    pub max_rss_kib: u64,
}

/// To the keeper, on a container's reply channel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// A signal's number, or [`PARK`].
    pub signal: i32,
}

/// The library is going to close this channel, and the container is to live on until it is
/// [attached](ATTACH) again: a host with few file descriptors need not spend one on each container.
/// How a parked container has ended is kept for it.
pub const PARK: i32 = -1;

/// The head of a plan; slots follow it at [`SLOTS_AT`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub magic: u32,
    pub version: u32,
    /// How many `i32` slots: the received file descriptors first, the results of calls after.
    pub slots: u32,
    /// Offset and number of the [`Call`]s.
    pub calls_at: u32,
    pub calls: u32,
}

/// Offset of slot 0, which is the status channel.
pub const SLOTS_AT: usize = 64;

/// One system call of a plan.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The system call's number, or [`NR_FAIL`].
    pub nr: u16,
    /// The operation it belongs to: what [`Report::op`] says.
    pub op: u16,
    /// Bit i set: argument i is an offset in the plan where the value, an `i32`, is found.
    pub indirect: u8,
    /// How many of the next calls to leave out if this one failed with a tolerated error.
    pub skip: u8,
    /// Errors to go on after; 0 is none.
    pub tolerate: [u8; 4],
    /// How many of the next calls to leave out if this one succeeded.
    pub skip_after: u8,
    pub reserved: u8,
    /// Offset of the `i32` that takes the result; 0 for none.
    pub store: u32,
    /// A result below this is a failure (a read at end of file, a short write).
    pub min: u32,
    /// The gap before `args`, named: its bytes are sent, too.
    pub padding: u32,
    pub args: [u64; 6],
}

/// No message has a gap: a gap's bytes are whatever was in memory.
const _: () = {
    assert!(size_of::<Hello>() == 3 * 4 + 52);
    assert!(size_of::<Channels>() == 4);
    assert!(size_of::<Start>() == 2 * 4 + 4 * 8);
    assert!(size_of::<Report>() == 3 * 4);
    assert!(size_of::<Exit>() == 2 * 4 + 3 * 8);
    assert!(size_of::<Signal>() == 4);
    assert!(size_of::<Header>() == 5 * 4);
    assert!(size_of::<Call>() == 2 * 2 + 2 + 4 + 2 + 3 * 4 + 6 * 8);
};

/// Not a system call: ends the plan with error `args[0]`, or with EACCES if a tolerated error was
/// that: execvp(3) tells "found, and not allowed" from "not found" in the same way.
pub const NR_FAIL: u16 = u16::MAX;
