//! Whole subtrees of groups: killing what is in them, removing them.
//!
//! A container may have made groups of its own inside its group, as deep as it likes: nothing here
//! recurses or holds more than a few descriptors at a time.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{self, AtFlags, FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{self, Pid, PidfdFlags, Signal};

use super::file;

/// Removes the group `name` below `parent`, with those inside it, and tries again until `deadline`
/// while one of them is in use. That it does not exist is success.
pub(super) fn remove(parent: impl AsFd, name: &str, deadline: Instant) -> Result<(), Errno> {
    let parent = parent.as_fd();
    retry(deadline, Errno::BUSY, || match remove_once(parent, name) {
        Ok(()) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(errno) => Err(errno),
    })
}

/// Kills the processes of the group `name` below `parent` and of those inside it, again and again
/// until there are none.
///
/// `TIMEDOUT` if there still are at `deadline`.
pub(super) fn kill(parent: impl AsFd, name: &str, deadline: Instant) -> Result<(), Errno> {
    let parent = parent.as_fd();
    retry(deadline, Errno::TIMEDOUT, || kill_once(parent, name))
}

/// Calls `attempt` until it says true; after `deadline` fails with `late`. The pauses grow, as
/// nearly always the first or second attempt succeeds.
fn retry(
    deadline: Instant,
    late: Errno,
    mut attempt: impl FnMut() -> Result<bool, Errno>,
) -> Result<(), Errno> {
    let mut pause = Duration::from_micros(20);
    while !attempt()? {
        if Instant::now() >= deadline {
            return Err(late);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    Ok(())
}

fn remove_once(parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY) => {}
        Err(errno) => return Err(errno),
    }
    // In use by processes, or by groups inside.
    let top = match file::open_directory(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        top => top?,
    };
    walk(top, |directory, inner| {
        // Its failure shows in that of the group around it.
        let _ = fs::unlinkat(directory, inner, AtFlags::REMOVEDIR);
        Ok(())
    })?;
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        outcome => outcome,
    }
}

/// Sends SIGKILL to everything in the group; true if there was nothing.
fn kill_once(parent: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let top = match file::open_directory(parent, name) {
        Err(Errno::NOENT) => return Ok(true),
        top => top?,
    };
    let events = file::read(&top, "cgroup.events")?.unwrap_or_default();
    if file::keyed(&events, "populated") == Some(0) {
        return Ok(true);
    }
    if file::write(&top, "cgroup.kill", "1").is_ok() {
        return Ok(false);
    }
    Ok(signal_tree(top, Signal::KILL)? == 0)
}

/// Sends `signal` once to each process of the group `name` below `parent` and of those inside it.
pub(super) fn signal(parent: impl AsFd, name: &str, signal: Signal) -> Result<(), Errno> {
    match file::open_directory(parent, name) {
        Err(Errno::NOENT) => Ok(()),
        top => signal_tree(top?, signal).map(|_| ()),
    }
}

/// Sends `signal` to each process in `top` and in the groups inside it, and says how many there
/// were.
fn signal_tree(top: OwnedFd, signal: Signal) -> Result<usize, Errno> {
    let mut seen = signal_all(&top, signal)?;
    walk(top, |directory, inner| {
        match file::open_directory(directory, inner) {
            Err(Errno::NOENT) => {}
            group => seen += signal_all(&group?, signal)?,
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Sends `signal` to each process directly in `group`, and says how many there were.
///
/// A number read from the list may belong to a stranger by the time it is used. So each process is
/// pinned by a pidfd first and then looked up in the list once more: a pidfd whose number is in the
/// second list is of a process of this group, or of one that is dead.
fn signal_all(group: &OwnedFd, signal: Signal) -> Result<usize, Errno> {
    let listed = processes(group)?;
    for some in listed.chunks(64) {
        let pin = |pid: &Pid| Some((*pid, process::pidfd_open(*pid, PidfdFlags::empty()).ok()?));
        let pinned: Vec<(Pid, OwnedFd)> = some.iter().flatten().filter_map(pin).collect();
        let still = processes(group)?;
        for (pid, pidfd) in pinned {
            if still.contains(&Some(pid)) && pid != process::getpid() {
                // ESRCH: it died meanwhile. EPERM shows as a process that stays.
                let _ = process::pidfd_send_signal(&pidfd, signal);
            }
        }
    }
    Ok(listed.len())
}

/// The processes of a group; `None` for each that is invisible from this pid namespace (the kernel
/// writes 0).
fn processes(group: &OwnedFd) -> Result<Vec<Option<Pid>>, Errno> {
    let list = file::read(group, "cgroup.procs")?.unwrap_or_default();
    let numbers = list.lines().filter_map(|line| line.parse().ok());
    Ok(numbers.map(Pid::from_raw).collect())
}

/// Calls `visit` for each group inside `top`, the inner ones first, with the directory that holds
/// it and its name.
///
/// Goes back up by `..`, which on a cgroup file system cannot be led astray: groups cannot be moved.
fn walk(
    top: OwnedFd,
    mut visit: impl FnMut(&OwnedFd, &CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut current = top;
    let mut above: Vec<(CString, Vec<CString>)> = Vec::new();
    let mut waiting = groups_in(&current)?;
    loop {
        if let Some(name) = waiting.pop() {
            match file::open_directory(&current, name.as_c_str()) {
                Err(Errno::NOENT) => {}
                inner => {
                    current = inner?;
                    above.push((name, std::mem::replace(&mut waiting, groups_in(&current)?)));
                }
            }
        } else if let Some((name, rest)) = above.pop() {
            current = file::open_directory(&current, "..")?;
            waiting = rest;
            visit(&current, &name)?;
        } else {
            return Ok(());
        }
    }
}

fn groups_in(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut groups = Vec::new();
    let readable = match file::open(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(groups), // removed meanwhile
        readable => readable?,
    };
    for entry in fs::Dir::new(readable)? {
        let entry = match entry {
            Err(Errno::NOENT | Errno::NODEV) => break,
            entry => entry?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            groups.push(name.to_owned());
        }
    }
    Ok(groups)
}
