//! Every filter is run by an interpreter and compared with a direct reading of its profile.

use std::collections::{HashMap, HashSet};

use oci_spec::runtime::{
    Arch as OciArch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction as Action,
    LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Op, LinuxSyscall,
};
use proptest::prelude::*;

use super::filter::op;
use super::*;
use crate::ErrorKind;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL_PROCESS: u32 = 0x8000_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;

/// Those that a kernel has; x32 is only ever beside x86_64.
const NATIVE: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];
const ARCHES: [Arch; 5] = [Arch::X86_64, Arch::X32, Arch::X86, Arch::Aarch64, Arch::Arm];

/// What a filter sees of a system call.
#[derive(Debug, Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

/// The verdict of `filter` on `call`, and the number of instructions it took.
fn run(filter: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut a, mut at) = (0u32, 0usize);
    for steps in 1..=filter.len() {
        let Instruction { code, jt, jf, k } = filter[at];
        at += 1;
        let mut branch = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            op::LOAD => a = load(call, k),
            op::AND => a &= k,
            op::JUMP => at += k as usize,
            op::JEQ => branch(a == k),
            op::JGE => branch(a >= k),
            op::JSET => branch(a & k != 0),
            op::RETURN => return (k, steps),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
    panic!("a loop");
}

fn load(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        16..64 if offset.is_multiple_of(4) => {
            let arg = call.args[(offset as usize - 16) / 8];
            (arg >> (8 * (offset % 8))) as u32
        }
        other => panic!("load from {other}"),
    }
}

/// What the documentation of `compile` says, read from the profile with no regard to speed.
struct Oracle<'a> {
    profile: &'a LinuxSeccomp,
    native: Arch,
    default: u32,
    rules: HashMap<(Arch, u32), Vec<&'a LinuxSyscall>>,
    /// Of each ABI, but for ARM's private calls.
    newest: HashMap<Arch, u32>,
}

impl<'a> Oracle<'a> {
    fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let default = profile.default_action().as_u32(profile.default_errno_ret());
        let mut rules: HashMap<_, Vec<_>> = HashMap::new();
        let mut newest = HashMap::new();
        for (rule, arch) in profile.syscalls().iter().flatten().flat_map(|r| ARCHES.map(|a| (r, a)))
        {
            for number in rule.names().iter().filter_map(|name| number(name, arch)) {
                rules.entry((arch, number)).or_default().push(rule);
                if arch != Arch::Arm || number < 0xf_0000 {
                    let newest = newest.entry(arch).or_insert(number);
                    *newest = number.max(*newest);
                }
            }
        }
        Oracle { profile, native, default, rules, newest }
    }

    fn expected(&self, call: &Call) -> u32 {
        let Some(arch) = abi(self.profile, self.native, call) else {
            let skipped = self.native == Arch::X86_64 && call.arch == self.native.audit();
            return match skipped && call.number == u32::MAX {
                true => self.unnamed(Arch::X86_64, call.number),
                false => KILL_PROCESS,
            };
        };
        // The numbers of x86_64 and x32 are judged together if both are covered.
        let bare = call.number & !0x4000_0000;
        let (arch, number) = match arch {
            Arch::X86_64 | Arch::X32 if !self.covers(Arch::X32) => (arch, call.number),
            Arch::X86_64 | Arch::X32 if bare < 512 => (Arch::X86_64, bare),
            Arch::X86_64 | Arch::X32 => (Arch::X32, bare | 0x4000_0000),
            _ => (arch, call.number),
        };
        let named = self.rules.get(&(arch, number)).map_or(&[][..], Vec::as_slice);
        let verdict = |rule: &&LinuxSyscall| rule.action().as_u32(rule.errno_ret());
        let rules = || named.iter().copied().filter(|rule| verdict(rule) != self.default);
        let always = rules().find(|rule| rule.args().iter().flatten().next().is_none());
        let first = rules().find(|rule| matches(rule, arch, &call.args));
        match always.or(first) {
            Some(rule) => verdict(&rule),
            None if named.is_empty() && arch == Arch::X32 => self.unnamed(Arch::X86_64, bare),
            None if named.is_empty() => self.unnamed(arch, number),
            None => self.default,
        }
    }

    fn covers(&self, arch: Arch) -> bool {
        self.profile.architectures().iter().flatten().any(|listed| *listed == arch.to_oci())
    }

    fn unnamed(&self, arch: Arch, number: u32) -> u32 {
        match self.profile.default_action() {
            Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace => self.default,
            _ if self.newest.get(&arch).is_some_and(|newest| number > *newest) => ENOSYS,
            _ => self.default,
        }
    }
}

