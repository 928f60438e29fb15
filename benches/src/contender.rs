//! Contenders, and the race that runs them in turn.
//!
//! A contender is a name and a closure that starts `true` and waits for it. All contenders of a race
//! take turns, one block of rounds each, so that whatever else the machine does hits all alike.

use std::io;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use crate::drain::Drain;
use crate::stats::Sample;

/// Runs one block and returns a sample for each of its rounds.
pub(crate) type Block<'a> = Box<dyn FnMut() -> io::Result<Vec<Sample>> + 'a>;

/// One line of a table.
pub(crate) struct Contender<'a> {
    /// As the table prints it.
    pub(crate) name: String,
    /// What it does not do, or does besides: what a reader needs to compare fairly.
    pub(crate) note: String,
    /// How many samples are wanted.
    pub(crate) rounds: usize,
    /// `Err` where it cannot run here, with the reason.
    pub(crate) block: Result<Block<'a>, String>,
}

impl<'a> Contender<'a> {
    /// One that is timed from outside, a round at a time: wall time, and the processor time of this
    /// process and of the children that were waited for meanwhile. What a process does that is no
    /// child (skep's keeper) must be added by a block of its own: see [`crate::own::Own::sample`].
    pub(crate) fn timed(
        name: impl Into<String>,
        note: impl Into<String>,
        rounds: usize,
        mut round: impl FnMut() -> io::Result<()> + 'a,
    ) -> Self {
        Contender {
            name: name.into(),
            note: note.into(),
            rounds,
            block: Ok(Box::new(move || Ok(vec![timed(&mut round)?]))),
        }
    }

    /// One that cannot run here, and why.
    pub(crate) fn missing(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Contender { name: name.into(), note: String::new(), rounds: 0, block: Err(reason.into()) }
    }
}

/// What became of a contender.
pub(crate) struct Outcome {
    /// As in [`Contender`].
    pub(crate) name: String,
    /// As in [`Contender`].
    pub(crate) note: String,
    /// Its samples, or why there are none.
    pub(crate) samples: Result<Vec<Sample>, String>,
}

/// Runs all contenders by turns until each has its rounds.
///
/// One that fails leaves the race with its error; the others go on. After each block the kernel's
/// queue of dead network namespaces is drained, so that nobody pays for another's.
pub(crate) fn race(contenders: Vec<Contender<'_>>, drain: &mut Option<Drain>) -> Vec<Outcome> {
    let mut field: Vec<(Contender<'_>, Vec<Sample>)> =
        contenders.into_iter().map(|c| (c, Vec::new())).collect();
    while field.iter().any(|(c, samples)| wants_more(c, samples)) {
        for (contender, samples) in &mut field {
            if wants_more(contender, samples) {
                one_block(contender, samples);
                if let Some(queue) = drain
                    && queue.wait().is_err()
                {
                    *drain = None;
                }
            }
        }
    }
    field
        .into_iter()
        .map(|(contender, samples)| Outcome {
            name: contender.name,
            note: contender.note,
            samples: contender.block.map(|_| samples),
        })
        .collect()
}

fn wants_more(contender: &Contender<'_>, samples: &[Sample]) -> bool {
    contender.block.is_ok() && samples.len() < contender.rounds
}

fn one_block(contender: &mut Contender<'_>, samples: &mut Vec<Sample>) {
    let Ok(block) = &mut contender.block else {
        return;
    };
    match block() {
        Ok(new) if new.is_empty() => contender.block = Err("no samples".into()),
        Ok(new) => samples.extend(new),
        Err(error) => contender.block = Err(error.to_string()),
    }
}

/// Times one round.
pub(crate) fn timed(round: &mut dyn FnMut() -> io::Result<()>) -> io::Result<Sample> {
    let cpu = cpu_us()?;
    let start = Instant::now();
    round()?;
    Ok(Sample { wall_us: start.elapsed().as_secs_f64() * 1e6, cpu_us: cpu_us()? - cpu })
}

/// Processor time of this process and of the children it has waited for, in microseconds.
fn cpu_us() -> io::Result<f64> {
    let mut sum = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        for time in [usage.user_time(), usage.system_time()] {
            sum += time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn contenders_take_turns_and_a_failure_stays_alone() {
        let order = RefCell::new(String::new());
        let log = |letter| {
            order.borrow_mut().push(letter);
            Ok(())
        };
        let outcomes = race(
            vec![
                Contender::timed("a", "", 2, || log('a')),
                Contender::timed("b", "", 2, || Err(io::Error::other("broken"))),
                Contender::missing("c", "not installed"),
                Contender::timed("d", "", 3, || log('d')),
            ],
            &mut None,
        );
        assert_eq!(*order.borrow(), "adadd");
        let said: Vec<String> = outcomes
            .iter()
            .map(|o| match &o.samples {
                Ok(samples) => samples.len().to_string(),
                Err(reason) => reason.clone(),
            })
            .collect();
        assert_eq!(said, ["2", "broken", "not installed", "3"]);
    }
}
