//! Which control files hold a [`Limits`], and what is written into them. Pure.
//!
//! Only what differs from a fresh group's defaults is written: each file costs an open, a write and
//! a close in the middle of a start.
//!
//! Sources: <https://docs.kernel.org/admin-guide/cgroup-v2.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>,
//! <https://docs.kernel.org/scheduler/sched-bwc.html>

use super::controllers::Controllers;
use super::limits::{Cpus, Limits, Memory};

/// A control file's name, and the text to write into it.
pub(super) type Setting = (&'static str, String);

/// Which of the two interfaces a hierarchy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

impl Version {
    /// The file that exists exactly where the kernel accounts swap to groups.
    pub(super) fn swap_file(self) -> &'static str {
        match self {
            Version::V1 => "memory.memsw.limit_in_bytes",
            Version::V2 => "memory.swap.max",
        }
    }

    /// What to write into a fresh group of a hierarchy that has the controllers `on`, in this order.
    /// `swap`: the [swap file](Self::swap_file) exists.
    pub(super) fn settings(self, limits: &Limits, on: Controllers, swap: bool) -> Vec<Setting> {
        let mut settings = Vec::with_capacity(4);
        if let Some(memory) = limits.memory.filter(|_| on.meets(Controllers::MEMORY)) {
            settings.push(self.memory(&memory));
            settings.extend(self.swap(&memory).filter(|_| swap));
        }
        if let Some(cpus) = limits.cpus.filter(|_| on.meets(Controllers::CPU)) {
            settings.push(self.cpus(cpus));
        }
        if let Some(pids) = limits.pids.filter(|_| on.meets(Controllers::PIDS)) {
            settings.extend(self.pids(pids.get()));
        }
        settings
    }

    fn memory(self, memory: &Memory) -> Setting {
        let file = match self {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        (file, memory.limit().get().to_string())
    }

    /// v1 limits memory and swap together, and refuses a total below the memory limit: so it comes
    /// after it. v2 limits swap alone.
    fn swap(self, memory: &Memory) -> Option<Setting> {
        let total = memory.total()?.get();
        let value = match self {
            Version::V1 => total,
            Version::V2 => total - memory.limit().get(),
        };
        Some((self.swap_file(), value.to_string()))
    }

    fn cpus(self, cpus: Cpus) -> Setting {
        let quota = cpus.quota_us();
        match self {
            // The period is there already: cpu.cfs_period_us starts at Cpus::PERIOD_US.
            Version::V1 => ("cpu.cfs_quota_us", quota.to_string()),
            Version::V2 => ("cpu.max", format!("{quota} {}", Cpus::PERIOD_US)),
        }
    }

    /// The kernel knows no more than 4,194,304 pids and takes no larger limit: that is no limit.
    fn pids(self, pids: u32) -> Option<Setting> {
        (pids <= 1 << 22).then(|| ("pids.max", pids.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::{Bytes, MemorySwap};
    use super::*;
    use std::num::NonZeroU32;

    const ALL: Controllers = Controllers::V2;

    fn limits(swap: MemorySwap) -> Limits {
        Limits {
            memory: Some(Memory::new(Bytes::mib(64), swap).unwrap()),
            cpus: Some(Cpus::new(0.5).unwrap()),
            pids: NonZeroU32::new(100),
        }
    }

    fn text(settings: Vec<Setting>) -> String {
        let lines = settings.iter().map(|(file, value)| format!("{file}={value}"));
        lines.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn v1_writes_memory_before_memory_and_swap() {
        assert_eq!(
            text(Version::V1.settings(&limits(MemorySwap::SameAsMemory), ALL, true)),
            "memory.limit_in_bytes=67108864, memory.memsw.limit_in_bytes=134217728, \
             cpu.cfs_quota_us=50000, pids.max=100"
        );
    }

    #[test]
    fn v2_limits_swap_alone_and_names_the_period() {
        assert_eq!(
            text(Version::V2.settings(&limits(MemorySwap::Total(Bytes::mib(96))), ALL, true)),
            "memory.max=67108864, memory.swap.max=33554432, cpu.max=50000 100000, pids.max=100"
        );
        let on = Controllers::MEMORY;
        assert_eq!(
            text(Version::V2.settings(&limits(MemorySwap::Disabled), on, true)),
            "memory.max=67108864, memory.swap.max=0"
        );
    }

    #[test]
    fn defaults_are_not_written() {
        for version in [Version::V1, Version::V2] {
            assert_eq!(version.settings(&Limits::default(), ALL, true), []);
            let huge = Limits { pids: NonZeroU32::new(u32::MAX), ..Limits::default() };
            assert_eq!(version.settings(&huge, ALL, true), []);
            let unlimited = limits(MemorySwap::Unlimited);
            assert_eq!(version.settings(&unlimited, Controllers::MEMORY, true).len(), 1);
            let unaccounted = limits(MemorySwap::SameAsMemory);
            assert_eq!(version.settings(&unaccounted, Controllers::MEMORY, false).len(), 1);
        }
    }
}
