//! The tables.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use tempfile::TempDir;

use crate::contender::{self, Contender, Outcome};
use crate::goals;
use crate::images;
use crate::languages;
use crate::limit::Limit;
use crate::memory;
use crate::own::{self, DIRECTORY, IMAGE, Own};
use crate::peers::{self, BWRAP, Peers, RUNC};
use crate::remote::Remote;
use crate::root;
use crate::store;
use crate::table;
use crate::throughput;
use crate::trace;

const PEER_ROUNDS: usize = 30;
const OWN_ROUNDS: usize = 200;
const IMAGE_ROUNDS: usize = 7;
const LIVE: usize = 100;
const MIB: usize = 1 << 20;
/// Memory that hosts have touched, in MB.
const HOSTS: [usize; 3] = [10, 500, 2000];
const THREADS: [usize; 3] = [1, 2, 8];

/// One table: its name on the command line and the function that prints it.
type Table = (&'static str, fn(&mut Bench) -> io::Result<()>);
pub(crate) const TABLES: [Table; 8] = [
    ("starts", Bench::starts),
    ("hosts", Bench::hosts),
    ("threads", Bench::threads),
    ("memory", Bench::memory),
    ("languages", Bench::languages),
    ("store", Bench::store),
    ("steps", Bench::steps),
    ("images", Bench::images),
];

/// What all tables share.
pub(crate) struct Bench {
    /// Dropped before the store that it stands on.
    own: Own,
    scratch: TempDir,
    root: PathBuf,
    tar: PathBuf,
    limit: Limit,
    peers: Peers,
    percent: usize,
    /// Of the tables so far, for the goals.
    outcomes: Vec<Outcome>,
    /// What skep could not do.
    failed: Vec<String>,
}

impl Bench {
    /// Makes everything ready; `percent` of all rounds are run.
    pub(crate) fn prepare(percent: usize) -> io::Result<Self> {
        // On the disk, as a store would be, and not on a tmpfs.
        let scratch = tempfile::Builder::new().prefix("skep-bench-").tempdir_in("/var/tmp")?;
        crate::remove_on_signal(scratch.path().to_owned())?;
        let root = root::busybox_root(scratch.path())?;
        let tar = root::archive(scratch.path(), &root)?;
        let limit = Limit::compile(scratch.path(), &root, &own::filter()?)?;
        let peers = Peers { scratch: scratch.path().to_owned(), root: root.clone() };
        let own = Own::open(&scratch.path().join("store"), &tar, &root)?;
        let (outcomes, failed) = (Vec::new(), Vec::new());
        Ok(Bench { own, scratch, root, tar, limit, peers, percent, outcomes, failed })
    }

    /// The table of goals, if something of it was measured; an error if skep failed somewhere.
    pub(crate) fn finish(self) -> io::Result<()> {
        let goals = goals::rows(&self.outcomes);
        if !goals.is_empty() {
            let head = ["at most".to_owned(), IMAGE.to_owned(), DIRECTORY.to_owned()];
            println!("{}", table::plain("Goals", &head, &goals));
        }
        if self.failed.is_empty() { Ok(()) } else { Err(io::Error::other(self.failed.join("; "))) }
    }

    fn rounds(&self, full: usize) -> usize {
        (full * self.percent / 100).max(1)
    }

    /// Start to exit of `true`, everyone in turn.
    fn starts(&mut self) -> io::Result<()> {
        let own = self.rounds(OWN_ROUNDS);
        let mut field = vec![
            self.limit.contender(
                own,
                &[],
                "all of docker's defaults, overlay, three limits; no engine",
            ),
            self.limit.contender(
                own,
                &["netpool", "trash"],
                "network namespace made ahead, directories deleted after the clock stops",
            ),
            self.own.contender(IMAGE, own),
            self.own.contender(DIRECTORY, own),
        ];
        field.extend(self.peers.contenders(self.rounds(PEER_ROUNDS)));
        let outcomes = contender::race(field, &mut Some(self.limit.drain()?));
        self.print("Start to exit of `true`", outcomes);
        Ok(())
    }

    /// The same from hosts that have touched much memory.
    fn hosts(&mut self) -> io::Result<()> {
        let path = |path: PathBuf| path.display().to_string();
        let program = path(self.root.join("bin/true"));
        let (tar, root) = (path(self.tar.clone()), path(self.root.clone()));
        let mut field = Vec::new();
        for mib in HOSTS {
            let host = Rc::new(RefCell::new(Remote::with_touched_memory(mib * MIB)?));
            for name in [IMAGE, DIRECTORY] {
                // Of its own, so that the host's two keepers are told apart.
                let store = path(self.scratch.path().join(format!("store-{}", field.len())));
                let round = ["skep", name, &store, &tar, &root].map(str::to_owned);
                let name = goals::from_host(name, mib);
                field.push(self.inside(&host, name, "as above", round.to_vec()));
            }
            let name = goals::from_host("std's Command", mib);
            let round = vec!["command".to_owned(), program.clone()];
            field.push(self.inside(&host, name, "no isolation: spawning alone", round));
        }
        let outcomes = contender::race(field, &mut Some(self.limit.drain()?));
        self.print("From hosts of 10 MB, 500 MB and 2 GB", outcomes);
        Ok(())
    }

    fn inside<'a>(
        &self,
        host: &Rc<RefCell<Remote>>,
        name: String,
        note: &str,
        round: Vec<String>,
    ) -> Contender<'a> {
        let host = Rc::clone(host);
        let block = move || {
            let round: Vec<&str> = round.iter().map(String::as_str).collect();
            Ok(vec![host.borrow_mut().round(&round)?])
        };
        let rounds = self.rounds(OWN_ROUNDS / 2);
        Contender { name, note: note.into(), rounds, block: Ok(Box::new(block)) }
    }

    fn print(&mut self, title: &str, outcomes: Vec<Outcome>) {
        println!("{}", table::starts(title, &outcomes));
        let is_own = |name: &str| name.starts_with("skep") || name == languages::RUST;
        let own = outcomes.iter().filter(|outcome| is_own(&outcome.name));
        self.failed.extend(own.filter_map(|outcome| outcome.samples.as_ref().err().cloned()));
        self.outcomes.extend(outcomes);
    }

    /// Containers a second with 1, 2 and 8 threads.
    fn threads(&mut self) -> io::Result<()> {
        self.peers.prepare_slots(8)?;
        let mut rows = Vec::new();
        for name in [IMAGE, DIRECTORY] {
            let engine = self.own.threads(name);
            let count = self.rounds(10 * PEER_ROUNDS);
            let rates = rates(count, &|_| engine.run());
            self.failed.extend(rates.iter().filter_map(|rate| rate.as_ref().err().cloned()));
            rows.push((name.to_owned(), cells(rates)));
        }
        let runc = |thread| self.peers.run_runc_slot(thread);
        let bwrap = |_| self.peers.run_bwrap();
        let field: [(&str, &str, Start<'_>); 2] = [(RUNC, "runc", &runc), (BWRAP, "bwrap", &bwrap)];
        for (name, program, start) in field {
            let cells = if peers::is_installed(program) {
                cells(rates(self.rounds(4 * PEER_ROUNDS), start))
            } else {
                vec!["not installed".to_owned(); THREADS.len()]
            };
            rows.push((name.to_owned(), cells));
        }
        let head = THREADS
            .map(|threads| format!("{threads} thread{}", if threads == 1 { "" } else { "s" }));
        println!("{}", table::plain("Containers per second", &head, &rows));
        Ok(())
    }

    /// Memory per live container.
    fn memory(&mut self) -> io::Result<()> {
        let count = self.rounds(LIVE);
        let (mark, mut drain) = (peers::mark(), self.limit.drain()?);
        let engine = [std::process::id() as i32, self.own.keeper()];
        let mut rows = Vec::new();
        for name in [IMAGE, DIRECTORY] {
            let start = |_| self.own.live(name);
            let cost = memory::per_live(count, &engine, &mark, &mut drain, start);
            self.failed.extend(cost.as_ref().err().map(|error| error.to_string()));
            rows.push((name.to_owned(), kib(cost)));
        }
        let missing = |program| {
            let error = || io::Error::other("not installed");
            if peers::is_installed(program) { Ok(()) } else { Err(error()) }
        };
        let runc = missing("runc").and_then(|()| {
            memory::per_live(count, &[], &mark, &mut drain, |slot| self.peers.live_runc(slot))
        });
        rows.push(("runc run --detach".to_owned(), kib(runc)));
        let bwrap = missing("bwrap").and_then(|()| {
            memory::per_live(count, &[], &mark, &mut drain, |_| self.peers.live_bwrap())
        });
        rows.push((BWRAP.to_owned(), kib(bwrap)));
        let head = ["KiB in all", "in processes", "in the kernel"].map(str::to_owned);
        let title = format!("Memory per live container ({count} that sleep)");
        println!("{}", table::plain(&title, &head, &rows));
        Ok(())
    }

    /// A whole run from each language.
    fn languages(&mut self) -> io::Result<()> {
        let rounds = self.rounds(OWN_ROUNDS);
        let field = languages::contenders(self.scratch.path(), &self.tar, rounds);
        let outcomes = contender::race(field, &mut Some(self.limit.drain()?));
        self.print("A run in each language (the goal: at most 1.05 of Rust)", outcomes);
        Ok(())
    }

    /// A store with many images.
    fn store(&mut self) -> io::Result<()> {
        let rows = store::rows(self.scratch.path(), self.rounds(OWN_ROUNDS))?;
        println!(
            "{}",
            table::plain(
                "A store of 200 images and 1,000 layers",
                &store::HEAD.map(str::to_owned),
                &rows
            )
        );
        Ok(())
    }

    /// A large image pulled and unpacked, and what small things cost.
    fn images(&mut self) -> io::Result<()> {
        let field = images::Field::prepare(self.scratch.path())?;
        let rounds = self.rounds(IMAGE_ROUNDS);
        let pulls = contender::race(field.pulls(rounds), &mut None);
        self.print("A large image, pulled and unpacked", pulls);
        let unpacks = contender::race(field.unpacks(rounds)?, &mut None);
        self.print("The same, unpacked from the disk", unpacks);
        let head = ["at most".to_owned(), "is".to_owned()];
        println!("{}", table::plain("Goals of images", &head, &images::goals(&self.outcomes)));
        let rows = images::small(&field, self.rounds(PEER_ROUNDS))?;
        println!("{}", table::plain("Images", &["".to_owned()], &rows));
        Ok(())
    }

    /// Where each microsecond goes: of the limit, and of skep.
    fn steps(&mut self) -> io::Result<()> {
        let rounds = self.rounds(OWN_ROUNDS);
        let row = |(step, us): (String, f64)| (step, vec![format!("{us:.1}")]);
        let rows: Vec<_> = self.limit.steps(rounds)?.into_iter().map(row).collect();
        let head = ["µs".to_owned()];
        println!("{}", table::plain("Where the limit's time goes", &head, &rows));
        for (name, store) in [(IMAGE, "store-traced-1"), (DIRECTORY, "store-traced-2")] {
            let store = self.scratch.path().join(store);
            println!(
                "{}",
                trace::tables(name, rounds, &store, &self.tar, &self.root, &self.limit)?
            );
        }
        Ok(())
    }
}

/// Starts a container in the thread of this number.
type Start<'a> = &'a (dyn Fn(usize) -> io::Result<()> + Sync);

fn rates(count: usize, start: Start<'_>) -> Vec<Result<f64, String>> {
    let rate = |threads| throughput::per_second(threads, count, start);
    THREADS.map(|threads| rate(threads).map_err(|error| error.to_string())).to_vec()
}

fn cells(rates: Vec<Result<f64, String>>) -> Vec<String> {
    rates.into_iter().map(|rate| rate.map_or_else(|error| error, |r| format!("{r:.0}"))).collect()
}

fn kib(cost: io::Result<memory::Cost>) -> Vec<String> {
    match cost {
        Ok(cost) => [cost.processes + cost.kernel, cost.processes, cost.kernel]
            .map(|bytes| format!("{:.0}", bytes / 1024.0))
            .to_vec(),
        Err(error) => vec![error.to_string(), String::new(), String::new()],
    }
}
