//! The set of cgroup controllers that skep uses.

use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// A set of controllers; those skep has no use for are never in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Controllers(u8);

const NAMES: [(&str, Controllers); 4] = [
    ("cpu", Controllers::CPU),
    ("cpuacct", Controllers::CPUACCT),
    ("memory", Controllers::MEMORY),
    ("pids", Controllers::PIDS),
];

impl Controllers {
    pub(super) const NONE: Self = Controllers(0);
    pub(super) const CPU: Self = Controllers(1);
    /// CPU time of a group, on v1 only; v2 counts it without a controller.
    pub(super) const CPUACCT: Self = Controllers(2);
    pub(super) const MEMORY: Self = Controllers(4);
    pub(super) const PIDS: Self = Controllers(8);
    /// What can be switched on for the groups below one, on v2.
    pub(super) const V2: Self = Controllers(1 | 4 | 8);

    /// Reads a list of names, as in `cgroup.controllers` (separated by spaces) or in the options of
    /// a v1 mount (by commas). Words that name none of ours are left out.
    pub(super) fn parse(list: &str) -> Self {
        list.split([' ', ',', '\n'])
            .filter_map(|word| NAMES.iter().find(|(name, _)| *name == word))
            .fold(Self::NONE, |set, (_, controller)| set | *controller)
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Whether the two sets have a controller in common.
    pub(super) fn meets(self, other: Self) -> bool {
        !(self & other).is_empty()
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (&'static str, Controllers)> {
        NAMES.into_iter().filter(move |(_, controller)| self.meets(*controller))
    }
}

impl BitOr for Controllers {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Controllers(self.0 | other.0)
    }
}

impl BitOrAssign for Controllers {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Controllers {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Controllers(self.0 & other.0)
    }
}

impl Sub for Controllers {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Controllers(self.0 & !other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds_of_list() {
        assert_eq!(
            Controllers::parse("cpuset cpu io memory hugetlb pids\n"),
            Controllers::CPU | Controllers::MEMORY | Controllers::PIDS
        );
        assert_eq!(Controllers::parse("rw,cpu,cpuacct"), Controllers::CPU | Controllers::CPUACCT);
        assert_eq!(Controllers::parse("\n"), Controllers::NONE);
        let names: Vec<_> = Controllers::V2.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["cpu", "memory", "pids"]);
    }
}
