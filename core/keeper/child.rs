//! The new process, from its clone to its exec: it runs the plan and nothing else.

use crate::interpreter::{self, Failure, Memory};
use crate::protocol::{BASE, OP_CLONE, Start};
use crate::server::{NEWNET, report};
use crate::sys::{self, EINVAL};

/// The rest of the new process's life up to its exec.
pub fn run(start: &Start, fds: &[i32], first_slot: usize, status: i32, net: bool) -> ! {
    close_others(fds, status);
    // What comes before the slots but the plan is a directory of the host, and the clone alone wanted
    // it: a path of the image through /proc/self/fd would lead out by it (CVE-2024-21626).
    fds.iter().take(first_slot).skip(1).for_each(|&fd| sys::close(fd));
    sys::unblock_signals();
    if let Err(failure) = carry_out(start, fds, first_slot, status, net) {
        report(status, failure, 0);
        sys::exit(127);
    }
    sys::exit(0)
}

fn carry_out(
    start: &Start,
    fds: &[i32],
    first_slot: usize,
    status: i32,
    net: bool,
) -> core::result::Result<(), Failure> {
    let failed = |errno| Failure { op: OP_CLONE, errno };
    if start.clone_flags & NEWNET != 0 && !net {
        sys::new_network().map_err(failed)?;
    }
    let len = start.plan_size as usize;
    let mapped = sys::map_plan(fds[0], BASE, len).map_err(failed)?;
    // SAFETY: the mapping is this process's own, private, page-aligned and `len` long (a shorter
    // file would raise SIGBUS here, in the new process alone).
    let mut memory = unsafe { Memory::new(mapped, len) };
    memory.set_slot(0, status).ok_or(failed(EINVAL))?;
    for (i, &fd) in fds.iter().skip(first_slot).enumerate() {
        memory.set_slot(i + 1, fd).ok_or(failed(EINVAL))?;
    }
    interpreter::run(&mut sys::Kernel, &mut memory)
}

/// Closes everything but `status` and what is in `keep`, which ascends: the keeper's own file
/// descriptors and other containers' channels, which would otherwise live on in a process that
/// waits before its exec.
fn close_others(keep: &[i32], status: i32) {
    let mut next = 0;
    let mut close_up_to = |fd: i32| {
        sys::close_range(next, (fd as u32).wrapping_sub(1));
        next = fd as u32 + 1;
    };
    let below = keep.iter().take_while(|&&fd| fd < status).count();
    keep.iter().take(below).for_each(|&fd| close_up_to(fd));
    close_up_to(status);
    keep.iter().skip(below).for_each(|&fd| close_up_to(fd));
    sys::close_range(next, u32::MAX);
}
