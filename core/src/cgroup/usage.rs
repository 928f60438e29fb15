//! What a group has used.

use std::time::Duration;

use super::Group;
use super::controllers::Controllers;
use super::file;
use super::limits::Bytes;
use super::place::Place;
use super::settings::Version;
use crate::{Error, Result};

/// What the processes of a group have used so far, those that ended included.
///
/// `None` where this kernel or set-up does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// The most memory charged at one time, page cache included. v2: since Linux 5.19.
    pub memory_peak: Option<Bytes>,
    /// CPU time.
    pub cpu: Option<CpuTime>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// The most processes and threads at one time. Since Linux 6.1; on v1 only with a limit.
    pub pids_peak: Option<u64>,
}

/// CPU time of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime {
    /// All of it, exactly; the sum of the other two.
    pub total: Duration,
    /// The part in programs, as far as the kernel's sampling saw it.
    pub user: Duration,
    /// The part in the kernel.
    pub system: Duration,
}

impl Group {
    /// Reads what was used until now; also after the last process has ended.
    ///
    /// # Errors
    /// Those of reading files; a file that is not there is none.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage { oom_kills: self.oom_kills()?, ..Usage::default() };
        for place in self.places() {
            match place.version {
                Version::V1 => self.usage_v1(place, &mut usage)?,
                Version::V2 => self.usage_v2(place, &mut usage)?,
            }
        }
        Ok(usage)
    }

    /// How many processes were killed for want of memory, as in [`Usage`]: one read, for the end of
    /// every container.
    ///
    /// # Errors
    /// Those of reading files; a file that is not there is none.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        let has_memory = |place: &&Place| place.controllers.meets(Controllers::MEMORY);
        let Some(place) = self.places().find(has_memory) else {
            return Ok(None);
        };
        let file = match place.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let text = self.read(place, file)?;
        Ok(text.and_then(|text| file::keyed(&text, "oom_kill")))
    }

    fn usage_v1(&self, place: &Place, usage: &mut Usage) -> Result<()> {
        if place.controllers.meets(Controllers::MEMORY) {
            let peak = self.number(place, "memory.max_usage_in_bytes")?;
            usage.memory_peak = peak.map(Bytes::new);
        }
        if place.controllers.meets(Controllers::CPUACCT) {
            let total = self.number(place, "cpuacct.usage")?;
            let user = self.number(place, "cpuacct.usage_user")?.unwrap_or(0);
            let system = self.number(place, "cpuacct.usage_sys")?.unwrap_or(0);
            usage.cpu = total.map(|total| divide(total, user, system));
        }
        if place.controllers.meets(Controllers::PIDS) {
            usage.pids_peak = self.number(place, "pids.peak")?;
        }
        Ok(())
    }

    fn usage_v2(&self, place: &Place, usage: &mut Usage) -> Result<()> {
        if place.controllers.meets(Controllers::MEMORY) {
            usage.memory_peak = self.number(place, "memory.peak")?.map(Bytes::new);
        }
        if usage.cpu.is_none() {
            let text = self.read(place, "cpu.stat")?;
            usage.cpu = text.and_then(|text| parse_cpu_stat(&text));
        }
        if place.controllers.meets(Controllers::PIDS) {
            usage.pids_peak = self.number(place, "pids.peak")?;
        }
        Ok(())
    }

    fn number(&self, place: &Place, file: &str) -> Result<Option<u64>> {
        let text = self.read(place, file)?;
        Ok(text.and_then(|text| text.trim_end().parse().ok()))
    }

    fn read(&self, place: &Place, file: &str) -> Result<Option<String>> {
        file::read(&place.directory, self.file(file))
            .map_err(|errno| Error::os(format!("read {file} of cgroup"), self.name.as_str(), errno))
    }
}

/// Divides `total` nanoseconds in the proportion of `user` to `system`, which v1 only samples: a
/// short program may have used time and have none of either. The kernel does the same for v2.
fn divide(total: u64, user: u64, system: u64) -> CpuTime {
    let sampled = u128::from(user) + u128::from(system);
    let system = u128::from(total) * u128::from(system) / sampled.max(1);
    // At most `total`, as `system` is at most `sampled`.
    let system = Duration::from_nanos(system as u64);
    let total = Duration::from_nanos(total);
    CpuTime { total, user: total - system, system }
}

fn parse_cpu_stat(text: &str) -> Option<CpuTime> {
    let time = |key| file::keyed(text, key).map(Duration::from_micros);
    Some(CpuTime {
        total: time("usage_usec")?,
        user: time("user_usec")?,
        system: time("system_usec")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_time_is_divided_as_it_was_sampled() {
        let nanos = Duration::from_nanos;
        let time = divide(900, 100, 50);
        assert_eq!(time, CpuTime { total: nanos(900), user: nanos(600), system: nanos(300) });
        let time = divide(900, 0, 0);
        assert_eq!(time, CpuTime { total: nanos(900), user: nanos(900), system: nanos(0) });
        let time = divide(u64::MAX, 0, u64::MAX);
        assert_eq!(time.system, nanos(u64::MAX));
    }

    #[test]
    fn v2_time_is_in_microseconds() {
        let text = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnice_usec 0\nnr_periods 3\n";
        let micros = Duration::from_micros;
        let time = CpuTime { total: micros(1500), user: micros(1000), system: micros(500) };
        assert_eq!(parse_cpu_stat(text), Some(time));
        assert_eq!(parse_cpu_stat("usage_usec 1500\n"), None);
    }
}
