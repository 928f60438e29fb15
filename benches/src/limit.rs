//! The straight-line C limit: compiled from `limit/limit.c` at run time, timed by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contender::Contender;
use crate::drain::Drain;
use crate::stats::Sample;

const SOURCES: [(&str, &str); 5] = [
    ("limit.c", include_str!("../limit/limit.c")),
    ("child.h", include_str!("../limit/child.h")),
    ("drain.h", include_str!("../limit/drain.h")),
    ("lab.h", include_str!("../limit/lab.h")),
    ("prepare.h", include_str!("../limit/prepare.h")),
];
/// The name of the plain one, to which all others are compared.
pub(crate) const LIMIT: &str = "the kernel's limit (C)";
/// Rounds of one run of the program: short, so that the other contenders get their turns.
const BLOCK: usize = 10;

/// The compiled program, and what it is run with.
pub(crate) struct Limit {
    program: PathBuf,
    scratch: PathBuf,
    root: PathBuf,
    filter: PathBuf,
}

impl Limit {
    /// Compiles the program into `scratch`. It runs in `root`, with `filter` as its seccomp filter.
    pub(crate) fn compile(scratch: &Path, root: &Path, filter: &[u8]) -> io::Result<Limit> {
        let (source, program) = (scratch.join("limit.c"), scratch.join("limit"));
        for (name, text) in SOURCES {
            std::fs::write(scratch.join(name), text)?;
        }
        let status = Command::new("cc")
            .args(["-std=gnu11", "-O2", "-static", "-o"])
            .args([&program, &source])
            .status()?;
        if !status.success() {
            return Err(io::Error::other("cc could not compile limit.c"));
        }
        let path = scratch.join("filter");
        std::fs::write(&path, filter)?;
        Ok(Limit { program, scratch: scratch.into(), root: root.into(), filter: path })
    }

    /// Its helper that waits for dead network namespaces.
    pub(crate) fn drain(&self) -> io::Result<Drain> {
        Drain::start(&self.program)
    }

    /// Where the program is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The limit as a contender, `rounds` times; `variants` are its `-x` options.
    pub(crate) fn contender<'a>(
        &'a self,
        rounds: usize,
        variants: &'a [&'a str],
        note: &str,
    ) -> Contender<'a> {
        let name = match variants {
            [] => LIMIT.to_owned(),
            some => format!("the limit with {}", some.join(", ")),
        };
        Contender {
            name,
            note: note.into(),
            rounds,
            block: Ok(Box::new(move || {
                let rounds = BLOCK.to_string();
                let printed = self.run(&["-n", &rounds, "-w", "1"], variants)?;
                printed.lines().map(parse_round).collect()
            })),
        }
    }

    /// Where the time of a start goes: `(step, median microseconds)` in order.
    pub(crate) fn steps(&self, rounds: usize) -> io::Result<Vec<(String, f64)>> {
        let rounds = rounds.to_string();
        self.run(&["-t", "-n", &rounds], &[])?
            .lines()
            .map(|line| {
                let (us, step) = line.trim().split_once("  ").ok_or_else(|| broken(line))?;
                Ok((step.to_owned(), us.parse().map_err(|_| broken(line))?))
            })
            .collect()
    }

    fn run(&self, options: &[&str], variants: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        command.args(options).arg("-l").arg(&self.root).arg("-s").arg(&self.scratch);
        command.arg("-b").arg(&self.filter);
        for variant in variants {
            command.args(["-x", variant]);
        }
        let output = command.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(said.trim().to_owned()));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }
}

/// `EXIT END CPU`: the end counts, as it does for the peers.
fn parse_round(line: &str) -> io::Result<Sample> {
    let numbers: Vec<f64> = line.split_whitespace().flat_map(str::parse).collect();
    match numbers[..] {
        [_, wall_us, cpu_us] => Ok(Sample { wall_us, cpu_us }),
        _ => Err(broken(line)),
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::other(format!("the limit printed {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_to_its_cleaned_up_end() {
        let sample = parse_round("1000.5 1200.5 900").unwrap();
        assert_eq!((sample.wall_us, sample.cpu_us), (1200.5, 900.0));
        assert!(parse_round("1000.5").is_err());
    }
}