/// The ABI of `call`, if the profile covers it on a `native` kernel.
fn abi(profile: &LinuxSeccomp, native: Arch, call: &Call) -> Option<Arch> {
    let arch = *ARCHES.iter().find(|arch| {
        arch.audit() == call.arch
            && match arch {
                Arch::X86_64 => call.number < 0x4000_0000,
                Arch::X32 => call.number >= 0x4000_0000,
                _ => true,
            }
    })?;
    let listed = profile.architectures().iter().flatten().any(|listed| *listed == arch.to_oci());
    let runs = match native {
        Arch::X86_64 => matches!(arch, Arch::X86 | Arch::X32),
        Arch::Aarch64 => arch == Arch::Arm,
        _ => false,
    };
    (arch == native || (listed && runs)).then_some(arch)
}

fn matches(rule: &LinuxSyscall, arch: Arch, args: &[u64; 6]) -> bool {
    let conditions = rule.args().as_deref().unwrap_or_default();
    let indices: HashSet<usize> = conditions.iter().map(LinuxSeccompArg::index).collect();
    let mut verdicts = conditions.iter().map(|condition| {
        let narrow = matches!(arch, Arch::X86 | Arch::Arm);
        let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
        let (arg, value) = (cut(args[condition.index()]), cut(condition.value()));
        match condition.op() {
            Op::ScmpCmpNe => arg != value,
            Op::ScmpCmpLt => arg < value,
            Op::ScmpCmpLe => arg <= value,
            Op::ScmpCmpEq => arg == value,
            Op::ScmpCmpGe => arg >= value,
            Op::ScmpCmpGt => arg > value,
            Op::ScmpCmpMaskedEq => arg & value == value & cut(condition.value_two().unwrap_or(0)),
        }
    });
    match indices.len() == conditions.len() {
        true => verdicts.all(|holds| holds),
        false => verdicts.any(|holds| holds),
    }
}

/// Numbers around everything in the tables, and the far ends.
fn numbers() -> impl Iterator<Item = u32> {
    let far = [0xeffff, 0xf0000, 0xf0001, 0xf0005, 0xf0006, 0x3fff_ffff, 0x7fff_ffff];
    let far = far.into_iter().chain([0x8000_0000, 0xbfff_ffff, 0xffff_fffe, u32::MAX]);
    (0..600).flat_map(|number| [number, number | 0x4000_0000]).chain(far)
}

fn check(profile: &LinuxSeccomp, native: Arch, args: &[[u64; 6]]) {
    let filter = compile(profile, native).unwrap();
    let oracle = Oracle::new(profile, native);
    let instructions: Vec<Instruction> = filter.instructions().collect();
    for arch in [0, Arch::X86_64.audit(), Arch::X86.audit(), Arch::Aarch64.audit(), 0x4000_0028] {
        for number in numbers() {
            for args in args {
                let call = Call { arch, number, args: *args };
                let (verdict, _) = run(&instructions, &call);
                let expected = oracle.expected(&call);
                assert_eq!(verdict, expected, "{verdict:#x} != {expected:#x}: {call:x?}\n{filter}");
            }
        }
    }
}

fn docker(capabilities: &[Capability], native: Arch) -> LinuxSeccomp {
    default_profile(&Capabilities::from_iter(capabilities.iter().copied()), native)
}

fn rule(name: &str, action: Action, args: &[(usize, Op, u64, Option<u64>)]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    let args = args.iter().map(|&(index, op, value, value_two)| {
        let arg = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
        let arg = value_two.into_iter().fold(arg, |arg, value| arg.value_two(value));
        arg.build().unwrap()
    });
    rule.set_names(vec![name.into()]).set_action(action).set_args(Some(args.collect()));
    rule
}

