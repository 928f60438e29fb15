//! What may be limited, in types that cannot hold a limit the kernel would not enforce.
//!
//! Pure: nothing here touches the system. Numbers are read and printed the way docker's options
//! write them (`256m`, `1.5`), so that an error shows what the user typed.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::controllers::Controllers;
use crate::{Error, ErrorKind, Result};

/// Limits of one group. The default limits nothing.
///
/// Each part is valid by construction, and so is every combination of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Memory and swap; `None`: as much as the machine has.
    pub memory: Option<Memory>,
    /// CPU time; `None`: all processors.
    pub cpus: Option<Cpus>,
    /// Processes and threads at one time; `None`: unlimited (docker's 0 and -1).
    pub pids: Option<NonZeroU32>,
}

impl Limits {
    /// The controllers that must be there to enforce these limits.
    pub(super) fn controllers(&self) -> Controllers {
        let mut needed = Controllers::NONE;
        if self.memory.is_some() {
            needed |= Controllers::MEMORY;
        }
        if self.cpus.is_some() {
            needed |= Controllers::CPU;
        }
        if self.pids.is_some() {
            needed |= Controllers::PIDS;
        }
        needed
    }
}

/// A memory limit and what goes with it for swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    limit: Bytes,
    swap: MemorySwap,
}

impl Memory {
    /// The smallest limit. Below it a process is OOM-killed before its first instruction, and the
    /// user sees a start that fails for no visible reason.
    pub const MINIMUM: Bytes = Bytes::mib(4);

    /// A hard limit of `limit`; the kernel rounds it down to whole pages.
    ///
    /// # Errors
    /// `InvalidInput` if `limit` is below [`Memory::MINIMUM`], or if `swap` is a total below `limit`.
    pub fn new(limit: Bytes, swap: MemorySwap) -> Result<Self> {
        if limit < Self::MINIMUM {
            return Err(invalid("limit memory to", limit)
                .cause(format!("the minimum is {}", Self::MINIMUM))
                .fix("ask for more, or for no limit"));
        }
        match swap {
            MemorySwap::Total(total) if total < limit => {
                Err(invalid("limit memory and swap to", total)
                    .cause(format!("the memory limit alone is {limit}"))
                    .fix("give the total of memory and swap"))
            }
            _ => Ok(Memory { limit, swap }),
        }
    }

    /// The hard limit.
    pub fn limit(&self) -> Bytes {
        self.limit
    }

    /// Memory and swap together; `None`: unlimited.
    pub fn total(&self) -> Option<Bytes> {
        match self.swap {
            MemorySwap::SameAsMemory => Some(Bytes(self.limit.0.saturating_mul(2))),
            MemorySwap::Disabled => Some(self.limit),
            MemorySwap::Total(total) => Some(total),
            MemorySwap::Unlimited => None,
        }
    }

    /// Whether the user named a bound for swap, so that not enforcing it would be a lie.
    pub(super) fn names_swap_limit(&self) -> bool {
        matches!(self.swap, MemorySwap::Disabled | MemorySwap::Total(_))
    }
}

/// How much may be swapped out: docker's `--memory-swap`.
///
/// | docker | here |
/// | --- | --- |
/// | unset, `0` | [`SameAsMemory`](Self::SameAsMemory) |
/// | equal to `--memory` | [`Disabled`](Self::Disabled), or that total |
/// | more than `--memory` | [`Total`](Self::Total) |
/// | `-1` | [`Unlimited`](Self::Unlimited) |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemorySwap {
    /// As much swap as memory. Where the kernel does not account swap, it is not limited.
    #[default]
    SameAsMemory,
    /// No swap.
    Disabled,
    /// Memory and swap together.
    Total(Bytes),
    /// As much swap as the machine has.
    Unlimited,
}

impl FromStr for MemorySwap {
    type Err = Error;

    /// Reads docker's notation; see the table above.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "-1" => Ok(MemorySwap::Unlimited),
            "0" => Ok(MemorySwap::SameAsMemory),
            total => total.parse().map(MemorySwap::Total),
        }
    }
}

/// CPU time in processors: 0.5 is half of one processor, 2 is two whole ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpus(f64);

impl Cpus {
    /// The period over which the quota is enforced, in microseconds; the kernel's default and
    /// docker's, so that v1 needs one write instead of two.
    pub(super) const PERIOD_US: u64 = 100_000;

    /// At most `cpus` processors' worth of time, from 0.01 (the kernel takes no quota below 1 ms)
    /// to 8192 (more processors than Linux supports).
    ///
    /// # Errors
    /// `InvalidInput` if `cpus` is out of that range or not a number.
    pub fn new(cpus: f64) -> Result<Self> {
        if (0.01..=8192.0).contains(&cpus) {
            return Ok(Cpus(cpus));
        }
        Err(invalid("limit cpus to", cpus).cause("it must be a number from 0.01 to 8192"))
    }

    /// Microseconds of CPU time in each [period](Self::PERIOD_US).
    pub(super) fn quota_us(self) -> u64 {
        // In range by construction: 1,000 to 819,200,000.
        (self.0 * Self::PERIOD_US as f64).round() as u64
    }
}

impl FromStr for Cpus {
    type Err = Error;

