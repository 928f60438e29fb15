//! Threads in a process that is the host's.

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread that has all signals blocked from its birth: the host's handlers run in the host's
/// own threads.
pub(crate) fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let mut before = SigSet::empty();
    let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    if let Ok(mask) = &blocked {
        before = *mask;
    }
    let result = start();
    if blocked.is_ok() {
        // Fails only for a bad address or a bad way.
        let _ = before.thread_set_mask();
    }
    result
}