fn profile(default: Action, arches: &[OciArch], rules: Vec<LinuxSyscall>) -> LinuxSeccomp {
    let mut profile = LinuxSeccomp::default();
    profile.set_default_action(default).set_syscalls(Some(rules));
    profile.set_architectures(Some(arches.to_vec()));
    profile
}

/// The verdict on one x86_64 call.
fn verdict(profile: &LinuxSeccomp, name: &str, args: &[u64]) -> u32 {
    let filter = compile(profile, Arch::X86_64).unwrap();
    let mut call = Call {
        arch: Arch::X86_64.audit(),
        number: number(name, Arch::X86_64).unwrap(),
        args: [0; 6],
    };
    call.args[..args.len()].copy_from_slice(args);
    run(&filter.instructions().collect::<Vec<_>>(), &call).0
}

#[test]
fn dockers_profile_is_compiled_to_what_it_says() {
    let values = [0, 1, 8, 11, 12, 13, 38, 39, 40, 41, 45, 46, 0x2_0000, 0x2_0008, 0x2_0009];
    let values =
        values.into_iter().chain([CLONE_NEWUSER, 0x7e02_0000, 0x80, 0x3d0f00, 0xffff_ffff]);
    let args: Vec<[u64; 6]> =
        values.flat_map(|low| [low, low | 1 << 32, low | 1 << 63]).map(|v| [v; 6]).collect();
    for native in NATIVE {
        check(&docker(&[], native), native, &args);
        check(&docker(&[Capability::SysAdmin, Capability::SysTime], native), native, &args[..9]);
    }
}

#[test]
fn dockers_profile_denies_what_it_is_for() {
    let profile = docker(&[], Arch::X86_64);
    for name in ["mount", "unshare", "keyctl", "bpf", "io_uring_setup", "userfaultfd", "setns"] {
        assert_eq!(verdict(&profile, name, &[]), EPERM, "{name}");
    }
    for name in ["read", "write", "openat", "ptrace", "futex", "rseq", "execve", "arch_prctl"] {
        assert_eq!(verdict(&profile, name, &[]), ALLOW, "{name}");
    }
    assert_eq!(verdict(&profile, "clone3", &[]), ENOSYS);
    assert_eq!(verdict(&profile, "open_tree_attr", &[]), ENOSYS, "newer than the profile");
    assert_eq!(verdict(&profile, "clone", &[0x3d_0f00]), ALLOW);
    assert_eq!(verdict(&profile, "clone", &[CLONE_NEWUSER]), EPERM);
    assert_eq!(verdict(&profile, "socket", &[2]), ALLOW);
    assert_eq!(verdict(&profile, "socket", &[38]), EPERM, "AF_ALG");
    assert_eq!(verdict(&profile, "socket", &[40]), EPERM, "AF_VSOCK");
    assert_eq!(verdict(&profile, "socket", &[1 << 32 | 38]), EPERM);
    assert_eq!(verdict(&profile, "personality", &[0x4_0000]), EPERM, "ADDR_NO_RANDOMIZE");

    let profile = docker(&[Capability::SysAdmin], Arch::X86_64);
    assert_eq!(verdict(&profile, "mount", &[]), ALLOW);
    assert_eq!(verdict(&profile, "clone3", &[]), ALLOW);
    assert_eq!(verdict(&profile, "clone", &[CLONE_NEWUSER]), ALLOW);
    assert_eq!(verdict(&profile, "keyctl", &[]), EPERM);
}

#[test]
fn dockers_profile_is_short_and_shallow() {
    let filter = compile(&docker(&[], Arch::X86_64), Arch::X86_64).unwrap();
    let instructions: Vec<Instruction> = filter.instructions().collect();
    let mut report = format!("{} instructions", filter.len());
    for arch in [Arch::X86_64, Arch::X86] {
        let steps = (0..470).map(|number| {
            let call = Call { arch: arch.audit(), number, args: [0; 6] };
            run(&instructions, &call).1
        });
        let (most, sum) = steps.fold((0, 0), |(most, sum), steps| (most.max(steps), sum + steps));
        report +=
            &format!(", {arch:?} {most} steps at most, {}.{} mean", sum / 470, sum * 10 / 470 % 10);
    }
    assert_eq!(
        report,
        "214 instructions, X86_64 17 steps at most, 10.1 mean, X86 17 steps at most, 11.4 mean"
    );
}

