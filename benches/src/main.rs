//! skep beside its peers and beside the kernel's own limit, in one run.
//!
//!     skep-bench [starts] [hosts] [threads] [memory] [languages] [store] [steps] [images]
//!         [--rounds PERCENT | --quick]
//!
//! Prints Markdown tables; without a name all of them. `--rounds 10` runs a tenth of the rounds,
//! `--quick` so few that the figures mean nothing: only that every table works.
//! Needs root, cc, tar and busybox-static; a peer that is not installed is named as such. Fails if
//! skep itself does, after all tables.
#![cfg(target_os = "linux")]

mod bench;
mod contender;
mod drain;
mod goals;
mod images;
mod languages;
mod limit;
mod memory;
mod own;
mod peers;
mod remote;
mod root;
mod shelf;
mod stats;
mod store;
mod table;
mod throughput;
mod trace;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use bench::{Bench, TABLES};
use contender::timed;
use own::Own;
use remote::Round;

/// As a percentage of all rounds.
const QUICK: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((first, rest)) if first == "inside" => remote::serve(rest, round_by_name),
        Some((first, rest)) if first == "traced" => trace::serve(rest),
        _ => run_tables(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_tables(words: &[String]) -> io::Result<()> {
    let mut percent = 100;
    let mut wanted = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match TABLES.iter().find(|(name, _)| name == word) {
            Some(table) => wanted.push(table),
            None if word == "--quick" => percent = QUICK,
            None if word == "--rounds" => {
                let value = words.next().and_then(|w| w.parse().ok());
                percent = value.ok_or_else(|| io::Error::other("--rounds wants a percentage"))?;
            }
            None => return Err(io::Error::other(format!("unknown table {word}"))),
        }
    }
    if wanted.is_empty() {
        wanted = TABLES.iter().collect();
    }
    let mut bench = Bench::prepare(percent)?;
    wanted.into_iter().try_for_each(|(_, table)| table(&mut bench))?;
    bench.finish()
}

/// The rounds that run inside another process; see [`remote`].
fn round_by_name(words: &[&str]) -> io::Result<Round> {
    match *words {
        ["command", program] => {
            let program = program.to_owned();
            Ok(Box::new(move || timed(&mut || peers::run(&mut Command::new(&program)))))
        }
        ["crun", bundle, state] => {
            let (bundle, state) = (bundle.to_owned(), state.to_owned());
            Ok(Box::new(move || timed(&mut || peers::run_crun(&bundle, &state))))
        }
        [languages::HERE, store, tar] => languages::round(store, tar),
        [languages::ELSEWHERE, store, tar] => languages::round_elsewhere(store, tar),
        ["skep", name, store, tar, root] => {
            let own = Own::open(Path::new(store), Path::new(tar), Path::new(root))?;
            let name = name.to_owned();
            Ok(Box::new(move || own.sample(&name)))
        }
        _ => Err(io::Error::other(format!("no round called {words:?}"))),
    }
}

/// Removes `scratch`, and containers whose state is in it, and ends the program on SIGINT, SIGTERM
/// and SIGHUP. skep's containers end with it.
///
/// A thread waits for them, so that no handler is needed; every later thread and child inherits a
/// mask, and std's Command gives its children an empty one.
fn remove_on_signal(scratch: PathBuf) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            peers::delete_all(&scratch);
            // A bundle may be written meanwhile.
            for _ in 0..10 {
                let _ = std::fs::remove_dir_all(&scratch);
            }
            std::process::exit(130);
        }
    });
    Ok(())
}
