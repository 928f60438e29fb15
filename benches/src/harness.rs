//! The measurements that are not a race: throughput of threads, memory of what is alive.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::stats::percentile;

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

/// Bytes of system memory that one live container costs: `count` are started, and the fall of
/// `MemAvailable` is divided by their number.
///
/// Not the sum of their PSS: most of a small container is kernel memory (network namespace, mounts,
/// cgroups, page tables), which belongs to no process. `MemAvailable` counts it, and counts the page
/// cache as free, so that reading the image does not matter. Another program's appetite does: the
/// containers are many and the median of three batches is taken.
pub(crate) fn memory_per_live<L>(
    count: usize,
    mut start: impl FnMut(usize) -> io::Result<L>,
) -> io::Result<f64> {
    let warm = start(count)?; // what the first one loads, caches and compiles stays out of the sum
    let mut batch = || -> io::Result<f64> {
        let before = available()?;
        let live = (0..count).map(&mut start).collect::<io::Result<Vec<L>>>()?;
        let after = available()?;
        drop(live);
        Ok((before - after) / count as f64)
    };
    let batches = [batch()?, batch()?, batch()?];
    drop(warm);
    percentile(&batches, 50).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn available() -> io::Result<f64> {
    parse_available(&fs::read_to_string("/proc/meminfo")?)
}

fn parse_available(meminfo: &str) -> io::Result<f64> {
    let kib: Option<f64> = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
    let kib = kib.ok_or_else(|| io::Error::other("no MemAvailable in /proc/meminfo"))?;
    Ok(kib * 1024.0)
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

    #[test]
    fn available_memory_is_in_bytes() {
        let text = "MemTotal:  8 kB\nMemAvailable:    2 kB\n";
        assert_eq!(parse_available(text).unwrap(), 2048.0);
        assert!(parse_available("MemTotal: 8 kB").is_err());
    }
}
