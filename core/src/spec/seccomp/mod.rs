//! Seccomp: an OCI profile in, a BPF filter for seccomp(2) out.
//!
//! [`default_profile`] is docker's default profile for a set of capabilities; [`compile`] turns that
//! or any other [`LinuxSeccomp`](oci_spec::runtime::LinuxSeccomp) into a [`Filter`], whose bytes are
//! the `struct sock_filter` array the kernel loads. Everything here is pure: nothing is loaded, and
//! the machine is not asked what it is.
//!
//! Own compiler, not libseccomp: that is LGPL C. What profiles mean is what they mean under runc;
//! the differences are listed at [`compile`].
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp>

#[rustfmt::skip]
mod allowed;
mod assemble;
mod compile;
mod filter;
mod lower;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;

pub use compile::compile;
pub use filter::{Filter, Instruction};
pub use profile::default_profile;
pub use syscalls::number;

use oci_spec::runtime::Arch as OciArch;

/// A system call ABI with its own numbers: a processor's own, or one it also runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit pointers in 64-bit mode: the numbers of x86_64, mostly, with bit 30 set.
    X32,
    /// 32-bit x86 (i386), which x86_64 kernels run too.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI), which most aarch64 kernels run too.
    Arm,
}

impl Arch {
    /// The ABI this library was compiled for, if it is one with tables here.
    pub const fn native() -> Option<Self> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Arch::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Arch::X86)
        } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            Some(Arch::Aarch64)
        } else if cfg!(all(target_arch = "arm", target_endian = "little")) {
            Some(Arch::Arm)
        } else {
            None
        }
    }

    /// The other ABIs that a kernel of this one may run.
    const fn guests(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 => &[Arch::X86, Arch::X32],
            Arch::Aarch64 => &[Arch::Arm],
            Arch::X32 | Arch::X86 | Arch::Arm => &[],
        }
    }

    /// The AUDIT_ARCH_* value the kernel shows a filter. x32 shares that of x86_64.
    const fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether both halves of an argument count; see [`compile`].
    const fn is_wide(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::X32 | Arch::Aarch64)
    }

    /// As the OCI spec writes it.
    const fn to_oci(self) -> OciArch {
        match self {
            Arch::X86_64 => OciArch::ScmpArchX86_64,
            Arch::X32 => OciArch::ScmpArchX32,
            Arch::X86 => OciArch::ScmpArchX86,
            Arch::Aarch64 => OciArch::ScmpArchAarch64,
            Arch::Arm => OciArch::ScmpArchArm,
        }
    }
}
