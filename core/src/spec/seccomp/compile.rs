//! Compiles an OCI seccomp profile to BPF.

use nix::libc;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag,
};

use super::Arch;
use super::assemble::{self, Assembler, Label, Pieces};
use super::filter::{FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV, Filter, op};
use super::lower::{Lowered, Matcher, too_long};
use super::syscalls::{ARM_PRIVATE, X32_BIT, X32_OWN, in_arch};
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
/// - Arguments are compared as 64 bits; for 32-bit ABIs, only the low halves are.
/// - A call newer than any the profile names, in its ABI, fails with ENOSYS and not with the default
///   action, unless that lets it pass: programs fall back on ENOSYS, and on nothing else.
///
/// It differs in this:
/// - x32 is filtered along with x86_64: all 64 bits of arguments count, as they do in the kernel.
/// - An unknown ABI kills the process, where libseccomp kills the thread and leaves the rest of the
///   process waiting for it.
/// - Rules with conditions on one call are tried in the profile's order; libseccomp's order is its
///   own. It matters only if they overlap and have different actions.
/// - On i386, `socketcall` and `ipc` are calls like others: naming `connect` does not allow it
///   through `socketcall`.
/// - `write` may notify. runc refuses it, because it writes the listener's number itself.
///
/// The filter bisects by number and then by argument. Docker's profile takes 214 instructions, of
/// which a call passes 10 on average and 17 at most (libseccomp's takes 1,290); loading it took 80 us
/// against libseccomp's 300. Compiling it takes 0.1 ms: keep the filter of a profile used again.
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
    let native = if native == Arch::X32 { Arch::X86_64 } else { native };
    let mut assembler = Assembler::default();
    let covers = |arch: &Arch| {
        profile.architectures().iter().flatten().any(|covered| *covered == arch.to_oci())
    };
    let mut other = Label::Return(KILL_PROCESS);
    for &guest in native.guests().iter().filter(|guest| covers(guest)) {
        if guest.audit() != native.audit() {
            let numbers = numbers(&mut assembler, &lowered, guest, false)?;
            other = assembler.branch(op::JEQ, guest.audit(), numbers, other);
        }
    }
    let with_x32 = native == Arch::X86_64 && covers(&Arch::X32);
    let numbers = numbers(&mut assembler, &lowered, native, with_x32)?;
    let entry = assembler.branch(op::JEQ, native.audit(), numbers, other);
    let entry = assembler.load(assemble::ARCH, entry);
    if assembler.len() > Filter::MAX_LEN {
        return Err(too_long());
    }
    Ok(assembler.finish(entry, lowered.flags | flags(profile)))
}

/// Writes the decision by number for calls whose AUDIT_ARCH_* is that of `arch`.
///
/// x32 needs no table of its own: without their bit, its numbers are either those of x86_64 or from
/// [`X32_OWN`] on. A number that only one of the two has is judged for both, and the kernel refuses
/// it to the other (since Linux 5.4). That saves a third of the filter, and what loading a filter
/// costs is mostly its length.
fn numbers(
    assembler: &mut Assembler,
    lowered: &Lowered,
    arch: Arch,
    with_x32: bool,
) -> Result<Label> {
    let (newest, unknown) = newest(lowered, arch);
    let x32 = |numbers| in_arch(numbers, Arch::X32).filter(|own| with_x32 && *own >= X32_OWN);
    let number = |numbers| [in_arch(numbers, arch), x32(numbers)].into_iter().flatten();
    let mut rules: Vec<(u32, Option<usize>)> = lowered
        .rules
        .iter()
        .flat_map(|(numbers, matcher)| number(numbers).map(|number| (number, *matcher)))
        .collect();
    rules.sort_unstable();
    let (older, apart) = rules.split_at(rules.partition_point(|rule| rule.0 < newest));
    let mut pieces = Pieces::default();
    let default = Label::Return(lowered.default);
    for (start, rules, between) in [(0, older, default), (newest, apart, unknown)] {
        pieces.push(start, between);
        for call in rules.chunk_by(|a, b| a.0 == b.0) {
            let matchers = call.iter().filter_map(|rule| Some(&lowered.matchers[rule.1?]));
            pieces.push(call[0].0, verdict(assembler, matchers, arch.is_wide(), default));
            pieces.push(call[0].0 + 1, between);
            if assembler.len() > Filter::MAX_LEN {
                return Err(too_long());
            }
        }
    }
    if arch == Arch::X86_64 && !with_x32 {
        pieces.push(X32_BIT, Label::Return(KILL_PROCESS));
        // Not x32, but what a tracer writes to skip a call.
        pieces.push(u32::MAX, unknown);
    }
    let mut label = assembler.bisect(&pieces, TABLE);
    if with_x32 {
        label = assembler.and(!X32_BIT, label);
    }
    Ok(assembler.load(assemble::NR, label))
}

/// The number from which on calls are newer than the profile, and where those go.
fn newest(lowered: &Lowered, arch: Arch) -> (u32, Label) {
    let default = Label::Return(lowered.default);
    let numbers = lowered.rules.iter().filter_map(|(numbers, _)| in_arch(numbers, arch));
    match numbers.filter(|number| *number < ARM_PRIVATE).max() {
        Some(newest) if lets_pass(lowered.default) => (newest + 1, default),
        Some(newest) => (newest + 1, Label::Return(NO_SUCH_CALL)),
        None => (0, default),
    }
}

/// Writes the decision on one call.
fn verdict<'a>(
    assembler: &mut Assembler,
    matchers: impl Iterator<Item = &'a Matcher> + Clone,
    wide: bool,
    default: Label,
) -> Label {
    if let Some(always) = matchers.clone().find(|matcher| matcher.conditions.is_empty()) {
        return Label::Return(always.verdict);
    }
    let matchers: Vec<Matcher> = matchers
        .map(|matcher| if wide { matcher.clone() } else { matcher.clone().narrowed() })
        .collect();
    assembler.first_match(&matchers, wide, default)
}

/// Whether the call is made, or a tracer decides, so that ENOSYS would be in the way.
fn lets_pass(verdict: u32) -> bool {
    [Action::ScmpActAllow, Action::ScmpActLog, Action::ScmpActTrace]
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
    profile.flags().iter().flatten().fold(0, |flags, next| flags | flag(next))
}
