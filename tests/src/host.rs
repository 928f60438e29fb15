//! Runs a test's body as a host program: a process of its own that may be killed, be PID 1, or
//! change what a whole process shares, while the test itself looks on from outside.
//!
//! The host is this test binary once more, told by a variable to run the one test and to take the
//! other branch in it. No second program is needed, so a test binary can be shipped alone. Each host
//! has a mount and a network namespace of its own: what appears there is the library's doing.

use std::any::type_name;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::libc;
use skep::{Command, Engine, Root};
use tempfile::TempDir;

use crate::proc::{keepers, wait_until};

const NAME: &str = "SKEP_TEST_HOST";
const DIRECTORY: &str = "SKEP_TEST_DIRECTORY";
/// In the environment of each container of [`shell`].
pub const MARK: &str = "SKEP_TEST_MARK";

/// For all that a host does; generous, for loaded and for emulated machines.
const PATIENCE: Duration = Duration::from_secs(240);

/// Runs `body`, a closure written in the test, in a process of its own, and fails if it fails.
pub fn alone<F: FnOnce()>(body: F) {
    Host::new().run(test_of::<F>(), body, |host| host.finish());
}

/// How a host program is started.
#[derive(Debug, Default)]
pub struct Host {
    init: bool,
    terminal: Option<OwnedFd>,
    input: bool,
    environment: Vec<(String, String)>,
}

impl Host {
    /// A plain host.
    pub fn new() -> Host {
        Host::default()
    }

    /// The host is PID 1 of a new pid namespace.
    pub fn init(mut self) -> Host {
        self.init = true;
        self
    }

    /// The host leads a session that has `terminal`, and is in its foreground.
    pub fn terminal(mut self, terminal: OwnedFd) -> Host {
        self.terminal = Some(terminal);
        self
    }

    /// The host's standard input is a pipe, for [`Watched::tell`].
    pub fn input(mut self) -> Host {
        self.input = true;
        self
    }

    /// Sets a variable of the host.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Host {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs `body` in the host, and `watch` here meanwhile.
    ///
    /// `watch` is a closure written in the test: its type's name tells the test's.
    pub fn watched<W: FnOnce(Watched)>(self, body: impl FnOnce(), watch: W) {
        self.run(test_of::<W>(), body, watch);
    }

    fn run(self, test: &str, body: impl FnOnce(), watch: impl FnOnce(Watched)) {
        match std::env::var(NAME) {
            Ok(name) if name == test => body(),
            _ => watch(Watched::start(self, test)),
        }
    }
}

/// `contract::children::name::{{closure}}` is the body of the test `children::name`.
fn test_of<F>() -> &'static str {
    let name = type_name::<F>();
    assert!(name.ends_with("::{{closure}}"), "{name} is not written in the test");
    let name = name.trim_end_matches("::{{closure}}");
    name.split_once("::").map_or(name, |(_, test)| test)
}

/// How often a test that repeats itself does: `all`, or a tenth with SKEP_TEST_QUICK set, as for a
/// machine under emulation, where each round takes ten times as long.
pub fn rounds(all: usize) -> usize {
    if std::env::var_os("SKEP_TEST_QUICK").is_some() { all / 10 } else { all }
}

/// Whether this is the host, and not the test that watches it: for a test with several.
pub fn is_host() -> bool {
    std::env::var_os(NAME).is_some()
}

/// The directory that a host and the test that watches it share.
pub fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY).expect("only in a host").into()
}

/// An engine on the store of this host.
pub fn engine() -> Engine {
    Engine::open(directory().join("store")).expect("an engine on a fresh store")
}

/// A marked container on the machine's root that runs `script`.
pub fn shell(engine: &Engine, script: &str) -> Command {
    let mut command = engine.command(Root::host());
    command.args(["sh", "-c", script]).env(MARK, mark(&directory()));
    command
}

/// What marks the processes of the host with this directory.
fn mark(directory: &Path) -> String {
    directory.file_name().expect("a temporary directory").to_string_lossy().into_owned()
}

/// Tells the watching test something.
pub fn say(line: impl std::fmt::Display) {
    // One write: lines of several threads and processes do not mix. The first line feed is because
    // the test harness has begun a line.
    let text = format!("\n@ {line}\n");
    io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).expect("stdout");
}

/// Waits to be killed; ends by itself if the test that should do it is gone.
pub fn wait_to_be_killed() -> ! {
    // SAFETY: no memory is involved.
    unsafe {
        libc::alarm(PATIENCE.as_secs() as u32);
        loop {
            libc::pause();
        }
    }
}

/// A running host. It is killed with this, and what it has left is removed.
pub struct Watched {
    process: process::Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    status: Option<ExitStatus>,
    directory: TempDir,
}

