//! Compiles an OCI seccomp profile to BPF.

use nix::libc;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag,
};

use super::Arch;
use super::assemble::{self, Assembler, Label, Pieces};
use super::filter::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, Filter, op};
use super::lower::{Lowered, Matcher, too_long};
use super::syscalls::{ARM_PRIVATE, X32_BIT, in_arch};
use crate::Result;

/// SECCOMP_RET_KILL_PROCESS.
const KILL_PROCESS: u32 = 0x8000_0000;

/// SECCOMP_RET_ERRNO with ENOSYS.
const NO_SUCH_CALL: u32 = 0x0005_0000 | libc::ENOSYS as u32;

/// No table of system calls is longer. The kernel runs a filter once for each call of its table when
/// it loads it, and calls at large are equally likely, so that below this each number weighs the same.
const TABLE: u32 = 512;

/// Compiles `profile` to a filter for a kernel of the ABI `native`.
///
/// A profile means what it means under runc and libseccomp:
/// - The ABIs are `native` and those of the profile's that its kernel runs as well. A call from
///   another one kills the process.
/// - Names that no ABI here has are ignored: profiles are written for newer kernels, too.
/// - A rule without conditions wins over those with conditions. The conditions of one rule are
///   and-ed, unless two concern the same argument: then all of them are or-ed.
/// - A rule with the default action is ignored.
/// - Arguments are compared as 64 bits; for 32-bit ABIs and x32, only the low halves are.
/// - A call newer than any the profile names, in its ABI, fails with ENOSYS and not with the default
///   action, unless that lets it pass: programs fall back on ENOSYS, and on nothing else.
///
/// It differs in this:
/// - An unknown ABI kills the process, where libseccomp kills the thread and leaves the rest of the
///   process waiting for it.
/// - Rules with conditions on one call are tried in the profile's order; libseccomp's order is its
///   own. It matters only if they overlap and have different actions.
/// - On i386, `socketcall` and `ipc` are calls like others: naming `connect` does not allow it
///   through `socketcall`.
/// - `write` may notify. runc refuses it, because it writes the listener's number itself.
///
/// The filter bisects by number, and each comparison that is made at all is made once, so that the
/// longest way through docker's profile is about a dozen instructions.
///
/// # Errors
/// `InvalidInput` if an action, errno or argument index is out of range, if the default action is to
/// notify, or if the kernel's 4,096 instructions do not suffice.
///
/// Source: <https://man7.org/linux/man-pages/man2/seccomp.2.html>,
/// <https://github.com/opencontainers/runc/tree/main/libcontainer/seccomp>
pub fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Filter> {
    let lowered = Lowered::new(profile)?;
    // x32 programs run on the kernel of x86_64.
    let native = if native == Arch::X32 {
        Arch::X86_64
    } else {
        native
    };
    let mut assembler = Assembler::default();
    let covers = |arch: &Arch| {
        profile
            .architectures()
            .iter()
            .flatten()
            .any(|covered| *covered == arch.to_oci())
    };
    let mut other = Label::Return(KILL_PROCESS);
    for &guest in native.guests().iter().filter(|guest| covers(guest)) {
        if guest.audit() != native.audit() {
            let numbers = numbers(&mut assembler, &lowered, guest, false)?;
            other = assembler.branch(op::JEQ, guest.audit(), numbers, other);
        }
    }
    let numbers = numbers(&mut assembler, &lowered, native, covers(&Arch::X32))?;
    let entry = assembler.branch(op::JEQ, native.audit(), numbers, other);
    let entry = assembler.load(assemble::ARCH, entry);
    if assembler.len() > Filter::MAX_LEN {
        return Err(too_long());
    }
    Ok(assembler.finish(entry, lowered.flags | flags(profile)))
}