#[test]
fn actions_become_verdicts() {
    let cases = [
        (Action::ScmpActAllow, None, 0x7fff_0000),
        (Action::ScmpActErrno, None, 0x0005_0001),
        (Action::ScmpActErrno, Some(13), 0x0005_000d),
        (Action::ScmpActKill, None, 0),
        (Action::ScmpActKillThread, None, 0),
        (Action::ScmpActKillProcess, None, 0x8000_0000),
        (Action::ScmpActTrap, None, 0x0003_0000),
        (Action::ScmpActTrace, None, 0x7ff0_0001),
        (Action::ScmpActTrace, Some(0xffff), 0x7ff0_ffff),
        (Action::ScmpActLog, None, 0x7ffc_0000),
        (Action::ScmpActNotify, None, 0x7fc0_0000),
    ];
    for (action, errno, expected) in cases {
        let mut mount = rule("mount", action, &[]);
        mount.set_errno_ret(errno);
        let mut profile = profile(Action::ScmpActErrno, &[], vec![mount]);
        profile.set_default_errno_ret(Some(99));
        assert_eq!(verdict(&profile, "mount", &[]), expected, "{action}");
        assert_eq!(verdict(&profile, "read", &[]), 0x0005_0063);
        let filter = compile(&profile, Arch::X86_64).unwrap();
        assert_eq!(filter.needs_listener(), action == Action::ScmpActNotify);
    }
}

#[test]
fn flags_are_the_profiles() {
    let mut profile = profile(Action::ScmpActAllow, &[], vec![]);
    assert_eq!(compile(&profile, Arch::X86_64).unwrap().flags(), 0);
    profile.set_flags(Some(vec![
        Flag::SeccompFilterFlagLog,
        Flag::SeccompFilterFlagTsync,
        Flag::SeccompFilterFlagSpecAllow,
        Flag::SeccompFilterFlagWaitKillableRecv,
    ]));
    assert_eq!(compile(&profile, Arch::X86_64).unwrap().flags(), 2 | 4 | 32);
    profile.set_syscalls(Some(vec![rule("mount", Action::ScmpActNotify, &[])]));
    assert_eq!(compile(&profile, Arch::X86_64).unwrap().flags(), 2 | 4 | 8 | 32);
}

#[test]
fn an_unconditional_rule_wins_and_a_default_one_is_ignored() {
    let conditional = || rule("socket", Action::ScmpActKill, &[(0, Op::ScmpCmpEq, 40, None)]);
    let profile = |rules| profile(Action::ScmpActErrno, &[], rules);
    let always = || rule("socket", Action::ScmpActAllow, &[]);
    assert_eq!(verdict(&profile(vec![conditional(), always()]), "socket", &[40]), ALLOW);
    assert_eq!(verdict(&profile(vec![always(), conditional()]), "socket", &[40]), ALLOW);
    let default = || rule("socket", Action::ScmpActErrno, &[(0, Op::ScmpCmpEq, 40, None)]);
    let all = || rule("socket", Action::ScmpActAllow, &[(0, Op::ScmpCmpGe, 0, None)]);
    assert_eq!(verdict(&profile(vec![default(), all()]), "socket", &[40]), ALLOW);
}

#[test]
fn conditions_are_anded_unless_they_share_an_argument() {
    let both = [(0, Op::ScmpCmpEq, 1, None), (1, Op::ScmpCmpEq, 2, None)];
    let anded =
        profile(Action::ScmpActErrno, &[], vec![rule("ioctl", Action::ScmpActAllow, &both)]);
    assert_eq!(verdict(&anded, "ioctl", &[1, 2]), ALLOW);
    assert_eq!(verdict(&anded, "ioctl", &[1, 3]), EPERM);
    assert_eq!(verdict(&anded, "ioctl", &[3, 2]), EPERM);

    let shared = [both[0], both[1], (0, Op::ScmpCmpEq, 7, None)];
    let ored =
        profile(Action::ScmpActErrno, &[], vec![rule("ioctl", Action::ScmpActAllow, &shared)]);
    assert_eq!(verdict(&ored, "ioctl", &[7, 0]), ALLOW);
    assert_eq!(verdict(&ored, "ioctl", &[0, 2]), ALLOW);
    assert_eq!(verdict(&ored, "ioctl", &[0, 0]), EPERM);
}

