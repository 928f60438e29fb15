//! The peers: runc, crun and bubblewrap, each asked for what it can do of docker's defaults.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use crate::contender::Contender;
use crate::remote::Remote;
use crate::root;

/// The peers' names in the tables.
pub(crate) const RUNC: &str = "runc run";
pub(crate) const CRUN: &str = "crun run";
pub(crate) const BWRAP: &str = "bwrap --unshare-all";

/// Where the peers find their things.
pub(crate) struct Peers {
    /// A directory of the bench's own.
    pub(crate) scratch: PathBuf,
    /// The root file system they run in.
    pub(crate) root: PathBuf,
}

/// A container that lives until this is dropped.
pub(crate) struct Live {
    process: Option<Child>,
    delete: Option<Command>,
}

impl Peers {
    /// All peers as contenders of a race, `rounds` each.
    pub(crate) fn contenders(&self, rounds: usize) -> Vec<Contender<'_>> {
        vec![
            self.runc(rounds),
            self.crun(rounds),
            installed(BWRAP, "bwrap", || {
                Ok(Contender::timed(
                    BWRAP,
                    "read-only root without overlay; no limits, seccomp filter or masks",
                    rounds,
                    || self.run_bwrap(),
                ))
            }),
        ]
    }

    fn runc(&self, rounds: usize) -> Contender<'_> {
        installed(RUNC, "runc", || {
            let bundle = self.runc_bundle("runc", &["/bin/true"])?;
            Ok(Contender::timed(
                RUNC,
                "docker's defaults and the limits; ready root without overlay",
                rounds,
                move || self.run_runc(&bundle, "runc"),
            ))
        })
    }

    fn crun(&self, rounds: usize) -> Contender<'_> {
        installed(CRUN, "crun", || {
            let (bundle, state) = self.crun_bundle("crun")?;
            let mut remote = Remote::without_unified_cgroups()?;
            Ok(Contender {
                name: CRUN.into(),
                note: "docker's defaults without limits or cgroup; ready root without overlay"
                    .into(),
                rounds,
                block: Ok(Box::new(move || Ok(vec![remote.round(&["crun", &bundle, &state])?]))),
            })
        })
    }

    /// One runc container in the bundle `runc-<slot>`, which must exist; see [`Peers::prepare_slots`].
    pub(crate) fn run_runc_slot(&self, slot: usize) -> io::Result<()> {
        let name = format!("runc-{slot}");
        self.run_runc(&self.scratch.join(&name), &name)
    }

    /// Makes the bundles of `slots` concurrent runc containers: each has a cgroup of its own.
    pub(crate) fn prepare_slots(&self, slots: usize) -> io::Result<()> {
        for slot in 0..slots {
            self.runc_bundle(&format!("runc-{slot}"), &["/bin/true"])?;
        }
        Ok(())
    }

    /// One bubblewrap container from start to exit.
    pub(crate) fn run_bwrap(&self) -> io::Result<()> {
        run(self.bwrap().arg("/bin/true"))
    }

    /// Starts a bubblewrap container that lives until it is dropped.
    pub(crate) fn live_bwrap(&self) -> io::Result<Live> {
        let mut child = self.bwrap().args(sleep()).stdout(Stdio::piped()).spawn()?;
        await_first_byte(&mut child)?;
        Ok(Live { process: Some(child), delete: None })
    }

    /// Starts a detached runc container that lives until it is dropped.
    pub(crate) fn live_runc(&self, slot: usize) -> io::Result<Live> {
        let name = format!("runc-live-{slot}");
        let bundle = self.runc_bundle(&name, &sleep().each_ref().map(String::as_str))?;
        let mut command = self.runc_command();
        command.args(["run", "--detach", "--bundle"]).arg(bundle).arg(self.id(&name));
        let _starting = RUNC_LIVES.lock();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        await_first_byte(&mut child)?;
        if !child.wait()?.success() {
            return Err(io::Error::other("runc run --detach failed"));
        }
        let mut delete = self.runc_command();
        delete.args(["delete", "--force"]).arg(self.id(&name));
        Ok(Live { process: None, delete: Some(delete) })
    }

    fn run_runc(&self, bundle: &Path, name: &str) -> io::Result<()> {
        let mut command = self.runc_command();
        run(command.args(["run", "--bundle"]).arg(bundle).arg(self.id(name)))
    }

    fn runc_command(&self) -> Command {
        runc_command(&self.scratch)
    }

    fn runc_bundle(&self, name: &str, args: &[&str]) -> io::Result<PathBuf> {
        root::bundle(&self.scratch, name, &self.root, args, Some(&format!("/{}", self.id(name))))
    }

    fn crun_bundle(&self, name: &str) -> io::Result<(String, String)> {
        let bundle = root::bundle(&self.scratch, name, &self.root, &["/bin/true"], None)?;
        let state = self.scratch.join("crun-state");
        Ok((bundle.display().to_string(), state.display().to_string()))
    }

    fn bwrap(&self) -> Command {
        let mut command = Command::new("bwrap");
        command
            .args(["--unshare-all", "--die-with-parent", "--ro-bind"])
            .arg(&self.root)
            .args(["/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--"]);
        command
    }

    /// A name for containers and cgroups that no other bench uses.
    fn id(&self, name: &str) -> String {
        format!("skep-bench-{}-{name}", std::process::id())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(delete) = &mut self.delete {
            let _deleting = RUNC_LIVES.lock();
            let _ = delete.status();
        }
    }
}