/// Writes the decision by number for calls whose AUDIT_ARCH_* is that of `arch`.
fn numbers(
    assembler: &mut Assembler,
    lowered: &Lowered,
    arch: Arch,
    with_x32: bool,
) -> Result<Label> {
    let mut pieces = Pieces::default();
    let unknown = table(assembler, lowered, arch, &mut pieces)?;
    if arch == Arch::X86_64 && with_x32 {
        table(assembler, lowered, Arch::X32, &mut pieces)?;
    } else if arch == Arch::X86_64 {
        pieces.push(X32_BIT, Label::Return(KILL_PROCESS));
        // No x32 number, but what a tracer writes to skip a call.
        pieces.push(u32::MAX, unknown);
    }
    let label = assembler.bisect(&pieces, TABLE);
    Ok(assembler.load(assemble::NR, label))
}

/// Appends the calls of one ABI to `pieces`; returns where calls newer than the profile go.
fn table(
    assembler: &mut Assembler,
    lowered: &Lowered,
    arch: Arch,
    pieces: &mut Pieces<u32>,
) -> Result<Label> {
    let default = Label::Return(lowered.default);
    let start = if arch == Arch::X32 { X32_BIT } else { 0 };
    let (end, unknown) = match newest(lowered, arch) {
        Some(newest) if lets_pass(lowered.default) => (newest + 1, default),
        Some(newest) => (newest + 1, Label::Return(NO_SUCH_CALL)),
        None => (start, default),
    };
    let mut rules: Vec<(u32, Option<usize>)> = lowered
        .rules
        .iter()
        .filter_map(|(numbers, matcher)| Some((in_arch(numbers, arch)?, *matcher)))
        .collect();
    rules.sort_unstable();
    let (ordinary, private) = rules.split_at(rules.partition_point(|(number, _)| *number < end));
    for (start, rules, between) in [(start, ordinary, default), (end, private, unknown)] {
        pieces.push(start, between);
        for call in rules.chunk_by(|a, b| a.0 == b.0) {
            let matchers = call
                .iter()
                .filter_map(|(_, matcher)| Some(&lowered.matchers[(*matcher)?]));
            pieces.push(
                call[0].0,
                verdict(assembler, matchers, arch.is_wide(), default),
            );
            pieces.push(call[0].0 + 1, between);
            if assembler.len() > Filter::MAX_LEN {
                return Err(too_long());
            }
        }
    }
    Ok(unknown)
}

/// Writes the decision on one call.
fn verdict<'a>(
    assembler: &mut Assembler,
    matchers: impl Iterator<Item = &'a Matcher> + Clone,
    wide: bool,
    default: Label,
) -> Label {
    if let Some(always) = matchers
        .clone()
        .find(|matcher| matcher.conditions.is_empty())
    {
        return Label::Return(always.verdict);
    }
    let matchers: Vec<Matcher> = matchers
        .map(|matcher| {
            if wide {
                matcher.clone()
            } else {
                matcher.clone().narrowed()
            }
        })
        .collect();
    assembler.first_match(&matchers, wide, default)
}

fn newest(lowered: &Lowered, arch: Arch) -> Option<u32> {
    let numbers = lowered
        .rules
        .iter()
        .filter_map(|(numbers, _)| in_arch(numbers, arch));
    numbers
        .filter(|number| arch != Arch::Arm || *number < ARM_PRIVATE)
        .max()
}

/// Whether the call is made, or a tracer decides, so that ENOSYS would be in the way.
fn lets_pass(verdict: u32) -> bool {
    [
        Action::ScmpActAllow,
        Action::ScmpActLog,
        Action::ScmpActTrace,
    ]
    .iter()
    .any(|action| verdict & 0xffff_0000 == action.as_u32(Some(0)))
}

fn flags(profile: &LinuxSeccomp) -> u32 {
    let flag = |flag: &Flag| match flag {
        Flag::SeccompFilterFlagLog => FLAG_LOG,
        Flag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE_RECV,
        // The process that loads the filter has one thread, and no filter of another to fit.
        Flag::SeccompFilterFlagTsync => 0,
    };
    profile
        .flags()
        .iter()
        .flatten()
        .fold(0, |flags, next| flags | flag(next))
}
