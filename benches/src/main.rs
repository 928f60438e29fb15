//! skep beside its peers and beside the kernel's own limit, in one run.
//!
//!     skep-bench [starts] [hosts] [threads] [memory] [steps] [--rounds PERCENT]
//!
//! Prints Markdown tables; without a name all of them. `--rounds 10` runs a tenth of the rounds.
//! Needs root, cc and busybox-static; a peer that is not installed is named as such.
#![cfg(target_os = "linux")]

mod contender;
mod drain;
mod harness;
mod limit;
mod peers;
mod remote;
mod root;
mod stats;
mod table;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use tempfile::TempDir;

use contender::Contender;
use drain::Drain;
use peers::Peers;
use remote::Remote;

const PEER_ROUNDS: usize = 30;
const OWN_ROUNDS: usize = 200;
const LIVE: usize = 100;
const MIB: usize = 1 << 20;

/// One table: its name on the command line and the function that prints it.
type Table = (&'static str, fn(&Bench) -> io::Result<()>);
const TABLES: [Table; 5] = [
    ("starts", Bench::starts),
    ("hosts", Bench::hosts),
    ("threads", Bench::threads),
    ("memory", Bench::memory),
    ("steps", Bench::steps),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((first, rest)) if first == "inside" => remote::serve(rest, round_by_name),
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
    let bench = Bench::prepare(percent)?;
    wanted.into_iter().try_for_each(|(_, table)| table(&bench))
}

/// The rounds that run inside another process; see [`remote`]. skep's own belongs here too.
fn round_by_name(words: &[String]) -> io::Result<Box<dyn FnMut() -> io::Result<()>>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["command", program] => {
            let program = program.to_owned();
            Ok(Box::new(move || peers::run(&mut Command::new(&program))))
        }
        ["crun", bundle, state] => {
            let (bundle, state) = (bundle.to_owned(), state.to_owned());
            Ok(Box::new(move || peers::run_crun(&bundle, &state)))
        }
        _ => Err(io::Error::other(format!("no round called {words:?}"))),
    }
}

/// What all tables share.
struct Bench {
    scratch: TempDir,
    root: PathBuf,
    limit: PathBuf,
    peers: Peers,
    percent: usize,
}

impl Bench {
    fn prepare(percent: usize) -> io::Result<Self> {
        // On the disk, as a store would be, and not on a tmpfs.
        let scratch = tempfile::Builder::new().prefix("skep-bench-").tempdir_in("/var/tmp")?;
        remove_on_signal(scratch.path().to_owned())?;
        let root = root::busybox_root(scratch.path())?;
        let limit = limit::compile(scratch.path())?;
        let peers = Peers { scratch: scratch.path().to_owned(), root: root.clone() };
        Ok(Bench { scratch, root, limit, peers, percent })
    }

    fn rounds(&self, full: usize) -> usize {
        (full * self.percent / 100).max(1)
    }

    /// Start to exit of `true`, everyone in turn.
    fn starts(&self) -> io::Result<()> {
        let own = self.rounds(OWN_ROUNDS);
        let mut field = vec![
            limit::contender(&self.limit, self.scratch.path(), &self.root, own, &[]),
            limit::contender(
                &self.limit,
                self.scratch.path(),
                &self.root,
                own,
                &["netpool", "trash"],
            ),
        ];
        field.extend(self.peers.contenders(self.rounds(PEER_ROUNDS)));
        let mut drain = Some(Drain::start(&self.limit)?);
        let outcomes = contender::race(field, &mut drain);
        println!("{}", table::starts("Start to exit of `true`", &outcomes));
        Ok(())
    }

    /// The same from hosts that have touched much memory.
    fn hosts(&self) -> io::Result<()> {
        let program = self.root.join("bin/true").display().to_string();
        let rounds = self.rounds(OWN_ROUNDS);
        let mut field = Vec::new();
        for mib in [10, 500, 2000] {
            let mut host = Remote::with_touched_memory(mib * MIB, &["command", &program])?;
            field.push(Contender {
                name: format!("std's Command from {mib} MB"),
                note: "no isolation: what spawning alone costs".into(),
                rounds,
                block: Ok(Box::new(move || Ok(vec![host.round()?]))),
            });
        }
        let outcomes = contender::race(field, &mut None);
        println!("{}", table::starts("From hosts of 10 MB, 500 MB and 2 GB", &outcomes));
        Ok(())
    }

    /// Containers a second with 1, 2 and 8 threads.
    fn threads(&self) -> io::Result<()> {
        const THREADS: [usize; 3] = [1, 2, 8];
        self.peers.prepare_slots(8)?;
        let runc = |thread| self.peers.run_runc_slot(thread);
        let bwrap = |_| self.peers.run_bwrap();
        type Start<'a> = &'a (dyn Fn(usize) -> io::Result<()> + Sync);
        let field: [(&str, &str, Start<'_>); 2] =
            [("runc run", "runc", &runc), ("bwrap --unshare-all", "bwrap", &bwrap)];
        let mut rows = Vec::new();
        for (name, program, start) in field {
            let cells = THREADS.map(|threads| {
                if !peers::is_installed(program) {
                    return "not installed".to_owned();
                }
                let count = self.rounds(4 * PEER_ROUNDS);
                match harness::per_second(threads, count, start) {
                    Ok(rate) => format!("{rate:.0}"),
                    Err(error) => error.to_string(),
                }
            });
            rows.push((name.to_owned(), cells.to_vec()));
        }
        let head = THREADS
            .map(|threads| format!("{threads} thread{}", if threads == 1 { "" } else { "s" }));
        println!("{}", table::plain("Containers per second", &head, &rows));
        Ok(())
    }

    /// Memory per live container.
    fn memory(&self) -> io::Result<()> {
        let count = self.rounds(LIVE);
        let rows = vec![
            self.memory_row("runc run --detach", "runc", || {
                harness::memory_per_live(count, |slot| self.peers.live_runc(slot))
            }),
            self.memory_row("bwrap --unshare-all", "bwrap", || {
                harness::memory_per_live(count, |_| self.peers.live_bwrap())
            }),
        ];
        let head = ["KiB".to_owned()];
        let title = format!("Memory per live container ({count} that sleep)");
        println!("{}", table::plain(&title, &head, &rows));
        Ok(())
    }

    fn memory_row(
        &self,
        name: &str,
        program: &str,
        measure: impl FnOnce() -> io::Result<f64>,
    ) -> (String, Vec<String>) {
        let cell = if !peers::is_installed(program) {
            "not installed".to_owned()
        } else {
            match measure() {
                Ok(bytes) => format!("{:.0}", bytes / 1024.0),
                Err(error) => error.to_string(),
            }
        };
        (name.to_owned(), vec![cell])
    }

    /// Where each microsecond of the limit goes.
    fn steps(&self) -> io::Result<()> {
        let rounds = self.rounds(OWN_ROUNDS);
        let steps = limit::steps(&self.limit, self.scratch.path(), &self.root, rounds)?;
        let rows: Vec<_> =
            steps.into_iter().map(|(step, us)| (step, vec![format!("{us:.1}")])).collect();
        let head = ["µs".to_owned()];
        println!("{}", table::plain("Where the limit's time goes", &head, &rows));
        Ok(())
    }
}

/// Removes `scratch`, and containers whose state is in it, and ends the program on SIGINT, SIGTERM
/// and SIGHUP.
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
