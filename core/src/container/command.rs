//! The builder of a container, in the manner of [`std::process::Command`].

use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;

use super::child::Child;
use super::collect::{Collector, Watched};
use super::exit::ExitStatus;
use super::prepare::{self, Compiled, Prepared};
use super::root::Root;
use super::seat::{Seat, Shared};
use super::stdio::{Ends, Stdio};
use crate::cgroup::{Bytes, Cpus, Entry, Group, Limits, Memory, MemorySwap};
use crate::process::keeper::StartOptions;
use crate::process::plan::Plan;
use crate::rootfs::user;
use crate::spec::config::{ContainerConfig, Mount, Rlimit};
use crate::spec::lower::lower;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result, RlimitResource};

/// A container to be started: what runs in it, and what it may use.
///
/// Every knob has a safe default: new namespaces, docker's capabilities, masks and seccomp filter,
/// no_new_privs, no network but loopback, no limits. Nothing happens before [`spawn`](Self::spawn),
/// [`status`](Self::status) or [`output`](Self::output), which also report a value that was wrong.
/// A command can be used again; each start is a new container.
///
/// ```no_run
/// use std::io::Write;
/// use std::time::Duration;
/// use skep::{Bytes, Engine, Mount, Stdio};
///
/// let engine = Engine::open_default()?;
/// let image = engine.images().find("localhost/app:1")?;
/// let mut command = engine.command(&image);
/// command
///     .args(["python3", "-c", "import sys; print(sys.stdin.read().upper())"])
///     .env("PYTHONDONTWRITEBYTECODE", "1")
///     .user("nobody")
///     .read_only(true)
///     .mount(Mount::tmpfs("/tmp").size(16 << 20))
///     .mount(Mount::bind("/srv/models", "/models").read_only())
///     .memory(Bytes::mib(256));
///
/// // All at once:
/// let out = command.input("hello").output()?;
/// assert_eq!(out.stdout, b"HELLO\n");
///
/// // Or step by step:
/// let mut child = command.stdin(Stdio::piped()).spawn()?;
/// child.stdin.take().unwrap().write_all(b"hello").unwrap();
/// match child.wait_timeout(Duration::from_secs(10))? {
///     Some(status) => println!("{status}, {:?}", status.usage().memory_peak),
///     None => println!("{}", child.stop(Duration::from_secs(2))?),
/// }
/// # Ok::<(), skep::Error>(())
/// ```
///
/// Where a default is docker's, it is that of `docker run`:
/// <https://docs.docker.com/reference/cli/docker/container/run/>
#[derive(Debug)]
pub struct Command {
    shared: Arc<Shared>,
    root: Root,
    config: ContainerConfig,
    memory: Option<Bytes>,
    memory_swap: MemorySwap,
    /// As given: whether they make sense is found out at the start, and at every start.
    cpus: Option<f64>,
    pids: Option<u32>,
    timeout: Option<Duration>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    input: Option<Arc<Vec<u8>>>,
}

/// All of a container but its process. Dropped, it is removed, the group last.
struct Ready {
    id: String,
    compiled: Compiled,
    prepared: Prepared,
    entry: Entry,
    group: Group,
    stop_signal: Option<String>,
}

/// What a finished container has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

impl Command {
    pub(crate) fn new(shared: Arc<Shared>, root: Root) -> Command {
        Command {
            shared,
            root,
            config: ContainerConfig::default(),
            memory: None,
            memory_swap: MemorySwap::default(),
            cpus: None,
            pids: None,
            timeout: None,
            stdin: None,
            stdout: None,
            stderr: None,
            input: None,
        }
    }

    /// Adds an argument. With none at all, the image's command runs.
    ///
    /// After an image's entrypoint these are its arguments, as with docker.
    pub fn arg(&mut self, arg: impl Into<String>) -> &mut Self {
        self.config.args.push(arg.into());
        self
    }