impl Watched {
    fn start(host: Host, test: &str) -> Watched {
        let directory = tempfile::Builder::new().prefix("skep-test-").tempdir().expect("tempdir");
        let (reader, writer) = io::pipe().expect("pipe");
        let mut command = process::Command::new(std::env::current_exe().expect("executable"));
        command
            .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
            .env(NAME, test)
            .env(DIRECTORY, directory.path())
            .env("RUST_BACKTRACE", "0")
            .envs(host.environment)
            .stdin(if host.input { process::Stdio::piped() } else { process::Stdio::null() })
            .stdout(writer.try_clone().expect("pipe"))
            .stderr(writer);
        let (init, terminal) = (host.init, host.terminal);
        // SAFETY: between fork and exec, `settle` makes system calls only.
        unsafe {
            command.pre_exec(move || settle(init, terminal.as_ref()));
        }
        let process = command.spawn().expect("the test binary starts once more");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Watched { process, lines, seen: Vec::new(), status: None, directory }
    }

    /// What the host says next.
    pub fn hear(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("the host says nothing more:\n{}", self.seen.join("\n"));
            };
            if let Some(said) = line.strip_prefix("@ ") {
                return said.to_owned();
            }
            self.seen.push(line);
        }
    }

    /// Waits until the host has said `line`.
    pub fn await_line(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    /// Ends the host's standard input, after a line feed: it may go on.
    pub fn tell(&mut self) {
        let input = self.process.stdin.take().expect("Host::input, and once");
        (&input).write_all(b"\n").expect("the host reads");
    }

    /// The host's pid, as it is seen from here; for an `init` that of its parent.
    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// The host's store.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// What marks its containers' processes.
    pub fn mark(&self) -> String {
        mark(self.directory.path())
    }

    /// Kills the host and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.wait();
    }

    /// How the host ended.
    pub fn wait(&mut self) -> ExitStatus {
        *self.status.get_or_insert_with(|| self.process.wait().expect("a child of ours"))
    }

    /// Waits for the host's end, which has to be a success.
    pub fn finish(mut self) {
        let process = &mut self.process;
        let mut status = None;
        wait_until("the host has ended", PATIENCE, || {
            status = process.try_wait().expect("a child of ours");
            status.is_some()
        });
        self.status = status;
        let success = status.is_some_and(|status| status.success());
        if !success {
            // A worker of the host may still hold the pipe: what is there by now has to do.
            while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(200)) {
                self.seen.push(line);
            }
            let signal = status.and_then(|status| status.signal());
            panic!("the host failed (signal {signal:?}):\n{}", self.seen.join("\n"));
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.kill();
        let store = self.store();
        if store.exists() {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !keepers(&store).is_empty() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Sweeps the control groups of a test that failed halfway.
            let _ = Engine::open(&store);
        }
    }
}

/// In the host before its exec.
fn settle(init: bool, terminal: Option<&OwnedFd>) -> io::Result<()> {
    let new = libc::CLONE_NEWNS | libc::CLONE_NEWNET | if init { libc::CLONE_NEWPID } else { 0 };
    // SAFETY: plain system calls on numbers and constant strings.
    unsafe {
        // A shell ignores these in what it runs in the background, and that is inherited.
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            libc::signal(signal, libc::SIG_DFL);
        }
        check(libc::unshare(new))?;
        if init {
            become_init()?;
        }
        // Shared again, below the machine's: a mount that leaks into its parent shows.
        for propagation in [libc::MS_SLAVE, libc::MS_SHARED] {
            let flags = libc::MS_REC | propagation;
            check(libc::mount(
                c"".as_ptr(),
                c"/".as_ptr(),
                c"".as_ptr(),
                flags,
                c"".as_ptr().cast(),
            ))?;
        }
        if init {
            let (name, at) = (c"proc".as_ptr(), c"/proc".as_ptr());
            check(libc::mount(name, at, name, 0, std::ptr::null()))?;
        }
        if let Some(terminal) = terminal {
            check(libc::setsid())?;
            check(libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0))?;
        }
    }
    Ok(())
}

/// Goes on as the first process of the new pid namespace; the one that called it waits, and ends
/// in the same way.
///
/// # Safety
/// Only between fork and exec.
unsafe fn become_init() -> io::Result<()> {
    // SAFETY: system calls only, in a process with a single thread.
    unsafe {
        match check(libc::fork())? {
            0 => {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
                Ok(())
            }
            child => {
                // The pipe on which the starting test waits for the exec, among others.
                libc::close_range(0, u32::MAX, 0);
                let mut status = 0;
                while libc::waitpid(child, &mut status, 0) < 0 {}
                libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 99 })
            }
        }
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
