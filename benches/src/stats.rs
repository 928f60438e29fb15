//! Samples, and what is said about many of them.

use std::fmt;
use std::str::FromStr;

/// One start to exit of a container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    /// Microseconds from the start to the exit's being known, clean-up included.
    pub(crate) wall_us: f64,
    /// Microseconds of processor time, the engine's and the container's; 0 if nobody can tell.
    pub(crate) cpu_us: f64,
}

/// As a line between a bench process and its helpers: `WALL CPU`.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} {:.1}", self.wall_us, self.cpu_us)
    }
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut numbers = line.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(wall_us)), Some(Ok(cpu_us)), None) => Ok(Sample { wall_us, cpu_us }),
            _ => Err(line.to_owned()),
        }
    }
}

/// What a table says of one contender.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// How many samples there were.
    pub(crate) count: usize,
    /// The tenth, fiftieth and ninetieth percentile of the wall time.
    pub(crate) wall_us: [f64; 3],
    /// The median of the processor time.
    pub(crate) cpu_us: f64,
}

impl Summary {
    /// `None` of no samples.
    pub(crate) fn of(samples: &[Sample]) -> Option<Self> {
        let wall: Vec<f64> = samples.iter().map(|sample| sample.wall_us).collect();
        let cpu: Vec<f64> = samples.iter().map(|sample| sample.cpu_us).collect();
        Some(Summary {
            count: samples.len(),
            wall_us: [percentile(&wall, 10)?, percentile(&wall, 50)?, percentile(&wall, 90)?],
            cpu_us: percentile(&cpu, 50)?,
        })
    }

    /// The median of the wall time in microseconds.
    pub(crate) fn median_us(&self) -> f64 {
        self.wall_us[1]
    }
}

/// The value below which `percent` of `values` lie, by nearest rank; `None` of nothing.
pub(crate) fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&values, 10), Some(1.0));
        assert_eq!(percentile(&values, 50), Some(3.0));
        assert_eq!(percentile(&values, 90), Some(5.0));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_sample_survives_its_line() {
        let sample = Sample { wall_us: 1234.5, cpu_us: 7.0 };
        assert_eq!(sample.to_string().parse(), Ok(sample));
        assert_eq!("1 2 3".parse::<Sample>().unwrap_err(), "1 2 3", "a third number is an error");
    }
}
