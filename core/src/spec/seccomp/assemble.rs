//! Writes BPF backwards: a jump only goes forward, so its targets are written before it.
//!
//! That makes every distance known when a jump is written, and puts what is asked last at the end.

use super::filter::{Filter, Instruction, op};
use super::lower::{Condition, Matcher, Test};

/// Offsets in `struct seccomp_data`.
pub(super) const NR: u32 = 0;
pub(super) const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// An instruction, counted from the end of the program.
    At(usize),
    /// A verdict; its instruction is written where a jump can reach it.
    Return(u32),
}

/// A function of a number, piece by piece: from which number on, where to go.
///
/// It starts at 0, ascends, and no two neighbours go to the same place.
#[derive(Debug, Default)]
pub(super) struct Pieces<N>(Vec<(N, Label)>);

impl<N: Copy + PartialEq> Pieces<N> {
    /// From `start` on, go to `label`. `start` is at least that of the last piece.
    pub(super) fn push(&mut self, start: N, label: Label) {
        if self.0.last().is_some_and(|last| last.0 == start) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|last| last.1 != label) {
            self.0.push((start, label));
        }
    }
}

/// A program, growing from its end.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The last written return of each verdict.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    /// Ends (that is, begins) the program at `entry`.
    pub(super) fn finish(mut self, entry: Label, flags: u32) -> Filter {
        self.fall_into(entry);
        Filter::new(self.reversed.into_iter().rev(), flags)
    }

    /// Loads the field at `offset`, then goes to `next`, if anything there looks at it.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        match next {
            Label::Return(_) => next,
            Label::At(_) => {
                self.fall_into(next);
                self.write(op::LOAD, 0, 0, offset)
            }
        }
    }

    /// Keeps the bits of A in `mask`, then goes to `next`, if anything there looks at it.
    pub(super) fn and(&mut self, mask: u32, next: Label) -> Label {
        match next {
            Label::Return(_) => next,
            Label::At(_) => {
                self.fall_into(next);
                self.write(op::AND, 0, 0, mask)
            }
        }
    }

    /// Compares A with `k`.
    pub(super) fn branch(&mut self, code: u16, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let yes = self.reachable(yes);
        let no = self.reachable(no);
        // `reachable` left room for the instruction that the second call may have written.
        let distance = |target| (self.reversed.len() - 1 - target) as u8;
        self.write(code, distance(yes), distance(no), k)
    }

    /// Finds the piece that A is in, by bisection. Numbers below `table` are equally likely.
    pub(super) fn bisect(&mut self, pieces: &Pieces<u32>, table: u32) -> Label {
        self.bisect_until(table, &pieces.0, table)
    }

    fn bisect_until(&mut self, end: u32, pieces: &[(u32, Label)], table: u32) -> Label {
        match *pieces {
            [(_, only)] => only,
            // One number out of a run takes one comparison, not two.
            [(_, around), (one, exception), (next, after)]
                if around == after && next - one == 1 =>
            {
                self.branch(op::JEQ, one, exception, around)
            }
            _ => {
                let (below, above) = pieces.split_at(middle(end, pieces, table));
                let yes = self.bisect_until(end, above, table);
                let no = self.bisect_until(above[0].0, below, table);
                self.branch(op::JGE, above[0].0, yes, no)
            }
        }
    }

    /// Tries `matchers` in order; goes to `otherwise` if none matches.
    pub(super) fn first_match(
        &mut self,
        matchers: &[Matcher],
        wide: bool,
        otherwise: Label,
    ) -> Label {
        let (mut next, mut rest) = (otherwise, matchers);
        while let Some((last, before)) = rest.split_last() {
            let Some(arg) = last.single_comparison() else {
                let verdict = Label::Return(last.verdict);
                next = self.all_of(&last.conditions, wide, verdict, next);
                rest = before;
                continue;
            };
            let alike = |matcher: &&Matcher| matcher.single_comparison() == Some(arg);
            let same = rest.iter().rev().take_while(alike).count();
            let (before, ladder) = rest.split_at(rest.len() - same);
            let rung = |m: &Matcher| (m.conditions[0].test, Label::Return(m.verdict));
            next = self.compare(arg, wide, &ladder.iter().map(rung).collect::<Vec<_>>(), next);
            rest = before;
        }
        next
    }

    /// Goes to `yes` if every condition holds, else to `no`.
    fn all_of(&mut self, conditions: &[Condition], wide: bool, yes: Label, no: Label) -> Label {
        conditions.iter().rev().fold(yes, |yes, &Condition { arg, test }| match test {
            Test::Compare(..) => self.compare(arg, wide, &[(test, yes)], no),
            Test::Masked { mask, value } => self.masked(arg, wide, mask, value, yes, no),
        })
    }

    /// Goes where the first test of `ladder` that holds for an argument says.
    ///
    /// All of them are one function of the argument, constant between the values they name, so that
    /// however many there are it is loaded once and bisected.
    fn compare(
        &mut self,
        arg: u32,
        wide: bool,
        ladder: &[(Test, Label)],
        otherwise: Label,
    ) -> Label {
        let named = ladder.iter().filter_map(|(test, _)| match test {
            Test::Compare(_, value) => Some(*value),
            Test::Masked { .. } => None,
        });
        let mut starts: Vec<u64> = std::iter::once(0)
            .chain(named.flat_map(|value| [Some(value), value.checked_add(1)]).flatten())
            .filter(|start| wide || *start <= u64::from(u32::MAX))
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let mut pieces = Pieces::default();
        for start in starts {
            let first = ladder.iter().find(|(test, _)| test.holds(start));
            pieces.push(start, first.map_or(otherwise, |(_, label)| *label));
        }
        self.bisect_halves(arg, wide, &pieces.0)
    }

    /// Bisects by the high half of an argument, and by the low half where that decides.
    fn bisect_halves(&mut self, arg: u32, wide: bool, pieces: &[(u64, Label)]) -> Label {
        let mut high_pieces = Pieces::default();
        let mut current = pieces[0].1;
        for group in pieces.chunk_by(|a, b| a.0 >> 32 == b.0 >> 32) {
            let high = (group[0].0 >> 32) as u32;
            let mut low_pieces = Pieces::default();
            low_pieces.push(0, current);
            for (start, label) in group {
                low_pieces.push(*start as u32, *label);
                current = *label;
            }
            let label = self.bisect(&low_pieces, 0);
            let label = if low_pieces.0.len() > 1 { self.load(low(arg), label) } else { label };
            high_pieces.push(high, label);
            if let Some(next) = high.checked_add(1) {
                high_pieces.push(next, current);
            }
        }
        if !wide {
            // All starts are below 2^32, so the first piece is the low half's function.
            return high_pieces.0[0].1;
        }
        let label = self.bisect(&high_pieces, 0);
        if high_pieces.0.len() > 1 { self.load(high(arg), label) } else { label }
    }

    /// Goes to `yes` if an argument's bits under `mask` are `value`, else to `no`.
    fn masked(
        &mut self,
        arg: u32,
        wide: bool,
        mask: u64,
        value: u64,
        yes: Label,
        no: Label,
    ) -> Label {
        let label = self.masked_half(low(arg), mask as u32, value as u32, yes, no);
        if !wide {
            return label;
        }
        self.masked_half(high(arg), (mask >> 32) as u32, (value >> 32) as u32, label, no)
    }

    fn masked_half(&mut self, at: u32, mask: u32, value: u32, yes: Label, no: Label) -> Label {
        if mask == 0 || yes == no {
            return yes;
        }
        let label = if value == 0 {
            self.branch(op::JSET, mask, no, yes)
        } else {
            let label = self.branch(op::JEQ, value, yes, no);
            self.and(mask, label)
        };
        self.load(at, label)
    }

    /// Makes `target` what is written next to what comes before it.
    fn fall_into(&mut self, target: Label) {
        match target {
            Label::At(at) if at + 1 == self.reversed.len() => {}
            Label::At(at) => {
                let distance = self.reversed.len() - 1 - at;
                self.write(op::JUMP, 0, 0, distance as u32);
            }
            Label::Return(verdict) => {
                self.write_return(verdict);
            }
        }
    }

    /// An instruction that leads to `target` and that a conditional jump, whose distances are
    /// bytes, can reach even after one more instruction.
    fn reachable(&mut self, target: Label) -> usize {
        let near = self.reversed.len().saturating_sub(255);
        match target {
            Label::At(at) if at >= near => at,
            Label::At(at) => {
                let distance = self.reversed.len() - 1 - at;
                self.write(op::JUMP, 0, 0, distance as u32);
                self.reversed.len() - 1
            }
            Label::Return(verdict) => {
                match self.returns.iter().find(|(known, at)| *known == verdict && *at >= near) {
                    Some((_, at)) => *at,
                    None => self.write_return(verdict),
                }
            }
        }
    }

    fn write_return(&mut self, verdict: u32) -> usize {
        self.returns.retain(|(known, _)| *known != verdict);
        self.write(op::RETURN, 0, 0, verdict);
        let at = self.reversed.len() - 1;
        self.returns.push((verdict, at));
        at
    }

    fn write(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label::At(self.reversed.len() - 1)
    }
}

