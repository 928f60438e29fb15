//! Tells a process from its forked copy.
#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A page that the kernel empties in a forked child (`MADV_WIPEONFORK`, Linux 4.14).
///
/// Not a comparison of pids: a child in a new pid namespace may have its parent's number, and not
/// pthread_atfork(3): a clone(2) does not call it.
struct Page(*const AtomicU64);

// SAFETY: the page is never unmapped, and is only used as an atomic.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

static PAGE: OnceLock<Option<Page>> = OnceLock::new();

/// How many processes there have been, from the first that asked to this one by way of fork: copied
/// with everything else, so that no process has a number of one it descends from.
static PROCESSES: AtomicU64 = AtomicU64::new(0);

/// The mark of this process, which none that it descends from has; made on the first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// The process that runs this.
    pub(crate) fn current() -> Process {
        let Some(page) = PAGE.get_or_init(new_page) else { return Process(1) };
        // SAFETY: mapped and aligned for good, zero or what is stored below. Fork's change behind
        // the compiler's back is to it as if another thread had stored zero.
        let mark = unsafe { &*page.0 };
        match mark.load(Ordering::Relaxed) {
            0 => {
                let number = PROCESSES.fetch_add(1, Ordering::Relaxed) + 1;
                // Another thread may have been quicker: its number is as good.
                let made = mark.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                Process(made.err().unwrap_or(number))
            }
            number => Process(number),
        }
    }

    /// Whether this is still the process that took the mark, and not a forked copy of it.
    pub(crate) fn is_current(self) -> bool {
        Process::current() == self
    }
}

/// Where the kernel refuses (it never should), handles work and copies are not noticed.
fn new_page() -> Option<Page> {
    let size = rustix::param::page_size();
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a fresh mapping at an address the kernel chooses disturbs nothing.
    let page = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), size, protection, flags) };
    let page = page.ok()?;
    // SAFETY: advice about the fresh mapping of exactly this size.
    unsafe { rustix::mm::madvise(page, size, Advice::LinuxWipeOnFork) }.ok()?;
    Some(Page(page.cast()))
}
