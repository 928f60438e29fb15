//! Tells a process from its forked copy.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A page that the kernel empties in a forked child (`MADV_WIPEONFORK`, Linux 4.14).
///
/// Not a comparison of pids: a child in a new pid namespace may have its parent's number, and not
/// pthread_atfork(3): a clone(2) does not call it.
struct Page(*const u64);

// SAFETY: the page is written once, before it is shared, and only read after.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

static PAGE: OnceLock<Option<Page>> = OnceLock::new();

/// The mark of this process; made on the first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

impl Process {
    /// The process that runs this.
    pub(crate) fn current() -> Process {
        let page = PAGE.get_or_init(new_page);
        // SAFETY: the page is never unmapped. Volatile: fork changes it behind the compiler's back.
        Process(page.as_ref().map_or(1, |page| unsafe { page.0.read_volatile() }))
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
    let page = page.cast::<u64>();
    // SAFETY: mapped, writable and aligned.
    unsafe { page.write_volatile(1) };
    Some(Page(page))
}