    /// Adds arguments; see [`arg`](Self::arg).
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, args: I) -> &mut Self {
        self.config.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Replaces the image's entrypoint, and with it the image's command. May be empty.
    pub fn entrypoint<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, args: I) -> &mut Self {
        self.config.entrypoint = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Sets an environment variable, beside the image's or in place of its own of that name. The
    /// host's environment is not inherited; PATH, HOSTNAME and HOME have docker's values without.
    pub fn env(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.config.env.push((name.into(), value.into()));
        self
    }

    /// Sets environment variables; see [`env`](Self::env).
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.config.env.extend(variables);
        self
    }

    /// The directory in the container to start in, an absolute path; made if it is not there. The
    /// image's or `/` without. Docker's `--workdir`.
    pub fn working_dir(&mut self, path: impl Into<String>) -> &mut Self {
        self.config.working_directory = Some(path.into());
        self
    }

    /// Who the command runs as: `name`, `uid`, `name:group` or `uid:gid`, by the container's own
    /// `/etc/passwd` and `/etc/group`. The image's or root without. A user without a given group
    /// has the supplementary groups that the files name, and each has the primary one among them;
    /// any other than root has no capabilities.
    pub fn user(&mut self, user: impl Into<String>) -> &mut Self {
        self.config.user = Some(user.into());
        self
    }

    /// The host name inside; the first twelve digits of the container's id without.
    pub fn hostname(&mut self, name: impl Into<String>) -> &mut Self {
        self.config.hostname = Some(name.into());
        self
    }

    /// Adds a mount. Later ones go on top of, or into, earlier ones.
    pub fn mount(&mut self, mount: Mount) -> &mut Self {
        self.config.mounts.push(mount);
        self
    }

    /// Refuses writes to the root file system; off by default. Mounts are as they are.
    pub fn read_only(&mut self, read_only: bool) -> &mut Self {
        self.config.read_only = read_only;
        self
    }

    /// Lets set-user-ID programs and file capabilities raise privileges inside; off by default,
    /// where docker has it on.
    pub fn allow_new_privileges(&mut self, allow: bool) -> &mut Self {
        self.config.allow_new_privileges = allow;
        self
    }

    /// Limits a resource as setrlimit(2) does, in its units; `u64::MAX` is no limit. A second call
    /// for a resource replaces the first.
    ///
    /// Without, limits are those of the thread that started the engine's first container, but for
    /// the number of open files, which is the host's at the start.
    pub fn rlimit(&mut self, resource: RlimitResource, soft: u64, hard: u64) -> &mut Self {
        self.config.rlimits.retain(|limit| limit.resource != resource);
        self.config.rlimits.push(Rlimit { resource, soft, hard });
        self
    }

    /// Limits memory, page cache and tmpfs included: at least 4 MiB, rounded down to whole pages;
    /// what passes it is killed ([`ExitReason::OomKilled`]). Unlimited by default. Docker's
    /// `--memory`.
    ///
    /// [`ExitReason::OomKilled`]: super::ExitReason::OomKilled
    pub fn memory(&mut self, limit: Bytes) -> &mut Self {
        self.memory = Some(limit);
        self
    }

    /// Limits swap, as docker's `--memory-swap`: as much again as the memory limit without. It needs
    /// a limit of [`memory`](Self::memory) beside it.
    pub fn memory_swap(&mut self, swap: MemorySwap) -> &mut Self {
        self.memory_swap = swap;
        self
    }

    /// Limits CPU time to so many CPUs' worth, from 0.01 to 8192: `0.5` is half of one, enforced
    /// over periods of 100 ms. Unlimited by default. Docker's `--cpus`.
    pub fn cpus(&mut self, cpus: f64) -> &mut Self {
        self.cpus = Some(cpus);
        self
    }

    /// Limits the number of processes and threads at one time, at least 1. Unlimited by default.
    /// Docker's `--pids-limit`.
    pub fn pids(&mut self, limit: u32) -> &mut Self {
        self.pids = Some(limit);
        self
    }

    /// Kills everything in the container after this time ([`ExitReason::TimedOut`]), counted from
    /// its start, whether or not anyone waits for it. No limit by default.
    ///
    /// [`ExitReason::TimedOut`]: super::ExitReason::TimedOut
    pub fn timeout(&mut self, timeout: Duration) -> &mut Self {
        self.timeout = Some(timeout);
        self
    }

    /// Standard input; the host's for [`spawn`](Self::spawn) and [`status`](Self::status),
    /// `/dev/null` for [`output`](Self::output) by default.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdin = Some(stdio.into());
        self
    }

    /// Standard output; the host's by default, a pipe for [`output`](Self::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdout = Some(stdio.into());
        self
    }

    /// Standard error; the host's by default, a pipe for [`output`](Self::output).
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stderr = Some(stdio.into());
        self
    }

    /// What [`output`](Self::output) and [`collect`](Self::collect) write to standard input, while
    /// they read the others; what the command does not read is dropped. [`spawn`](Self::spawn) and
    /// [`status`](Self::status) leave it alone.
    pub fn input(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.input = Some(Arc::new(bytes.into()));
        self
    }

    /// Starts the container and returns when its command runs: after the exec.
    ///
    /// # Errors
    /// `InvalidInput` for a value that was wrong, `NotFound` for a command, user, mount source or
    /// root that is not there, `NotExecutable` for a command that is no program, `Unsupported` for a
    /// limit that this machine cannot enforce, `PermissionDenied` without the rights,
    /// `ResourceExhausted` at limits of the host. Nothing is left of the container then.
    pub fn spawn(&mut self) -> Result<Child> {
        let inherit = Stdio::inherit;
        self.start([inherit, inherit, inherit])
    }

    /// Runs the container to its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and `KeeperLost` if the keeper is killed meanwhile.
    pub fn status(&mut self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the container to its end and collects what it says, in memory.
    ///
    /// # Errors
    /// As [`status`](Self::status).
    pub fn output(&mut self) -> Result<Output> {
        self.collect()?.wait()
    }

    /// Starts the container as [`output`](Self::output) does, and leaves it to the caller when its
    /// output is collected: for programs with an event loop.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn collect(&mut self) -> Result<Collector> {
        let stdin = if self.input.is_some() { Stdio::piped } else { Stdio::null };
        let watched = Watched::new()?;
        let child = self.start([stdin, Stdio::piped, Stdio::piped])?;
        Collector::new(child, watched, self.input.clone())
    }

    /// What a start would ask of the kernel, step by step. Printed, it reads like an strace; the
    /// [module](crate::process::plan) has the reasons.
    ///
    /// A container's group, root and mounts are made ready for it as for a start, and removed again;
    /// only the process is not made. The id, and with it the default host name, is a new one.
    ///
    /// ```no_run
    /// # let engine = skep::Engine::open_default()?;
    /// print!("{}", engine.command(skep::Root::host()).arg("true").plan()?);
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), but for those that the kernel finds on the way: a command that is
    /// not there has a plan.
    pub fn plan(&self) -> Result<Plan> {
        sigpipe::without_file_size_signal(|| {
            self.shared.check_host("plan")?;
            Ok(self.ready(&*self.shared.seat()?, &self.limits()?)?.compiled.plan)
        })
    }

    fn start(&self, defaults: [fn() -> Stdio; 3]) -> Result<Child> {
        sigpipe::without_file_size_signal(|| self.start_quietly(defaults))
    }

    fn start_quietly(&self, defaults: [fn() -> Stdio; 3]) -> Result<Child> {
        self.shared.check_host("start")?;
        let limits = self.limits()?;
        let streams = [&self.stdin, &self.stdout, &self.stderr];
        let mut ours = [None, None, None];
        let mut theirs = Vec::with_capacity(3);
        for (number, stream) in streams.into_iter().enumerate() {
            let default = defaults[number]();
            let ends: Ends = stream.as_ref().unwrap_or(&default).open(number as i32)?;
            ours[number] = ends.ours;
            theirs.push(ends.theirs);
        }
        // Three, as there are three streams.
        let Ok(theirs) = theirs.try_into() else { unreachable!() };
        let child = self.start_in(&limits, &theirs)?;
        Ok(child.with_streams(ours))
    }

    /// Starts in the engine's keeper, and once more in a new one if that is gone.
    fn start_in(&self, limits: &Limits, stdio: &[OwnedFd; 3]) -> Result<Child> {
        let seat = self.shared.seat()?;
        match self.start_at(&seat, limits, stdio) {
            Err(error) if error.kind() == ErrorKind::KeeperLost => {
                self.shared.forget(&seat);
                drop(seat);
                self.start_at(&self.shared.seat()?, limits, stdio)
            }
            result => result,
        }
    }

    fn start_at(&self, seat: &Arc<Seat>, limits: &Limits, stdio: &[OwnedFd; 3]) -> Result<Child> {
        // In this order, for the group to be dropped last.
        let Ready { id, group, entry, prepared, compiled, stop_signal } =
            self.ready(seat, limits)?;
        let inputs = compiled.inputs(&prepared.mount, entry.tasks(), stdio);
        let options = StartOptions { cgroup: entry.directory(), timeout: self.timeout };
        let mut running = seat.keeper.start(&compiled.plan, &inputs, &options)?;
        running.await_exec(&compiled.plan)?;
        let sealed = compiled.binds_nothing() && !stdio.iter().any(is_socket);
        Ok(Child::new(id, running, Arc::clone(seat), group, prepared, sealed, stop_signal))
    }

    /// Makes everything but the process.
    fn ready(&self, seat: &Seat, limits: &Limits) -> Result<Ready> {
        let id = crate::id::random();
        let group = seat.groups.create(&id, limits)?;
        let entry = group.entry()?;
        let prepared = prepare::root(&self.root, seat, &id)?;
        let image = prepare::defaults(&self.root);
        let name = self.config.user.as_deref().or(image.user.as_deref()).unwrap_or("");
        let user = user::resolve(prepared.mount.as_fd(), name)?;
        let spec = lower(&id, &self.config_with_host_limits(), &image, &user)?;
        let compiled = Compiled::new(&spec, entry.tasks().len())?;
        Ok(Ready { id, compiled, prepared, entry, group, stop_signal: image.stop_signal })
    }

    /// The keeper has raised its own limit of open files; its containers get the host's.
    fn config_with_host_limits(&self) -> ContainerConfig {
        let mut config = self.config.clone();
        let resource = RlimitResource::RlimitNofile;
        if !config.rlimits.iter().any(|limit| limit.resource == resource) {
            let host = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            let value = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
            let (soft, hard) = (value(host.current), value(host.maximum));
            config.rlimits.push(Rlimit { resource, soft, hard });
        }
        config
    }

    fn limits(&self) -> Result<Limits> {
        let mut limits = Limits::default();
        if let Some(memory) = self.memory {
            limits.memory = Some(Memory::new(memory, self.memory_swap)?);
        } else if matches!(self.memory_swap, MemorySwap::Disabled | MemorySwap::Total(_)) {
            // As docker: the kernel bounds swap by a group's memory, and there would be no group.
            return Err(Error::new(ErrorKind::InvalidInput, "limit", "swap")
                .cause("memory is not limited")
                .fix("limit memory too"));
        }
        if let Some(cpus) = self.cpus {
            limits.cpus = Some(Cpus::new(cpus)?);
        }
        if let Some(pids) = self.pids {
            limits.pids = Some(NonZeroU32::new(pids).ok_or_else(|| {
                Error::invalid_input("limit processes to", "0")
                    .cause("the command is one itself")
                    .fix("give at least 1, or no limit")
            })?);
        }
        Ok(limits)
    }
}

/// File descriptors can be sent through a socket. What cannot be looked at counts as one.
fn is_socket(stream: &OwnedFd) -> bool {
    rustix::fs::fstat(stream)
        .map_or(true, |stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}