#[test]
fn other_abis_are_killed_unless_listed() {
    let rules = || vec![rule("read", Action::ScmpActAllow, &[])];
    let read = |profile: &LinuxSeccomp, arch: Arch, number| {
        let filter: Vec<_> = compile(profile, Arch::X86_64).unwrap().instructions().collect();
        run(&filter, &Call { arch: arch.audit(), number, args: [0; 6] }).0
    };
    let alone = profile(Action::ScmpActErrno, &[], rules());
    assert_eq!(read(&alone, Arch::X86_64, 0), ALLOW);
    assert_eq!(read(&alone, Arch::X86, 3), KILL_PROCESS);
    assert_eq!(read(&alone, Arch::X32, 0x4000_0000), KILL_PROCESS);
    assert_eq!(read(&alone, Arch::X32, u32::MAX), ENOSYS);
    assert_eq!(read(&alone, Arch::Aarch64, 63), KILL_PROCESS);
    let listed = [OciArch::ScmpArchX86, OciArch::ScmpArchX32, OciArch::ScmpArchAarch64];
    let all = profile(Action::ScmpActErrno, &listed, rules());
    assert_eq!(read(&all, Arch::X86, 3), ALLOW);
    assert_eq!(read(&all, Arch::X86, 0), EPERM);
    assert_eq!(read(&all, Arch::X32, 0x4000_0000), ALLOW);
    assert_eq!(read(&all, Arch::Aarch64, 63), KILL_PROCESS);
}

