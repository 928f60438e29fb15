//! Memory per live container.
//!
//! Two parts are added. What processes hold: the proportional set size of the containers' own
//! processes (found by a mark in their arguments, so that bubblewrap's two helpers count) and the
//! growth of the engine's, which is the bench itself and its keeper. What the kernel holds for them,
//! which is most of it (network namespace, mounts, control groups, page tables): the growth of the
//! sums in `/proc/meminfo` that cannot be reclaimed. The fall of `MemAvailable` would be simpler, but
//! every program of the machine that reads or writes a file moves it by more than is measured.

use std::fs;
use std::io;

use crate::drain::Drain;
use crate::stats::percentile;

/// Bytes that one live container costs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// In its processes and the engine's.
    pub(crate) processes: f64,
    /// In the kernel.
    pub(crate) kernel: f64,
}

/// Starts `count` containers and measures; the median of five times. `engine`: processes that are
/// not the containers' and hold something for them. `mark`: see [`crate::peers::mark`].
pub(crate) fn per_live<L>(
    count: usize,
    engine: &[i32],
    mark: &str,
    drain: &mut Drain,
    mut start: impl FnMut(usize) -> io::Result<L>,
) -> io::Result<Cost> {
    let warm = start(count)?; // what the first one loads, caches and compiles stays out of the sum
    let mut costs = Vec::new();
    for _ in 0..5 {
        drain.wait()?;
        let before = Held::now(engine, mark)?;
        let live = (0..count).map(&mut start).collect::<io::Result<Vec<L>>>()?;
        let after = Held::now(engine, mark)?;
        drop(live);
        costs.push(Cost {
            processes: (after.processes - before.processes) / count as f64,
            kernel: (after.kernel - before.kernel) / count as f64,
        });
    }
    drop(warm);
    let median = |part: fn(&Cost) -> f64| {
        let parts: Vec<f64> = costs.iter().map(part).collect();
        percentile(&parts, 50).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    };
    Ok(Cost { processes: median(|cost| cost.processes)?, kernel: median(|cost| cost.kernel)? })
}

/// Bytes held at one moment.
struct Held {
    processes: f64,
    kernel: f64,
}

impl Held {
    fn now(engine: &[i32], mark: &str) -> io::Result<Held> {
        let mut processes = 0.0;
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let marked = || {
                let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&arguments).contains(mark)
            };
            if engine.contains(&pid) || marked() {
                let rollup = fs::read_to_string(process.path().join("smaps_rollup"));
                // One that has just ended holds nothing.
                processes += rollup.map_or(0.0, |text| sum(&text, &["Pss"]));
            }
        }
        let kernel = sum(&fs::read_to_string("/proc/meminfo")?, &KERNEL);
        Ok(Held { processes, kernel })
    }
}

/// What the kernel cannot give back while somebody uses it.
const KERNEL: [&str; 5] = ["SUnreclaim", "KernelStack", "PageTables", "SecPageTables", "Percpu"];

/// The sum of some lines `NAME:   N kB`, in bytes.
fn sum(text: &str, names: &[&str]) -> f64 {
    let kib = |line: &str| -> Option<f64> {
        let (name, value) = line.split_once(':')?;
        let value = value.trim().strip_suffix(" kB")?;
        if names.contains(&name) { value.parse().ok() } else { None }
    };
    text.lines().filter_map(kib).sum::<f64>() * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_lines_are_summed_in_bytes() {
        let text = "Slab:  90 kB\nSUnreclaim:    2 kB\nPercpu:  1 kB\nHugePages_Total:   4\n";
        assert_eq!(sum(text, &KERNEL), 3072.0);
        assert_eq!(sum("Pss:  8 kB\nPss_Anon:  4 kB\n", &["Pss"]), 8192.0);
    }
}
