//! The commands, each a few steps over `skep::container::bundle`.

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::Signal;
use serde::Serialize;
use skep::container::bundle::{Bundle, Create, Init};

use crate::arguments::{Arguments, Command, New};
use crate::process::Process;
use crate::state::{Entry, State, Status};
use crate::{Result, foreground, time};

/// Carries out the command; the exit code of a container that ran in the foreground.
pub(crate) fn run(arguments: &Arguments) -> Result<u8> {
    let root = &arguments.global.root;
    match &arguments.command {
        Command::Create { id, new } => create(root, id, new).map(|_| 0),
        Command::Start { id } => start(root, id).map(|()| 0),
        Command::State { id } => state(root, id).map(|()| 0),
        Command::Kill { id, signal, all } => kill(root, id, signal, *all).map(|()| 0),
        Command::Delete { id, force } => delete(root, id, *force).map(|()| 0),
        Command::Run { id, new, detach: true } => {
            create(root, id, new)?;
            start(root, id).map(|()| 0)
        }
        Command::Run { id, new, detach: false } => foreground(root, id, new),
        Command::Version => {
            println!("skep-oci version {}\nspec: 1.3.0", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
    }
}

fn create(root: &Path, id: &str, new: &New) -> Result<Process> {
    // Read first: a bundle that is none leaves no trace.
    let bundle = Bundle::load(&new.bundle)?;
    let entry = Entry::make(root, id)?;
    let created = create_in(&entry, id, &bundle, new);
    if created.is_err() {
        let _ = entry.remove();
    }
    created
}

fn create_in(entry: &Entry, id: &str, bundle: &Bundle, new: &New) -> Result<Process> {
    let group = bundle.make_group(&format!("skep-oci/{id}"))?;
    let mut state = State {
        oci_version: bundle.spec().version().clone(),
        init: None,
        bundle: fs::canonicalize(&new.bundle)?,
        rootfs: bundle.root().into(),
        created: time::now(),
        annotations: bundle.spec().annotations().clone().unwrap_or_default(),
        groups: group.directories(),
    };
    // If this process is killed from here on, deleting the container finds what there is of it.
    entry.save(&state)?;
    let (go, scratch) = (entry.make_go()?, &entry.path);
    let init = bundle.create(group, Create { go, stdio: stdio()?, scratch })?;
    let recorded = record(entry, &mut state, new, &init);
    if recorded.is_err() {
        let _ = init.destroy();
    }
    recorded
}

fn record(entry: &Entry, state: &mut State, new: &New, init: &Init) -> Result<Process> {
    let process = Process::of(init.pid)?;
    state.init = Some(process);
    entry.save(state)?;
    if let Some(path) = &new.pid_file {
        // Beside and renamed: whoever waits for the file must not read half a number.
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        fs::write(&beside, init.pid.to_string())?;
        fs::rename(&beside, path)?;
    }
    Ok(process)
}

/// This command's own.
fn stdio() -> Result<[OwnedFd; 3]> {
    Ok([
        std::io::stdin().as_fd().try_clone_to_owned()?,
        std::io::stdout().as_fd().try_clone_to_owned()?,
        std::io::stderr().as_fd().try_clone_to_owned()?,
    ])
}

fn start(root: &Path, id: &str) -> Result<()> {
    let entry = Entry::open(root, id)?;
    match entry.status(entry.load()?.as_ref())? {
        Status::Created => entry.give_go(),
        Status::Running => Err("cannot start an already running container".into()),
        Status::Stopped => Err("cannot start a container that has stopped".into()),
        Status::Creating => Err(BROKEN_OFF.into()),
    }
}

const BROKEN_OFF: &str = "the creation of the container was broken off; delete it";

/// What `state` prints: the OCI specification's fields, and runc's.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: Status,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    annotations: &'a std::collections::HashMap<String, String>,
    owner: &'a str,
}

fn state(root: &Path, id: &str) -> Result<()> {
    let entry = Entry::open(root, id)?;
    let state = entry.load()?.ok_or(BROKEN_OFF)?;
    let status = entry.status(Some(&state))?;
    let shown = Shown {
        oci_version: &state.oci_version,
        id,
        pid: state.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid),
        status,
        bundle: &state.bundle,
        rootfs: &state.rootfs,
        created: &state.created,
        annotations: &state.annotations,
        owner: "",
    };
    let mut text = serde_json::to_vec_pretty(&shown)?;
    text.push(b'\n');
    Ok(std::io::stdout().write_all(&text)?)
}

fn kill(root: &Path, id: &str, signal: &str, all: bool) -> Result<()> {
    let signal = parse_signal(signal)?;
    let entry = Entry::open(root, id)?;
    let state = entry.load()?.ok_or(BROKEN_OFF)?;
    match state.open()? {
        // All of its processes, also where it has no pid namespace of its own, or only they are left.
        _ if all && !state.groups.is_empty() => {
            Ok(skep::cgroup::signal(&state.groups, signal.as_raw())?)
        }
        Some(init) => Ok(rustix::process::pidfd_send_signal(&init, signal)?),
        None => Err("container not running".into()),
    }
}

/// A number, or a name with or without its SIG.
fn parse_signal(text: &str) -> Result<rustix::process::Signal> {
    let invalid = || format!("unknown signal {text:?}");
    let upper = text.to_ascii_uppercase();
    let number = match upper.parse() {
        Ok(number) => number,
        Err(_) if upper.starts_with("SIG") => {
            upper.parse::<Signal>().map_err(|_| invalid())? as i32
        }
        Err(_) => format!("SIG{upper}").parse::<Signal>().map_err(|_| invalid())? as i32,
    };
    Ok(rustix::process::Signal::from_named_raw(number).ok_or_else(invalid)?)
}

fn delete(root: &Path, id: &str, force: bool) -> Result<()> {
    let entry = match Entry::find(root, id)? {
        Some(entry) => entry,
        None if force => return Ok(()),
        None => return Err(format!("container does not exist: {id}").into()),
    };
    let state = entry.load()?;
    let status = entry.status(state.as_ref())?;
    if status == Status::Running && !force {
        return Err(format!("cannot delete container {id} that is not stopped: running").into());
    }
    if let Some(state) = &state {
        if let Some(init) = state.open()? {
            let _ = rustix::process::pidfd_send_signal(&init, rustix::process::Signal::KILL);
            foreground::await_end(&init)?;
        }
        skep::cgroup::remove(&state.groups)?;
    }
    entry.remove()
}

/// Creates, starts, waits, deletes.
fn foreground(root: &Path, id: &str, new: &New) -> Result<u8> {
    let foreground = foreground::Foreground::begin()?;
    let init = create(root, id, new)?;
    let ended = start(root, id).and_then(|()| foreground.wait(init.pid));
    delete(root, id, true)?;
    ended
}