    /// Reads a decimal number, such as `1.5`.
    fn from_str(text: &str) -> Result<Self> {
        let number =
            text.parse().map_err(|error| invalid("limit cpus to", text).with_source(error))?;
        Cpus::new(number)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

impl Bytes {
    /// `bytes` bytes.
    pub const fn new(bytes: u64) -> Self {
        Bytes(bytes)
    }

    /// `kib` times 1024 bytes; saturates.
    pub const fn kib(kib: u64) -> Self {
        Bytes(kib.saturating_mul(1 << 10))
    }

    /// `mib` times 1024 KiB; saturates.
    pub const fn mib(mib: u64) -> Self {
        Bytes(mib.saturating_mul(1 << 20))
    }

    /// `gib` times 1024 MiB; saturates.
    pub const fn gib(gib: u64) -> Self {
        Bytes(gib.saturating_mul(1 << 30))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Units from large to small, each with its binary logarithm.
const UNITS: [(char, u32); 5] = [('p', 50), ('t', 40), ('g', 30), ('m', 20), ('k', 10)];

impl fmt::Display for Bytes {
    /// Prints the shortest exact form that [`Bytes::from_str`] reads back: `256m`, `1536k`, `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |&&(_, shift): &&(char, u32)| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(exact) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = Error;

    /// Reads docker's notation: a decimal number and one of `b`, `k`, `m`, `g`, `t`, `p`, in either
    /// case, with `b` or `ib` after it or not; always powers of 1024. `1.5g` is 1536 MiB; what is
    /// less than a byte is cut off.
    ///
    /// # Errors
    /// `InvalidInput` for anything else, and for 2^63 bytes or more.
    fn from_str(text: &str) -> Result<Self> {
        parse_bytes(text).ok_or_else(|| {
            invalid("read the size", format!("{text:?}"))
                .cause("it is not a number of bytes below 2^63")
                .fix("write for example 512k, 256m or 1.5g")
        })
    }
}

fn parse_bytes(text: &str) -> Option<Bytes> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = shift_of(&unit.trim_start_matches(' ').to_ascii_lowercase())?;

    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // Integers stay exact; only what stands behind the point goes through a float.
    let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    let fraction = format!("0.{fraction}").parse::<f64>().ok()? * (1u64 << shift) as f64;
    let bytes = whole.checked_add(fraction as u64)?;
    (bytes <= i64::MAX as u64).then_some(Bytes(bytes))
}

fn shift_of(unit: &str) -> Option<u32> {
    if matches!(unit, "" | "b") {
        return Some(0);
    }
    let (_, shift) = UNITS.iter().find(|(letter, _)| unit.starts_with(*letter))?;
    matches!(&unit[1..], "" | "b" | "ib").then_some(*shift)
}

fn invalid(operation: &'static str, given: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidInput, operation, given.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_printed_as_docker_writes_them() {
        for (text, bytes, printed) in [
            ("0", 0, "0"),
            ("1000", 1000, "1000"),
            ("7b", 7, "7"),
            ("256m", 256 << 20, "256m"),
            ("256MB", 256 << 20, "256m"),
            ("2 GiB", 2 << 30, "2g"),
            ("1.5g", 1536 << 20, "1536m"),
            ("1t", 1 << 40, "1t"),
            ("0.1k", 102, "102"),
            ("9223372036854775807", i64::MAX as u64, "9223372036854775807"),
        ] {
            let size: Bytes = text.parse().unwrap();
            assert_eq!(size.get(), bytes, "{text}");
            assert_eq!(size.to_string(), printed);
            assert_eq!(printed.parse::<Bytes>().unwrap(), size);
        }
    }

    #[test]
    fn what_is_no_size_is_refused_by_name() {
        let wrong = [
            "",
            "m",
            "-1",
            "+1",
            ".5g",
            "1.g",
            "1.2.3",
            "1x",
            "1mm",
            "1mib ",
            "1é",
            "1e3",
            "8192p",
            "9223372036854775808",
            "99999999999999999999",
        ];
        for text in wrong {
            let error = text.parse::<Bytes>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert_eq!(error.subject(), format!("{text:?}"));
        }
    }

    #[test]
    fn memory_below_the_minimum_is_refused() {
        let error = Memory::new(Bytes::mib(1), MemorySwap::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            "cannot limit memory to 1m: the minimum is 4m; ask for more, or for no limit"
        );
        assert!(Memory::new(Bytes::new(Memory::MINIMUM.get() - 1), MemorySwap::default()).is_err());
        assert!(Memory::new(Memory::MINIMUM, MemorySwap::default()).is_ok());
    }

    #[test]
    fn swap_follows_dockers_table() {
        let total = |swap: MemorySwap| Memory::new(Bytes::mib(300), swap).unwrap().total();
        assert_eq!(total("0".parse().unwrap()), Some(Bytes::mib(600)));
        assert_eq!(total("300m".parse().unwrap()), Some(Bytes::mib(300)));
        assert_eq!(total(MemorySwap::Disabled), Some(Bytes::mib(300)));
        assert_eq!(total("1g".parse().unwrap()), Some(Bytes::gib(1)));
        assert_eq!(total("-1".parse().unwrap()), None);

        let error = Memory::new(Bytes::mib(300), "299m".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot limit memory and swap to 299m: the memory limit alone is 300m; give the total \
             of memory and swap"
        );
    }

    #[test]
    fn cpus_become_a_quota() {
        for (text, quota) in [("0.01", 1000), ("0.5", 50_000), ("1.5", 150_000), ("2", 200_000)] {
            assert_eq!(text.parse::<Cpus>().unwrap().quota_us(), quota);
        }
        for text in ["0", "-1", "0.009", "nan", "inf", "1e9", "", "two"] {
            let error = text.parse::<Cpus>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
        }
    }
}
