//! The same run in each language: what a binding costs.
//!
//! Each language runs in a process of its own, which follows [`remote`](crate::remote)'s protocol: a
//! round for each line, answered with wall and processor time in microseconds. The programs of the
//! other languages stand in `benches/languages/`; the environment says how each is started
//! (`SKEP_BENCH_PYTHON`, `SKEP_BENCH_NODE`, `SKEP_BENCH_C`), to which a store, the archive of a root
//! and the name of its image are added.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use skep::{Bytes, Engine};

use crate::contender::{Contender, timed};
use crate::remote::{Remote, Round};

/// What the image is called in each language's store.
const IMAGE: &str = "localhost/skep-bench:1";

/// The first, to which the others are compared.
pub(crate) const RUST: &str = "Rust";

/// Language, and the variable that says how its program is started.
const OTHERS: [(&str, &str); 3] =
    [("Python", "SKEP_BENCH_PYTHON"), ("Node", NODE), ("C", "SKEP_BENCH_C")];
const NODE: &str = "SKEP_BENCH_NODE";

/// Rust's run by a thread that waits for such: what no binding can go below that must not block.
const OTHER_THREAD: &str = "Rust, on another thread";

/// A call of Node's own that needs a thread of libuv's: what no promise can go below.
const ROUND_TRIP: &str = "Node, a thread there and back";

/// The rounds that [`round`] and [`round_elsewhere`] make, by the first word.
pub(crate) const HERE: &str = "languages";
pub(crate) const ELSEWHERE: &str = "languages-elsewhere";

/// The round of Rust: finds an image by name, runs `true` with limits, collects its output.
pub(crate) fn round(store: &str, tar: &str) -> io::Result<Round> {
    let mut run = run(store, tar)?;
    Ok(Box::new(move || timed(&mut run)))
}

/// As [`round`], with the run done by another thread.
pub(crate) fn round_elsewhere(store: &str, tar: &str) -> io::Result<Round> {
    let mut run = run(store, tar)?;
    let (ask, asked) = mpsc::channel();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || asked.iter().try_for_each(|()| answer.send(run())));
    Ok(Box::new(move || {
        timed(&mut || {
            ask.send(()).map_err(io::Error::other)?;
            answered.recv().map_err(io::Error::other)?
        })
    }))
}

fn run(store: &str, tar: &str) -> io::Result<impl FnMut() -> io::Result<()> + Send + 'static> {
    let engine = Engine::open(store).map_err(io::Error::other)?;
    engine.images().import(tar, Some(IMAGE)).map_err(io::Error::other)?;
    Ok(move || {
        let image = engine.images().find(IMAGE).map_err(io::Error::other)?;
        let mut command = engine.command(&image);
        command.arg("/bin/true").memory(Bytes::mib(256)).cpus(0.5).pids(64);
        let output = command.output().map_err(io::Error::other)?;
        if output.status.success() { Ok(()) } else { Err(io::Error::other("true has failed")) }
    })
}

/// All four, each with a store below `scratch`, and the two that say what is to be had.
pub(crate) fn contenders<'a>(scratch: &Path, tar: &Path, rounds: usize) -> Vec<Contender<'a>> {
    let store = |name: &str| scratch.join(format!("store-{name}")).display().to_string();
    let tar = tar.display().to_string();
    let rust = |name, round: &str| {
        let words = [round.to_owned(), store(name), tar.clone()];
        Ok((Remote::with_touched_memory(0)?, words.to_vec()))
    };
    let other = |name: &str, variable, word: &str| {
        let line = std::env::var(variable)
            .map_err(|_| io::Error::other(format!("{variable} does not say how to start it")))?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{line} \"$@\""), "sh"]);
        command.args([&store(name), &tar, IMAGE]);
        Ok((Remote::spawn(command)?, vec![word.to_owned()]))
    };
    let run = "find the image by name, run `true` with limits, collect its output";
    let mut field = vec![contender(RUST, run, rounds, rust(RUST, HERE))];
    for (name, variable) in OTHERS {
        field.push(contender(name, run, rounds, other(name, variable, "run")));
    }
    field.push(contender(OTHER_THREAD, run, rounds, rust("elsewhere", ELSEWHERE)));
    let trip = other("trip", NODE, "trip");
    field.push(contender(ROUND_TRIP, "`fs.promises.access`, no container", rounds, trip));
    field
}

fn contender<'a>(
    name: &str,
    note: &str,
    rounds: usize,
    remote: io::Result<(Remote, Vec<String>)>,
) -> Contender<'a> {
    match remote {
        Err(error) => Contender::missing(name, error.to_string()),
        Ok((remote, words)) => {
            let remote = RefCell::new(remote);
            let block = move || {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                Ok(vec![remote.borrow_mut().round(&words)?])
            };
            Contender { name: name.into(), note: note.into(), rounds, block: Ok(Box::new(block)) }
        }
    }
}
