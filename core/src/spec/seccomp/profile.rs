//! Docker's default seccomp profile.
//!
//! An allow list: what is not named fails with EPERM. It denies what has let containers out (mount,
//! keyctl, bpf, userfaultfd, io_uring, new user namespaces) and what is no container's business
//! (modules, clocks, reboot), unless the container has the capability for it anyway.
//!
//! The content is that of moby/profiles, `seccomp/default_linux.go` at 02e898b1 (August 2026, Docker
//! Engine 29), which since CVE-2026-31431 denies AF_ALG beside AF_VSOCK; the grouping is ours.
//! Left out is what concerns other processors, and the condition on Linux 4.8 (ptrace): skep needs
//! 5.10.
//!
//! Source: <https://github.com/moby/profiles/blob/02e898b137aed1024e232d59bcb05e6179b72177/seccomp/default_linux.go>

use nix::libc;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArgBuilder,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

use super::Arch;
use super::allowed::{ALWAYS, ARM, WITH_CAPABILITY, X86, X86_64};

/// Docker's default profile for a container whose bounding set is `capabilities`, on `native`.
///
/// It covers `native` and the ABIs beside it (x86_64 with x86 and x32, aarch64 with arm). As in
/// docker, `socketcall` is allowed, whose arguments a filter cannot see: the socket families that
/// the profile denies are out of reach for x86_64 and x32 code, not for i386 code.
pub fn default_profile(capabilities: &Capabilities, native: Arch) -> LinuxSeccomp {
    let mut syscalls = vec![allow(ALWAYS.concat())];
    syscalls.extend(socket_rules());
    syscalls.extend(PERSONALITIES.map(|value| allow_if("personality", Op::ScmpCmpEq, value)));
    syscalls.push(allow(processor_calls(native).to_vec()));
    syscalls.extend(clone_rules(capabilities));
    for (capability, names) in WITH_CAPABILITY {
        if capabilities.contains(capability) {
            syscalls.push(allow(names.to_vec()));
        }
    }
    let arches = std::iter::once(native).chain(native.guests().iter().copied());
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(libc::EPERM as u32))
        .set_architectures(Some(arches.map(Arch::to_oci).collect()))
        .set_syscalls(Some(syscalls));
    profile
}

fn allow(names: Vec<&str>) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.into_iter().map(str::to_owned).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow);
    rule
}

/// Allows `name` if its first argument compares.
fn allow_if(name: &str, op: Op, value: u64) -> LinuxSyscall {
    let arg = LinuxSeccompArgBuilder::default().index(0_usize).value(value).op(op);
    let arg = if op == Op::ScmpCmpMaskedEq { arg.value_two(0_u64) } else { arg };
    // Every field has a default and there is no validation, so that building cannot fail.
    let arg = arg.build().expect("a seccomp argument");
    let mut rule = allow(vec![name]);
    rule.set_args(Some(vec![arg]));
    rule
}

/// `socket` for the families that exist and are not denied.
///
/// One rule a family, because two bounds on one argument are or-ed by runc (its issue 2735); below
/// the first gap one comparison does, AF_UNSPEC (0) being refused by the kernel.
fn socket_rules() -> impl Iterator<Item = LinuxSyscall> {
    let low = allow_if("socket", Op::ScmpCmpLt, SOCKET_FAMILIES_BELOW);
    let rest = SOCKET_FAMILIES.iter();
    std::iter::once(low).chain(rest.map(|family| allow_if("socket", Op::ScmpCmpEq, *family)))
}

/// Without CAP_SYS_ADMIN, `clone` may make no namespaces, and `clone3`, whose flags are behind a
/// pointer, does not exist: glibc falls back to `clone` on ENOSYS, and on nothing else.
fn clone_rules(capabilities: &Capabilities) -> Vec<LinuxSyscall> {
    if capabilities.contains(&Capability::SysAdmin) {
        return vec![allow(vec!["clone", "clone3"])];
    }
    let mut clone3 = allow(vec!["clone3"]);
    clone3.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(libc::ENOSYS as u32));
    vec![allow_if("clone", Op::ScmpCmpMaskedEq, NAMESPACE_FLAGS), clone3]
}

/// What only one family of processors has.
fn processor_calls(native: Arch) -> &'static [&'static str] {
    match native {
        Arch::X86_64 | Arch::X32 => X86_64,
        Arch::X86 => X86,
        Arch::Aarch64 | Arch::Arm => ARM,
    }
}

/// CLONE_NEW* for cgroup, ipc, mnt, net, pid, user and uts; CLONE_NEWTIME shares its bit with the
/// exit signal, so that `clone` cannot ask for it.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// PER_LINUX, PER_LINUX32, each also with UNAME26; and the value that asks without setting.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Every family from AF_UNIX to AF_ROSE is allowed; AF_DECnet (12) is gone since Linux 6.1.
const SOCKET_FAMILIES_BELOW: u64 = 12;

/// The others. Missing are families that the kernel dropped, AF_ALG (38) and AF_VSOCK (40).
const SOCKET_FAMILIES: &[u64] = &[
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];
