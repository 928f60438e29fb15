//! Names of kernel flags, for printed plans and for messages.

use std::fmt::{self, Display, Formatter};

/// `CLONE_NEW*`.
pub(crate) struct Namespaces(pub(crate) u32);

/// The bits and names of `CLONE_NEW*`.
pub(crate) const NAMESPACES: [(u32, &str); 8] = [
    (0x0002_0000, "mnt"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "net"),
    (0x0000_0080, "time"),
];

/// `MOUNT_ATTR_*`.
pub(crate) struct Attributes(pub(crate) u64);

const ATTRIBUTES: [(u64, &str); 7] = [
    (0x1, "rdonly"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0x80, "nodiratime"),
];

/// Capability sets, bit n for capability n.
pub(crate) struct Capabilities(pub(crate) u64);

/// Capability names without `CAP_`, by number. Source: <linux/capability.h>.
pub(crate) const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// An rlimit's number.
pub(crate) struct Resource(pub(crate) u32);

const RESOURCES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

impl Display for Namespaces {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let set = NAMESPACES.iter().filter(|(bit, _)| self.0 & bit != 0);
        join(f, set.map(|(_, name)| *name))
    }
}

impl Display for Attributes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let set = ATTRIBUTES.iter().filter(|(bit, _)| self.0 & bit != 0);
        join(f, set.map(|(_, name)| *name))
    }
}

impl Display for Capabilities {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let set = CAPABILITIES.iter().enumerate().filter(|(n, _)| self.0 >> n & 1 != 0);
        join(f, set.map(|(_, name)| *name))
    }
}

impl Display for Resource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(RESOURCES.get(self.0 as usize).copied().unwrap_or("unknown"))
    }
}

/// Names with bars between them, "none" for none.
fn join<'a>(f: &mut Formatter<'_>, names: impl Iterator<Item = &'a str>) -> fmt::Result {
    let mut any = false;
    for name in names {
        if any {
            f.write_str("|")?;
        }
        f.write_str(name)?;
        any = true;
    }
    if any { Ok(()) } else { f.write_str("none") }
}
