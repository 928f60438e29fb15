//! skep's own contenders: an engine in this process, and what it costs wherever that is spent.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde_json::json;
use skep::cgroup::Bytes;
use skep::spec::seccomp::{self, Arch};
use skep::{Child, Command, Engine, Root, Stdio};

use crate::contender::{Contender, timed};
use crate::peers;
use crate::root::CAPABILITIES;
use crate::stats::Sample;

/// From an image: whose pristine roots are used again.
pub(crate) const IMAGE: &str = "skep, image";
/// From a directory, mounted anew each time as the limit does: like for like.
pub(crate) const DIRECTORY: &str = "skep, directory root";

/// An engine with its own store, and the two roots to start from.
pub(crate) struct Own {
    engine: Engine,
    image: Root,
    directory: Root,
    keeper: Keeper,
}

impl Own {
    /// Opens the store at `store`, imports `tar` and runs one container from each root, so that the
    /// keeper is there and nothing is measured for the first time.
    pub(crate) fn open(store: &Path, tar: &Path, directory: &Path) -> io::Result<Own> {
        let engine = Engine::open(store).map_err(io::Error::other)?;
        let image = engine.images().import(tar, None).map_err(io::Error::other)?;
        let (image, directory) = (Root::from(image), Root::directory(directory));
        for root in [&image, &directory] {
            run(&mut command(&engine, root))?;
        }
        let keeper = Keeper::of_store(store)?;
        Ok(Own { engine, image, directory, keeper })
    }

    /// What threads share, with the root that is called `name`.
    pub(crate) fn threads(&self, name: &str) -> Shared<'_> {
        Shared { engine: &self.engine, root: self.root(name) }
    }

    /// Starts `true` in the root that is called `name`, waits for it, and times that: the processor time is this process's, the keeper's since the last sample,
    /// and what the container's control groups have counted.
    pub(crate) fn sample(&self, name: &str) -> io::Result<Sample> {
        let mut inside = 0.0;
        let host = timed(&mut || {
            inside = run(&mut command(&self.engine, self.root(name)))?;
            Ok(())
        })?;
        Ok(Sample { cpu_us: host.cpu_us + inside + self.keeper.cpu_us()?, ..host })
    }

    /// As a contender of a race.
    pub(crate) fn contender<'a>(&'a self, name: &'a str, rounds: usize) -> Contender<'a> {
        Contender {
            name: name.into(),
            note: note(name).into(),
            rounds,
            block: Ok(Box::new(move || Ok(vec![self.sample(name)?]))),
        }
    }

    /// Starts a container that lives until it is dropped, and has said that it runs.
    pub(crate) fn live(&self, name: &str) -> io::Result<Child> {
        let mut command = limited(&self.engine, self.root(name));
        command.args(peers::sleep()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().map_err(io::Error::other)?;
        match &mut child.stdout {
            Some(stdout) => stdout.read_exact(&mut [0])?,
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(child)
    }

    /// The keeper's process.
    pub(crate) fn keeper(&self) -> i32 {
        self.keeper.pid
    }

    fn root(&self, name: &str) -> &Root {
        if name == IMAGE { &self.image } else { &self.directory }
    }
}

/// An engine and a root, for any number of threads.
pub(crate) struct Shared<'a> {
    engine: &'a Engine,
    root: &'a Root,
}

impl Shared<'_> {
    /// Starts `true` and waits for it.
    pub(crate) fn run(&self) -> io::Result<()> {
        run(&mut command(self.engine, self.root)).map(|_| ())
    }
}

fn note(name: &str) -> &'static str {
    if name == IMAGE {
        "all of docker's defaults and the limits; overlay, used again if nothing was written; \
         network namespace made ahead between starts"
    } else {
        "the same with an overlay of its own for each start; network namespace made ahead"
    }
}

fn limited(engine: &Engine, root: &Root) -> Command {
    let mut command = engine.command(root);
    command.memory(Bytes::mib(256)).cpus(0.5).pids(64);
    command
}

fn command(engine: &Engine, root: &Root) -> Command {
    let mut command = limited(engine, root);
    command.arg("/bin/true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs `command` to its end and returns the container's processor time in microseconds.
fn run(command: &mut Command) -> io::Result<f64> {
    let status = command.status().map_err(io::Error::other)?;
    if !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    let time = status.usage().cpu.unwrap_or_default().total;
    Ok(time.as_secs_f64() * 1e6)
}

/// The keeper as a process whose time is read.
///
/// By its clock, which counts nanoseconds: `/proc/PID/stat` counts hundredths of a second, several
/// whole starts. The containers are the keeper's children, and their time is the control groups': of
/// their life only the moment from the clone to the joining is missing.
struct Keeper {
    pid: i32,
    clock: ClockId,
    last_us: Cell<f64>,
}

impl Keeper {
    /// The keeper that holds a lock in `store`: other programs may have keepers too.
    fn of_store(store: &Path) -> io::Result<Keeper> {
        let store = fs::canonicalize(store)?;
        for process in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            if name.trim_end() == "skep-keeper" && has_open(&process.path(), &store) {
                let clock = clock_getcpuclockid(Pid::from_raw(pid))?;
                let keeper = Keeper { pid, clock, last_us: Cell::new(0.0) };
                keeper.cpu_us()?;
                return Ok(keeper);
            }
        }
        Err(io::Error::other("the keeper is not to be found"))
    }

    /// Its processor time since the last call.
    fn cpu_us(&self) -> io::Result<f64> {
        let time = self.clock.now()?;
        let now = time.tv_sec() as f64 * 1e6 + time.tv_nsec() as f64 / 1e3;
        Ok(now - self.last_us.replace(now))
    }
}

fn has_open(process: &Path, below: &Path) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files.flatten().flat_map(|file| fs::read_link(file.path())).any(|path| path.starts_with(below))
}

/// skep's seccomp filter for docker's capabilities, as the kernel takes it.
pub(crate) fn filter() -> io::Result<Vec<u8>> {
    let native = Arch::native().ok_or_else(|| io::Error::other("an unknown architecture"))?;
    let capabilities = serde_json::from_value(json!(CAPABILITIES))?;
    let profile = seccomp::default_profile(&capabilities, native);
    let filter = seccomp::compile(&profile, native).map_err(io::Error::other)?;
    Ok(filter.as_bytes().to_vec())
}
