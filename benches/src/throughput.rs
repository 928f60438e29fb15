//! Throughput of threads.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How many containers a second `threads` threads start and see exit, over `count` in all.
///
/// `start` gets the thread's number, so that it can keep what threads must not share apart.
pub(crate) fn per_second(
    threads: usize,
    count: usize,
    start: impl Fn(usize) -> io::Result<()> + Sync,
) -> io::Result<f64> {
    let begun = AtomicUsize::new(0);
    let work = |thread| -> io::Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < count {
            start(thread)?;
        }
        Ok(())
    };
    let clock = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let all: Vec<_> = (0..threads).map(|t| scope.spawn(move || work(t))).collect();
        all.into_iter().try_for_each(|thread| {
            let panicked = |_| io::Error::other("a bench thread panicked");
            thread.join().map_err(panicked)?
        })
    })?;
    Ok(count as f64 / clock.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn exactly_count_starts_over_all_threads() {
        let seen = Mutex::new(Vec::new());
        per_second(3, 10, |thread| {
            seen.lock().unwrap().push(thread);
            Ok(())
        })
        .unwrap();
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 10);
        assert!(seen.iter().all(|thread| *thread < 3));
    }

    #[test]
    fn an_error_in_a_thread_is_the_result() {
        let error = per_second(2, 4, |_| Err(io::Error::other("no"))).unwrap_err();
        assert_eq!(error.to_string(), "no");
    }
}