/// Where an argument's low half is; `compile` is for little-endian machines only.
fn low(arg: u32) -> u32 {
    ARGS + 8 * arg
}

fn high(arg: u32) -> u32 {
    low(arg) + 4
}

/// Where to cut, from 1 to the last index, so that both sides weigh about the same: 16 for each number
/// below `table`, and 1 for each piece.
fn middle(end: u32, pieces: &[(u32, Label)], table: u32) -> usize {
    let place = |index: usize| {
        let start = pieces.get(index).map_or(end, |piece| piece.0);
        16 * start.min(table) as usize + index
    };
    let half = (place(0) + place(pieces.len())) / 2;
    /// To be off by ten numbers costs about as much as the comparison saved by leaving an exception
    /// of one number with what is around it; by trial with docker's profile.
    const PENALTY: usize = 160;
    let is_exception = |index: usize| match pieces.get(index.wrapping_sub(1)..index + 2) {
        Some([before, one, after]) => before.1 == after.1 && after.0 - one.0 == 1,
        _ => false,
    };
    let off = |index: &usize| {
        let spoils = is_exception(*index) || is_exception(*index - 1);
        place(*index).abs_diff(half) + if spoils { PENALTY } else { 0 }
    };
    (1..pieces.len()).min_by_key(off).unwrap_or(1)
}
