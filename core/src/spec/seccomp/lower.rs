//! From an OCI profile to matchers: names resolved, actions as numbers, conditions checked.

use nix::libc;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op,
    LinuxSyscall,
};

use super::filter::{FLAG_NEW_LISTENER, Filter};
use super::syscalls::{self, Numbers};
use crate::{Error, ErrorKind, Result};

/// Far more than any profile has; bounds the time and memory that a hostile one takes.
const MAX_RULES: usize = 1 << 16;

/// A profile, checked and resolved.
pub(super) struct Lowered {
    /// The verdict on what no rule matches.
    pub(super) default: u32,
    pub(super) matchers: Vec<Matcher>,
    /// Which matcher concerns which call, in the profile's order; several for one call are or-ed.
    /// `None` is a rule with the default action: ignored, but the profile knows the call.
    pub(super) rules: Vec<(&'static Numbers, Option<usize>)>,
    /// FLAG_NEW_LISTENER if a rule notifies.
    pub(super) flags: u32,
}

/// A verdict, if all conditions hold.
#[derive(Clone)]
pub(super) struct Matcher {
    pub(super) verdict: u32,
    pub(super) conditions: Vec<Condition>,
}

/// A test of one argument.
#[derive(Clone, Copy)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) arg: u32,
    pub(super) test: Test,
}

#[derive(Clone, Copy)]
pub(super) enum Test {
    Compare(Op, u64),
    Masked { mask: u64, value: u64 },
}

impl Lowered {
    /// # Errors
    /// `InvalidInput`, see [`compile`](super::compile).
    pub(super) fn new(profile: &LinuxSeccomp) -> Result<Self> {
        let default = verdict(profile.default_action(), profile.default_errno_ret())?;
        if profile.default_action() == Action::ScmpActNotify {
            return Err(invalid("SCMP_ACT_NOTIFY cannot be the default action"));
        }
        let mut lowered =
            Lowered { default, matchers: Vec::new(), rules: Vec::with_capacity(512), flags: 0 };
        for rule in profile.syscalls().iter().flatten() {
            lowered.add(rule)?;
        }
        Ok(lowered)
    }

    fn add(&mut self, rule: &LinuxSyscall) -> Result<()> {
        let verdict = verdict(rule.action(), rule.errno_ret())?;
        let conditions = conditions(rule)?;
        let named = rule.names().iter().filter_map(|name| syscalls::numbers(name));
        if verdict == self.default {
            self.rules.extend(named.map(|numbers| (numbers, None)));
            return Ok(());
        }
        if rule.action() == Action::ScmpActNotify {
            self.flags |= FLAG_NEW_LISTENER;
        }
        let first = self.matchers.len();
        if is_repeated(&conditions) {
            let single = |condition| Matcher { verdict, conditions: vec![condition] };
            self.matchers.extend(conditions.into_iter().map(single));
        } else {
            self.matchers.push(Matcher { verdict, conditions });
        }
        let pairs = rule.names().len().saturating_mul(self.matchers.len() - first);
        if self.matchers.len() > Filter::MAX_LEN || self.rules.len() + pairs > MAX_RULES {
            return Err(too_long());
        }
        let matchers = first..self.matchers.len();
        let each = |numbers| matchers.clone().map(move |matcher| (numbers, Some(matcher)));
        self.rules.extend(named.flat_map(each));
        Ok(())
    }
}

impl Matcher {
    /// The argument whose plain comparison is all there is to it.
    pub(super) fn single_comparison(&self) -> Option<u32> {
        match self.conditions[..] {
            [Condition { arg, test: Test::Compare(..) }] => Some(arg),
            _ => None,
        }
    }

    /// The same for an ABI of which only the low halves of arguments count.
    pub(super) fn narrowed(mut self) -> Self {
        let low = |value: u64| value & u64::from(u32::MAX);
        for condition in &mut self.conditions {
            condition.test = match condition.test {
                Test::Compare(op, value) => Test::Compare(op, low(value)),
                Test::Masked { mask, value } => Test::Masked { mask: low(mask), value: low(value) },
            };
        }
        self
    }
}

impl Test {
    pub(super) fn holds(self, arg: u64) -> bool {
        match self {
            Test::Compare(op, value) => match op {
                Op::ScmpCmpNe => arg != value,
                Op::ScmpCmpLt => arg < value,
                Op::ScmpCmpLe => arg <= value,
                Op::ScmpCmpGe => arg >= value,
                Op::ScmpCmpGt => arg > value,
                Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => arg == value,
            },
            Test::Masked { mask, value } => arg & mask == value,
        }
    }
}

/// The error for a profile that does not fit into a filter.
pub(super) fn too_long() -> Error {
    invalid(format!("it needs more than the {} instructions the kernel takes", Filter::MAX_LEN))
        .fix("name fewer calls with conditions on their arguments")
}

pub(super) fn invalid(cause: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidInput, "compile", "the seccomp profile").cause(cause)
}

/// The SECCOMP_RET_* value.
fn verdict(action: Action, errno: Option<u32>) -> Result<u32> {
    let most = match action {
        // The kernel cuts at MAX_ERRNO silently.
        Action::ScmpActErrno => 4095,
        Action::ScmpActTrace => 0xffff,
        _ if errno.is_some() => {
            return Err(invalid(format!("an errno goes with ERRNO and TRACE, not with {action}")));
        }
        _ => 0,
    };
    match errno {
        Some(errno) if errno > most => {
            Err(invalid(format!("{action} cannot return {errno}, at most {most}")))
        }
        None => Ok(action.as_u32(Some(libc::EPERM as u32))),
        errno => Ok(action.as_u32(errno)),
    }
}

fn conditions(rule: &LinuxSyscall) -> Result<Vec<Condition>> {
    let convert = |arg: &LinuxSeccompArg| {
        let index = arg.index();
        if index > 5 {
            let names = rule.names().first().map_or("a rule", String::as_str);
            return Err(invalid(format!("{names} has a condition on argument {index}, of 0 to 5")));
        }
        let test = match arg.op() {
            Op::ScmpCmpMaskedEq => {
                let mask = arg.value();
                Test::Masked { mask, value: arg.value_two().unwrap_or(0) & mask }
            }
            op => Test::Compare(op, arg.value()),
        };
        Ok(Condition { arg: index as u32, test })
    };
    rule.args().iter().flatten().map(convert).collect()
}

/// Whether two conditions concern one argument.
fn is_repeated(conditions: &[Condition]) -> bool {
    let mut seen = 0u8;
    conditions.iter().any(|condition| {
        let bit = 1 << condition.arg;
        let again = seen & bit != 0;
        seen |= bit;
        again
    })
}