#[test]
fn what_is_wrong_is_said() {
    let message = |profile: &LinuxSeccomp| {
        let error = compile(profile, Arch::X86_64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    assert_eq!(
        message(&profile(Action::ScmpActNotify, &[], vec![])),
        "cannot compile the seccomp profile: SCMP_ACT_NOTIFY cannot be the default action"
    );
    let seventh = rule("mount", Action::ScmpActAllow, &[(6, Op::ScmpCmpEq, 0, None)]);
    assert_eq!(
        message(&profile(Action::ScmpActErrno, &[], vec![seventh])),
        "cannot compile the seccomp profile: mount has a condition on argument 6, of 0 to 5"
    );
    let mut kill = rule("mount", Action::ScmpActKill, &[]);
    kill.set_errno_ret(Some(1));
    assert_eq!(
        message(&profile(Action::ScmpActErrno, &[], vec![kill])),
        "cannot compile the seccomp profile: an errno goes with ERRNO and TRACE, not with \
         SCMP_ACT_KILL"
    );
    let mut errno = rule("mount", Action::ScmpActErrno, &[]);
    errno.set_errno_ret(Some(4096));
    assert_eq!(
        message(&profile(Action::ScmpActAllow, &[], vec![errno])),
        "cannot compile the seccomp profile: SCMP_ACT_ERRNO cannot return 4096, at most 4095"
    );
}

#[test]
fn a_filter_too_long_for_the_kernel_is_an_error_and_a_long_one_is_not() {
    let masks = |count: u64| {
        let one = |bit| {
            let value = Some(bit | bit << 32);
            rule("ioctl", Action::ScmpActAllow, &[(1, Op::ScmpCmpMaskedEq, u64::MAX - 7, value)])
        };
        let mut rules: Vec<_> = (1..=count).map(|n| one(n << 3)).collect();
        rules.push(rule("close", Action::ScmpActAllow, &[]));
        profile(Action::ScmpActErrno, &[OciArch::ScmpArchX86], rules)
    };
    let long = masks(300);
    assert_eq!(verdict(&long, "ioctl", &[0, 300 << 3 | 300 << 35 | 5]), ALLOW);
    assert_eq!(verdict(&long, "ioctl", &[0, 300 << 3]), EPERM);
    assert_eq!(verdict(&long, "close", &[]), ALLOW);
    check(&masks(150), Arch::X86_64, &[[0; 6], [150 << 3 | 150 << 35; 6]]);
    assert!(compile(&long, Arch::X86_64).unwrap().len() > 3 * 255);
    for count in [1500, 10_000] {
        assert_eq!(
            compile(&masks(count), Arch::X86_64).unwrap_err().to_string(),
            "cannot compile the seccomp profile: it needs more than the 4096 instructions the \
             kernel takes; name fewer calls with conditions on their arguments"
        );
    }
}

#[test]
fn bytes_are_sock_filters_and_text_is_readable() {
    let socket = rule("socket", Action::ScmpActErrno, &[(0, Op::ScmpCmpEq, 38, None)]);
    let filter = compile(&profile(Action::ScmpActAllow, &[], vec![socket]), Arch::X86_64).unwrap();
    assert_eq!(filter.as_bytes().len(), filter.len() * 8);
    let instructions: Vec<_> = filter.instructions().collect();
    assert_eq!(instructions[0], Instruction { code: 0x20, jt: 0, jf: 0, k: 4 });
    assert_eq!(filter.as_bytes()[4..8], 4u32.to_ne_bytes());
    assert_eq!(
        filter.to_string(),
        "   0: load arch
   1: == 0xc000003e ? 2 : 7
   2: load nr
   3: >= 0x2a ? 5 : 4
   4: >= 0x29 ? 8 : 12
   5: >= 0x40000000 ? 6 : 12
   6: >= 0xffffffff ? 12 : 7
   7: return KILL_PROCESS
   8: load args[0].high
   9: >= 0x1 ? 12 : 10
  10: load args[0].low
  11: == 0x26 ? 13 : 12
  12: return ALLOW
  13: return ERRNO 1
"
    );
}

fn any_action() -> impl Strategy<Value = (Action, Option<u32>)> {
    prop_oneof![
        Just((Action::ScmpActAllow, None)),
        Just((Action::ScmpActErrno, None)),
        Just((Action::ScmpActErrno, Some(13))),
        Just((Action::ScmpActKillProcess, None)),
        Just((Action::ScmpActTrace, Some(7))),
        Just((Action::ScmpActLog, None)),
    ]
}

/// Few enough values to collide, on both sides of 2^32 and at the ends.
fn any_value() -> impl Strategy<Value = u64> {
    let half =
        prop_oneof![Just(0u32), Just(1), Just(2), Just(5), Just(u32::MAX - 1), Just(u32::MAX)];
    (half.clone(), half).prop_map(|(high, low)| u64::from(high) << 32 | u64::from(low))
}

fn any_rule() -> impl Strategy<Value = LinuxSyscall> {
    let op = prop_oneof![
        Just(Op::ScmpCmpNe),
        Just(Op::ScmpCmpLt),
        Just(Op::ScmpCmpLe),
        Just(Op::ScmpCmpEq),
        Just(Op::ScmpCmpGe),
        Just(Op::ScmpCmpGt),
        Just(Op::ScmpCmpMaskedEq),
    ];
    let arg = (0..3usize, op, any_value(), proptest::option::of(any_value()));
    let names = ["read", "write", "open", "ioctl", "clone3", "set_tls", "chown32", "no_such_call"];
    let name = proptest::sample::select(names.to_vec());
    (name, any_action(), prop::collection::vec(arg, 0..4)).prop_map(|(name, action, args)| {
        let mut rule = rule(name, action.0, &args);
        rule.set_errno_ret(action.1);
        rule
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_profile_is_compiled_to_what_it_says(
        default in any_action(),
        native in prop::sample::select(NATIVE.to_vec()),
        listed in prop::sample::subsequence(ARCHES.to_vec(), 0..=5),
        rules in prop::collection::vec(any_rule(), 0..12),
        args in prop::collection::vec(prop::array::uniform6(any_value()), 12),
    ) {
        let listed: Vec<OciArch> = listed.into_iter().map(Arch::to_oci).collect();
        let mut profile = profile(default.0, &listed, rules);
        profile.set_default_errno_ret(default.1);
        check(&profile, native, &args);
    }
}
