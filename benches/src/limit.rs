//! The straight-line C limit: compiled from `limit/limit.c` at run time, timed by itself.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contender::Contender;
use crate::stats::Sample;

const SOURCES: [(&str, &str); 5] = [
    ("limit.c", include_str!("../limit/limit.c")),
    ("child.h", include_str!("../limit/child.h")),
    ("drain.h", include_str!("../limit/drain.h")),
    ("lab.h", include_str!("../limit/lab.h")),
    ("prepare.h", include_str!("../limit/prepare.h")),
];
/// Rounds of one run of the program: short, so that the other contenders get their turns.
const BLOCK: usize = 10;

/// Compiles the program into `scratch`.
pub(crate) fn compile(scratch: &Path) -> io::Result<PathBuf> {
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
    Ok(program)
}

/// The limit as a contender, `rounds` times; `variants` are its `-x` options.
pub(crate) fn contender<'a>(
    program: &'a Path,
    scratch: &'a Path,
    root: &'a Path,
    rounds: usize,
    variants: &'a [&'a str],
) -> Contender<'a> {
    let name = match variants {
        [] => "the kernel's limit (C)".to_owned(),
        some => format!("the limit with {}", some.join(", ")),
    };
    Contender {
        name,
        note: "all of docker's defaults, overlay, three limits; no engine".into(),
        rounds,
        block: Ok(Box::new(move || {
            let rounds = BLOCK.to_string();
            run(program, scratch, root, &["-n", &rounds, "-w", "1"], variants)?
                .lines()
                .map(parse_round)
                .collect()
        })),
    }
}

/// Where the time of a start goes: `(step, median microseconds)` in order.
pub(crate) fn steps(
    program: &Path,
    scratch: &Path,
    root: &Path,
    rounds: usize,
) -> io::Result<Vec<(String, f64)>> {
    let rounds = rounds.to_string();
    run(program, scratch, root, &["-t", "-n", &rounds], &[])?
        .lines()
        .map(|line| {
            let (us, step) = line.trim().split_once("  ").ok_or_else(|| broken(line))?;
            Ok((step.to_owned(), us.parse().map_err(|_| broken(line))?))
        })
        .collect()
}

fn run(
    program: &Path,
    scratch: &Path,
    root: &Path,
    options: &[&str],
    variants: &[&str],
) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(options).arg("-l").arg(root).arg("-s").arg(scratch);
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
