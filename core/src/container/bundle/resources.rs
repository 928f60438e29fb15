//! `linux.resources` as [`Limits`]. Pure.

use std::num::NonZeroU32;

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources, Spec};

use crate::cgroup::{Bytes, Cpus, Limits, Memory, MemorySwap};
use crate::{Error, ErrorKind, Result};

/// The limits of `spec`.
///
/// # Errors
/// `Unsupported` for a limit that is set and that skep does not know, `InvalidInput` for a value out
/// of range.
pub(super) fn limits(spec: &Spec) -> Result<Limits> {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let Some(resources) = resources else { return Ok(Limits::default()) };
    refuse_others(resources)?;
    let memory = resources.memory().as_ref().map(memory).transpose()?;
    let cpus = resources.cpu().as_ref().map(cpus).transpose()?;
    let pids = resources.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit > 0);
    Ok(Limits {
        memory: memory.flatten(),
        cpus: cpus.flatten(),
        pids: pids.and_then(|limit| NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX))),
    })
}

fn refuse_others(resources: &LinuxResources) -> Result<()> {
    let hugepages = resources.hugepage_limits().as_ref().is_some_and(|list| !list.is_empty());
    let rdma = resources.rdma().as_ref().is_some_and(|map| !map.is_empty());
    let unified = resources.unified().as_ref().is_some_and(|map| !map.is_empty());
    let block = resources.block_io().as_ref().is_some_and(|block| *block != Default::default());
    let network = resources.network().as_ref().is_some_and(|net| *net != Default::default());
    refuse(&[
        (hugepages, "hugepageLimits"),
        (rdma, "rdma"),
        (unified, "unified"),
        (block, "blockIO"),
        (network, "network"),
    ])
}

/// `None` is no limit. `useHierarchy` is how kernels are anyway, and `checkBeforeUpdate` is about a
/// group that has processes.
fn memory(memory: &LinuxMemory) -> Result<Option<Memory>> {
    let positive = |value: Option<i64>| value.is_some_and(|value| value > 0);
    let limit = memory.limit().and_then(|limit| u64::try_from(limit).ok()).filter(|l| *l > 0);
    refuse(&[
        (positive(memory.reservation()), "memory.reservation"),
        (positive(memory.kernel()), "memory.kernel"),
        (positive(memory.kernel_tcp()), "memory.kernelTCP"),
        (memory.swappiness().is_some(), "memory.swappiness"),
        (memory.disable_oom_killer() == Some(true), "memory.disableOOMKiller"),
        (limit.is_none() && positive(memory.swap()), "memory.swap without memory.limit"),
    ])?;
    let swap = match memory.swap().and_then(|swap| u64::try_from(swap).ok()) {
        Some(total) if total > 0 => MemorySwap::Total(Bytes::new(total)),
        // Nothing said is nothing written, as with runc.
        _ => MemorySwap::Unlimited,
    };
    limit.map(|limit| Memory::new(Bytes::new(limit), swap)).transpose()
}

/// A quota in any period, as so many CPUs; the period that the kernel counts by is always 100 ms.
fn cpus(cpu: &LinuxCpu) -> Result<Option<Cpus>> {
    const DEFAULT_SHARES: u64 = 1024;
    const DEFAULT_PERIOD_US: u64 = 100_000;
    let named = |list: &Option<String>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[
        (cpu.shares().is_some_and(|s| s != 0 && s != DEFAULT_SHARES), "cpu.shares"),
        (named(cpu.cpus()), "cpu.cpus"),
        (named(cpu.mems()), "cpu.mems"),
        (cpu.idle().is_some_and(|idle| idle != 0), "cpu.idle"),
        (cpu.burst().is_some_and(|burst| burst != 0), "cpu.burst"),
        (cpu.realtime_runtime().is_some_and(|time| time != 0), "cpu.realtimeRuntime"),
    ])?;
    let period = cpu.period().filter(|period| *period > 0).unwrap_or(DEFAULT_PERIOD_US);
    let quota = cpu.quota().filter(|quota| *quota > 0);
    quota.map(|quota| Cpus::new(quota as f64 / period as f64)).transpose()
}

fn refuse(fields: &[(bool, &str)]) -> Result<()> {
    match fields.iter().find(|(set, _)| *set) {
        None => Ok(()),
        Some((_, field)) => {
            let subject = format!("linux.resources.{field} of the runtime spec");
            Err(Error::new(ErrorKind::Unsupported, "honour", subject)
                .cause("skep does not implement it yet")
                .fix("leave it out"))
        }
    }
}
