//! Every operation on a store is killed, or meets a full disk, at every one of its system calls.
//!
//! Instants of the clock would be others in each run; calls can be enumerated. For each operation a
//! run that is left alone counts its system calls. Then it is run again and again on a copy of the
//! same store, and ends before a call, chosen evenly over all of them. What must hold:
//! the store opens, is consistent, and is as before the operation or as after it; and the operation
//! done again succeeds, a pull without fetching anything twice.
//!
//! `SKEP_TEST_KILLS` says how many runs each operation gets, 12 if it does not:
//!
//!     SKEP_TEST_KILLS=200 cargo test -p skep --test killed -- --nocapture
#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

mod operation;
mod state;
mod tracer;

#[allow(dead_code)]
#[path = "../registry/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "../registry/scripted.rs"]
mod scripted;
#[allow(dead_code)]
#[path = "../trees/mod.rs"]
mod trees;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use skep::ErrorKind;
use skep::image::{Digest, Images};

use operation::{Field, OPERATIONS, Operation, Registry};
use state::{Reference, State};
use tracer::{Fate, Run};

/// Tells the copy of this program that is to end what to do: the operation, the directory, and the
/// registry's name.
const VICTIM: &str = "SKEP_TEST_VICTIM";

/// Not a test of its own: what the process does that is killed.
#[test]
fn victim() {
    let Ok(what) = std::env::var(VICTIM) else { return };
    let [name, directory, server] = what.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let directory = Path::new(directory);
    let operation = OPERATIONS.iter().find(|operation| operation.name == name).unwrap();
    let done = tracer::traced(|| {
        let images = Images::open(&directory.join("store"))?;
        (operation.run)(&images, directory, server)
    });
    let said = match done {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("{:?} {error}", error.kind()),
    };
    std::fs::write(directory.join("said"), said).unwrap();
}