const RUNC_STATE: &str = "runc-state";
/// Held while a container that would outlive the bench is started or deleted.
static RUNC_LIVES: Mutex<()> = Mutex::new(());
/// What a live container runs: says it is there by one byte, then sleeps. The number of seconds
/// stands in the arguments of no other process of the machine; see [`crate::memory`].
pub(crate) fn sleep() -> [String; 3] {
    ["/bin/sh".into(), "-c".into(), format!("echo; exec sleep {}", mark())]
}

/// What tells the bench's live processes from all others by their arguments.
pub(crate) fn mark() -> String {
    format!("7{:09}", std::process::id())
}

/// One crun container; called in the private mount namespace.
pub(crate) fn run_crun(bundle: &str, state: &str) -> io::Result<()> {
    let id = format!("skep-bench-{}", std::process::id());
    let mut command = Command::new("crun");
    command.args(["--root", state, "--cgroup-manager=disabled", "run", "--bundle", bundle]);
    run(command.arg(id))
}

/// Runs `command` to its successful end; what it says on stderr becomes the error.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, said.trim())))
}

/// Whether `program` is somewhere on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Kills and deletes every runc container of the bench that owns `scratch`, for a process that is
/// about to end: a thread that would start or delete one later waits for ever.
pub(crate) fn delete_all(scratch: &Path) {
    std::mem::forget(RUNC_LIVES.lock());
    let Ok(states) = std::fs::read_dir(scratch.join(RUNC_STATE)) else {
        return;
    };
    for state in states.flatten() {
        let mut command = runc_command(scratch);
        let _ = run(command.args(["delete", "--force"]).arg(state.file_name()));
    }
}

fn runc_command(scratch: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(scratch.join(RUNC_STATE));
    command
}

fn installed<'a>(
    name: &str,
    program: &str,
    contender: impl FnOnce() -> io::Result<Contender<'a>>,
) -> Contender<'a> {
    if !is_installed(program) {
        return Contender::missing(name, "not installed");
    }
    contender().unwrap_or_else(|error| Contender::missing(name, error.to_string()))
}

fn await_first_byte(child: &mut Child) -> io::Result<()> {
    match &mut child.stdout {
        Some(stdout) => stdout.read_exact(&mut [0]),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}
