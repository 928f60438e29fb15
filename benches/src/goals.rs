//! What skep aims at, beside what was measured in the same run.

use crate::contender::Outcome;
use crate::limit::LIMIT;
use crate::own::{DIRECTORY, IMAGE};
use crate::peers::{BWRAP, CRUN, RUNC};
use crate::stats::Summary;

/// A ratio, and how large it may be.
struct Goal {
    what: &'static str,
    at_most: f64,
    measure: fn(&Results<'_>, &str) -> Option<f64>,
}

const GOALS: [Goal; 6] = [
    Goal {
        what: "wall time of a start, of the kernel's limit",
        at_most: 1.3,
        measure: |results, own| results.wall(own, LIMIT),
    },
    Goal { what: "of runc's", at_most: 0.1, measure: |results, own| results.wall(own, RUNC) },
    Goal {
        what: "of bubblewrap's with all namespaces",
        at_most: 1.0,
        measure: |results, own| results.wall(own, BWRAP),
    },
    Goal {
        what: "processor time of a start, of crun's",
        at_most: 0.6,
        measure: |results, own| results.cpu(own, CRUN),
    },
    Goal {
        what: "difference that a host of 500 MB makes",
        at_most: 0.1,
        measure: |results, own| results.size_effect(own, 500),
    },
    Goal {
        what: "difference that a host of 2 GB makes",
        at_most: 0.1,
        measure: |results, own| results.size_effect(own, 2000),
    },
];

/// How a contender is called that starts from a host of `mib` MB.
pub(crate) fn from_host(name: &str, mib: usize) -> String {
    format!("{name}, from {mib} MB")
}

/// The rows of the table: the goal, its bound, and skep's two ways; `-` for what was not measured, and
/// no row where that is both.
pub(crate) fn rows(outcomes: &[Outcome]) -> Vec<(String, Vec<String>)> {
    let results = Results { outcomes };
    let cell = |goal: &Goal, own| match (goal.measure)(&results, own) {
        Some(value) if value > goal.at_most => format!("{value:.2}, missed"),
        Some(value) => format!("{value:.2}"),
        None => "-".to_owned(),
    };
    let row = |goal: &Goal| {
        let bound = format!("{:.2}", goal.at_most);
        (goal.what.to_owned(), vec![bound, cell(goal, IMAGE), cell(goal, DIRECTORY)])
    };
    let measured = |(_, cells): &(String, Vec<String>)| cells[1..].iter().any(|cell| cell != "-");
    GOALS.iter().map(row).filter(measured).collect()
}

struct Results<'a> {
    outcomes: &'a [Outcome],
}

impl Results<'_> {
    fn of(&self, name: &str) -> Option<Summary> {
        let outcome = self.outcomes.iter().find(|outcome| outcome.name == name)?;
        Summary::of(outcome.samples.as_ref().ok()?)
    }

    fn wall(&self, own: &str, other: &str) -> Option<f64> {
        Some(self.of(own)?.median_us() / self.of(other)?.median_us())
    }

    fn cpu(&self, own: &str, other: &str) -> Option<f64> {
        Some(self.of(own)?.cpu_us / self.of(other)?.cpu_us)
    }

    fn size_effect(&self, own: &str, mib: usize) -> Option<f64> {
        Some((self.wall(&from_host(own, mib), &from_host(own, 10))? - 1.0).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Sample;

    #[test]
    fn goals_are_met_missed_or_not_measured() {
        let outcome = |name: &str, us| Outcome {
            name: name.into(),
            note: String::new(),
            samples: Ok(vec![Sample { wall_us: us, cpu_us: us / 2.0 }]),
        };
        let mut outcomes = vec![
            outcome(LIMIT, 2000.0),
            outcome(IMAGE, 2500.0),
            outcome(DIRECTORY, 3000.0),
            outcome(&from_host(IMAGE, 10), 2000.0),
            outcome(&from_host(IMAGE, 500), 1800.0),
        ];
        outcomes.push(Outcome { samples: Err("not installed".into()), ..outcome(RUNC, 0.0) });
        let rows = rows(&outcomes);
        assert_eq!(rows[0].1, ["1.30", "1.25", "1.50, missed"]);
        assert_eq!(rows[1].1, ["0.10", "0.10", "-"]);
        assert_eq!(rows.len(), 2, "of runc and the others there are no samples");
    }
}