fn run(operation: &Operation, field: &Field, server: &str, fate: Fate) -> Run {
    let _ = std::fs::remove_file(field.path("said"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(VICTIM, format!("{} {} {server}", operation.name, field.root().display()))
        .stdout(Stdio::null());
    tracer::run(&mut command, &field.path("store"), fate)
}

fn kills() -> u64 {
    std::env::var("SKEP_TEST_KILLS").map_or(12, |kills| kills.parse().unwrap())
}

fn is_root() -> bool {
    let root = image::is_root();
    if !root {
        eprintln!("skipped: unpacking needs root");
    }
    root
}

/// Which of `calls` the run of this number, of `runs`, ends at: evenly spread, and all of them if
/// there are runs enough.
fn spread(run: u64, runs: u64, calls: u64) -> u64 {
    1 + (2 * run + 1) * calls / (2 * runs)
}

#[test]
fn killed_at_every_call() {
    if !is_root() {
        return;
    }
    for operation in &OPERATIONS {
        killed(operation);
    }
}

/// An operation with its stores before and after.
struct Prepared<'a> {
    operation: &'a Operation,
    field: Field,
    before: State,
    after: State,
    /// Unpacked layers as they should be.
    reference: Reference,
}

impl<'a> Prepared<'a> {
    fn new(operation: &'a Operation) -> Self {
        let field = Field::new(operation);
        let before = State::of(&field.path("store"));
        let mut reference = Reference::of(&field.path("store"));
        let registry = Registry::start();
        let whole = run(operation, &field, &registry.name(), Fate::None);
        assert_eq!(field.said(), "done", "{}: {whole:?}", operation.name);
        let after = State::of(&field.path("store"));
        reference.add(&field.path("store"));
        Prepared { operation, field, before, after, reference }
    }

    /// The calls of a run that is left alone, of those that count for `fate`.
    fn calls(&self, fate: Fate) -> u64 {
        self.field.restore();
        let run = run(self.operation, &self.field, &Registry::start().name(), fate);
        assert_eq!(self.field.said(), "done", "{}", self.operation.name);
        run.calls
    }

    /// Opens the store, looks whether it is consistent, and whether it is as before or as after.
    fn check(&self, at: &str) -> State {
        let store = self.field.path("store");
        let images = Images::open(&store).unwrap_or_else(|error| panic!("{at}: {error}"));
        self.reference.check(&images, &store, at);
        let state = State::of(&store);
        let known = [&self.before, &self.after];
        assert!(known.iter().any(|known| known.is_like(&state)), "{at}: {state:#?}");
        assert_eq!(images.find("keep:1").unwrap().layers().unwrap().len(), 1, "{at}");
        self.field.check_saved(at);
        state
    }

    /// Looks as [`check`](Self::check) does, and does it again, in this process; nothing is fetched
    /// that was here.
    fn check_and_redo(&self, at: &str) -> State {
        let store = self.field.path("store");
        // Of the store as it was left: what opening it sweeps must not be what has to be fetched.
        let missing = Registry::missing(&store);
        let state = self.check(at);
        self.redo(&state, &missing, at);
        state
    }

    fn redo(&self, state: &State, missing: &BTreeMap<Digest, u64>, at: &str) {
        let store = self.field.path("store");
        let images = Images::open(&store).unwrap();
        let registry = Registry::start();
        match (self.operation.run)(&images, self.field.root(), &registry.name()) {
            Ok(()) => {}
            // It is gone already.
            Err(error) if error.kind() == ErrorKind::NotFound && *state == self.after => {}
            Err(error) => panic!("{at}: {error}"),
        }
        if self.operation.name == "pull" {
            assert_eq!(registry.fetched(), *missing, "{at}");
        }
        images.prune(skep::image::Prune::Files).unwrap();
        assert_eq!(images.disk_usage().unwrap().unneeded, 0, "{at}");
        assert_eq!(State::of(&store), self.after, "{at}");
        self.reference.check(&images, &store, at);
    }
}

fn killed(operation: &Operation) {
    let prepared = Prepared::new(operation);
    let name = operation.name;
    let calls = prepared.calls(Fate::Kill(u64::MAX));
    let (runs, mut ended, mut like_after) = (kills(), 0, 0);
    for number in 0..runs {
        prepared.field.restore();
        let call = spread(number, runs, calls);
        let registry = Registry::start();
        let run = run(operation, &prepared.field, &registry.name(), Fate::Kill(call));
        let at = format!("{name}, killed at call {call} of {calls}");
        match run.status {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => ended += 1,
            // Threads do not share the work in the same way every time.
            _ => assert_eq!(prepared.field.said(), "done", "{at}: {run:?}"),
        }
        like_after += u64::from(prepared.check_and_redo(&at) == prepared.after);
    }
    eprintln!("{name}: {calls} calls, {ended} of {runs} killed, {like_after} when it was done");
    assert!(ended * 10 >= runs * 9, "{name} is not killed");
}

#[test]
fn a_disk_that_is_full_at_every_call() {
    if !is_root() {
        return;
    }
    for operation in OPERATIONS.iter().filter(|operation| operation.takes_room) {
        full(operation);
    }
}

fn full(operation: &Operation) {
    let prepared = Prepared::new(operation);
    let (name, store) = (operation.name, prepared.field.path("store"));
    let calls = prepared.calls(Fate::FullOnce(u64::MAX));
    let (runs, mut failed) = (kills().min(calls), 0);
    for number in 0..runs {
        let call = spread(number, runs, calls);
        // A removal has a reserve, which gives room.
        let fates = [Fate::FullOnce(call), Fate::FullFrom(call)];
        for fate in fates.into_iter().take(if operation.makes_room { 1 } else { 2 }) {
            prepared.field.restore();
            let run = run(operation, &prepared.field, &Registry::start().name(), fate);
            let at = format!("{name}, {fate:?} of {calls}");
            assert!(matches!(run.status, WaitStatus::Exited(_, 0)), "{at}: {run:?}");
            let said = prepared.field.said();
            if said == "done" {
                assert_eq!(State::of(&store), prepared.after, "{at}");
            } else {
                failed += 1;
                assert!(said.starts_with("ResourceExhausted "), "{at}: {said}");
                assert!(said.ends_with("; make room on its file system"), "{at}: {said}");
                // It has cleaned up itself. What is pulled stays, if it cannot be unpacked.
                let (state, pulled) = (State::of(&store), name == "pull");
                let like_after = pulled && state.is_like(&prepared.after);
                assert!(state.is_like(&prepared.before) || like_after, "{at}: {said}");
            }
            prepared.check_and_redo(&at);
        }
    }
    eprintln!("{name}: {calls} calls that take room, {failed} times full");
}
