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

use skep::{Bytes, Engine};

use crate::contender::{Contender, timed};
use crate::remote::{Remote, Round};

/// What the image is called in each language's store.
const IMAGE: &str = "localhost/skep-bench:1";

/// The first, to which the others are compared.
pub(crate) const RUST: &str = "Rust";

/// Language, and the variable that says how its program is started.
const OTHERS: [(&str, &str); 3] =
    [("Python", "SKEP_BENCH_PYTHON"), ("Node", "SKEP_BENCH_NODE"), ("C", "SKEP_BENCH_C")];

/// The round of Rust: finds an image by name, runs `true` with limits, collects its output.
pub(crate) fn round(store: &str, tar: &str) -> io::Result<Round> {
    let engine = Engine::open(store).map_err(io::Error::other)?;
    engine.images().import(tar, Some(IMAGE)).map_err(io::Error::other)?;
    Ok(Box::new(move || {
        timed(&mut || {
            let image = engine.images().find(IMAGE).map_err(io::Error::other)?;
            let mut command = engine.command(&image);
            command.arg("/bin/true").memory(Bytes::mib(256)).cpus(0.5).pids(64);
            let output = command.output().map_err(io::Error::other)?;
            if output.status.success() { Ok(()) } else { Err(io::Error::other("true has failed")) }
        })
    }))
}

/// All four, each with a store below `scratch`.
pub(crate) fn contenders<'a>(scratch: &Path, tar: &Path, rounds: usize) -> Vec<Contender<'a>> {
    let store = |name: &str| scratch.join(format!("store-{name}")).display().to_string();
    let tar = tar.display().to_string();
    let rust = || {
        let words = ["languages".to_owned(), store(RUST), tar.clone()];
        Ok((Remote::with_touched_memory(0)?, words.to_vec()))
    };
    let mut field = vec![contender(RUST, rounds, rust())];
    for (name, variable) in OTHERS {
        let remote = std::env::var(variable)
            .map_err(|_| io::Error::other(format!("{variable} does not say how to start it")))
            .and_then(|line| {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("{line} \"$@\""), "sh"]);
                command.args([&store(name), &tar, IMAGE]);
                Ok((Remote::spawn(command)?, vec!["run".to_owned()]))
            });
        field.push(contender(name, rounds, remote));
    }
    field
}

fn contender<'a>(
    name: &str,
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
            let note = "find the image by name, run `true` with limits, collect its output";
            Contender { name: name.into(), note: note.into(), rounds, block: Ok(Box::new(block)) }
        }
    }
}
