//! Some work in a few threads, all of which end before the call does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::sys::thread::without_signals;
use crate::{Error, ErrorKind, Result};

/// Says that work is of no use any more, to those at it and to those who wait: because of another's
/// failure, or because the caller cancelled it.
#[derive(Debug)]
pub(super) struct Stop {
    failed: AtomicBool,
    cancel: Cancel,
}

impl Stop {
    pub(super) fn new(cancel: &Cancel) -> Self {
        Stop { failed: AtomicBool::new(false), cancel: cancel.clone() }
    }

    pub(super) fn is_set(&self) -> bool {
        self.has_failed() || self.cancel.is_cancelled()
    }

    /// Whether it is so without a cancel.
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn set(&self) {
        self.failed.store(true, Ordering::Release);
        self.cancel.wake_all();
    }

    /// Waits for so long, or until it is set; whether it is.
    pub(super) fn wait(&self, pause: Duration) -> bool {
        self.cancel.wait(pause, || self.has_failed())
    }
}

/// Does `work` on each item, at most `bound` at once. After a first error no other item is begun;
/// the [`Stop`] tells those under way.
///
/// The threads block all signals: the host's handlers run in the host's own threads.
///
/// # Errors
/// The first one of `work`, or that no thread could be started.
pub(super) fn each<T, R>(
    items: &[T],
    bound: usize,
    operation: &'static str,
    cancel: &Cancel,
    work: impl Fn(&T, &Stop) -> Result<R> + Sync,
) -> Result<Vec<R>>
where
    T: Sync,
    R: Send,
{
    let (next, stop) = (AtomicUsize::new(0), Stop::new(cancel));
    let results: Mutex<Vec<(usize, Result<R>)>> = Mutex::new(Vec::new());
    let run = || {
        let _told = StopAtPanic(&stop);
        while !stop.is_set() {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return };
            let result = work(item, &stop);
            let failed = result.is_err();
            // Nothing can panic while it is held.
            results.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
            // Behind the push, so that who fails because of it is behind in the list.
            if failed {
                stop.set();
            }
        }
    };
    std::thread::scope(|scope| {
        // Joined one by one: the scope itself ends before its last thread has.
        let mut threads = Vec::new();
        for started in 0..bound.clamp(1, items.len().max(1)) {
            let thread = std::thread::Builder::new().name("skep-registry".into());
            let spawned = without_signals(|| thread.spawn_scoped(scope, run));
            match spawned {
                // Fewer threads will do.
                Err(_) if started > 0 => break,
                Err(error) => {
                    return Err(Error::os("start", format!("a thread to {operation} with"), error));
                }
                Ok(thread) => threads.push(thread),
            }
        }
        for thread in threads {
            if let Err(panic) = thread.join() {
                // The caller's own: it came from its report of progress.
                std::panic::resume_unwind(panic);
            }
        }
        Ok(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The first to fail is the reason why others were not begun.
    if let Some(at) = results.iter().position(|(_, result)| result.is_err()) {
        results.swap(0, at);
        return results.swap_remove(0).1.map(|_| Vec::new());
    }
    if results.len() < items.len() {
        // Before some were begun, and so nothing failed of them.
        return Err(Error::new(ErrorKind::Cancelled, operation, "what is left"));
    }
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Tells the others when a thread panics: what they bring is of no use any more.
struct StopAtPanic<'a>(&'a Stop);

impl Drop for StopAtPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set();
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::SigSet;

    use super::*;

    #[test]
    fn all_is_done_in_order_of_the_items() {
        let items: Vec<u32> = (0..50).collect();
        for bound in [0, 1, 3, 100] {
            let doubled =
                each(&items, bound, "test", &Cancel::never(), |item, _| Ok(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
        assert_eq!(
            each(&[] as &[u32], 4, "test", &Cancel::never(), |item, _| Ok(*item)).unwrap(),
            [0; 0]
        );
    }

    #[test]
    fn after_an_error_nothing_is_begun() {
        let items: Vec<u32> = (0..50).collect();
        let begun = AtomicUsize::new(0);
        let error = each(&items, 1, "test", &Cancel::never(), |item, _| {
            begun.fetch_add(1, Ordering::Relaxed);
            match item {
                3 => Err(Error::new(ErrorKind::NotFound, "test", "3")),
                _ => Ok(()),
            }
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(begun.into_inner(), 4);
    }

    #[test]
    fn who_waits_is_woken_by_an_error() {
        let error = each(&[1, 2], 2, "test", &Cancel::never(), |item, stop| match item {
            1 => {
                assert!(stop.wait(Duration::from_secs(1000)));
                Ok(())
            }
            _ => Err(Error::new(ErrorKind::NotFound, "test", "2")),
        });
        assert_eq!(error.unwrap_err().subject(), "2");
    }

    #[test]
    fn a_panic_of_the_work_is_the_callers() {
        let work = || {
            each(&[1, 2, 3], 2, "test", &Cancel::never(), |item, _| {
                if *item == 2 { panic!("mine") } else { Ok(()) }
            })
        };
        let panic = std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"mine"));
    }

    #[test]
    fn a_panic_ends_the_others() {
        let work = || {
            each(&[1, 2], 2, "test", &Cancel::never(), |item, stop| {
                if *item == 2 {
                    panic!("mine")
                }
                assert!(stop.wait(Duration::from_secs(100)), "it is told");
                Ok(())
            })
        };
        let panic = std::panic::catch_unwind(work).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"mine"));
    }

    #[test]
    fn threads_meet_no_signal_and_the_caller_keeps_its_mask() {
        let before = SigSet::thread_get_mask().unwrap();
        let masks = each(&[0; 4], 4, "test", &Cancel::never(), |_, _| {
            Ok(SigSet::thread_get_mask().unwrap())
        });
        for mask in masks.unwrap() {
            assert!(mask.contains(nix::sys::signal::Signal::SIGUSR1));
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
