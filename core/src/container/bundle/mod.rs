//! Running an OCI bundle: a directory with a `config.json`, which says where its root is.
//!
//! In goes a bundle, out comes an [`Init`]: the container's first process, which no engine and no
//! keeper holds. A one-shot keeper starts it and exits, so that it becomes a child of the caller's
//! nearest child subreaper (`PR_SET_CHILD_SUBREAPER`; conmon and containerd's shims are such), else of
//! init. It waits, complete but for its exec, until a byte comes through the caller's
//! [`go`](Create::go). Remembering all this is the caller's: see the command `skep-oci`.
//!
//! # What the spec says, and what is done
//!
//! What cannot be honoured is refused by the name of its field. Beside that:
//! - `linux.resources`: memory with swap, CPU quota and pids are [limits](crate::cgroup::Limits);
//!   others are refused if they are set.
//! - `linux.resources.devices`: no device control group is used. Where the rules deny all devices
//!   but some, as they nearly always do, the same is had from mounts: every mount is `nodev` but
//!   those of the default devices and of the `linux.devices` that a rule allows. Rules about other
//!   nodes give nothing, the bits of `access` are not told apart, and CAP_SYS_ADMIN inside can undo
//!   it all.
//! - `linux.devices` are bound from the host, where they must stand under the same path.
//! - `linux.cgroupsPath` is a path below the top of each hierarchy; systemd's form is refused.
//! - A tmpfs with `tmpcopyup` must have nothing to copy up.
//! - A mount of type `cgroup` shows something only in a cgroup namespace, and on v1 only the
//!   hierarchies that the container has a group in: without a namespace it would show the host's.
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/main/bundle.md>

mod copyup;
mod devices;
mod resources;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_spec::runtime::{
    Linux, LinuxNamespaceType, Mount, PosixRlimitBuilder, PosixRlimitType, Spec,
};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::prepare::Compiled;
use crate::cgroup::{Cgroups, Group, Layout};
use crate::process::compile::{CgroupMounts, Surroundings};
use crate::process::keeper::{Birth, Keeper, StartOptions};
use crate::spec::seccomp::{self, Arch, Filter};
use crate::sys::mount::{self, attribute, propagation};
use crate::{Error, ErrorKind, Result};

/// A bundle that has been read.
#[derive(Debug, Clone)]
pub struct Bundle {
    root: PathBuf,
    spec: Spec,
}

/// How a bundle's container is created.
#[derive(Debug)]
pub struct Create<'a> {
    /// Where a byte starts the command: a pipe or FIFO of which the container keeps its own handle.
    /// As end of file ends the container, open a FIFO for reading and writing.
    pub go: OwnedFd,
    /// Standard input, output and error of the command.
    pub stdio: [OwnedFd; 3],
    /// A directory for the keeper's program, where memory files may not be executed.
    pub scratch: &'a Path,
}

/// The first process of a container that has been created.
#[derive(Debug)]
pub struct Init {
    /// Its number, in the caller's pid namespace.
    pub pid: i32,
    /// The process itself, whatever its number is used for later.
    pub pidfd: OwnedFd,
    /// Its control groups, for [`cgroup::remove`](crate::cgroup::remove).
    pub groups: Vec<PathBuf>,
}

impl Init {
    /// Kills it, with what stands and falls with it (its pid namespace), and removes its groups.
    ///
    /// # Errors
    /// `InUse` if processes are left in a group.
    pub fn destroy(self) -> Result<()> {
        // Only that it has ended before can go wrong.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        crate::cgroup::remove(&self.groups)
    }
}

impl Bundle {
    /// Reads the bundle in `directory`.
    ///
    /// # Errors
    /// `NotFound` without a `config.json` or the root it names, `InvalidData` if it is none,
    /// `InvalidInput` if it names no root.
    pub fn load(directory: impl AsRef<Path>) -> Result<Bundle> {
        let directory = directory.as_ref();
        let path = directory.join("config.json");
        let subject = || path.display().to_string();
        let text = fs::read(&path).map_err(|error| Error::os("read", subject(), error))?;
        let mut spec: Spec = serde_json::from_slice(&text).map_err(|error| {
            Error::new(ErrorKind::InvalidData, "parse", subject()).with_source(error)
        })?;
        let root =
            spec.root().as_ref().map(|root| directory.join(root.path())).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "use", subject()).cause("it has no field root")
            })?;
        let root = fs::canonicalize(&root)
            .map_err(|error| Error::os("use as root", root.display().to_string(), error))?;
        for mount in spec.mounts_mut().iter_mut().flatten() {
            // Of a bind, relative to the bundle; elsewhere it is only a name.
            if let Some(source) = mount.source().as_ref().filter(|_| is_bind(mount)) {
                let source = directory.join(source);
                mount.set_source(Some(source));
            }
        }
        Ok(Bundle { root, spec })
    }

    /// What `config.json` says.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The root file system, as an absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the control group with the spec's limits: at `linux.cgroupsPath`, else at `default`.
    ///
    /// A step of its own, so that its directories can be written down before there is a process that
    /// only they lead to.
    ///
    /// # Errors
    /// `Unsupported` for limits that skep or this machine cannot enforce and for systemd's paths,
    /// `AlreadyExists`, `InvalidInput` for a limit or a path that no kernel takes, `PermissionDenied`.
    pub fn make_group(&self, default: &str) -> Result<Group> {
        let limits = resources::limits(&self.spec)?;
        let path = self.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
        let path = path.map_or(default.into(), Path::to_string_lossy);
        if path.contains(':') {
            return Err(Error::new(ErrorKind::Unsupported, "use cgroup", path)
                .cause("it is a path for systemd, which skep does not talk to yet")
                .fix("use the cgroupfs manager"));
        }
        Cgroups::detect()?.group_at(&path, &limits)
    }

    /// Creates the container. It is complete when this returns, and its command has been looked for.
    ///
    /// # Errors
    /// `Unsupported` for what skep or this machine cannot do, `InvalidInput` for what no kernel
    /// takes, `NotFound` for a command, mount source or namespace that is not there,
    /// `NotExecutable`, `PermissionDenied`. Nothing is left of the container then, nor of its group.
    pub fn create(&self, group: Group, create: Create<'_>) -> Result<Init> {
        match self.start(create, &group) {
            Ok((pid, pidfd)) => Ok(Init { pid, pidfd, groups: group.keep() }),
            Err(error) => {
                // The first error is the one to tell.
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn start(&self, create: Create<'_>, group: &Group) -> Result<(i32, OwnedFd)> {
        let confined = devices::are_denied(&self.spec)?;
        let root = self.open_root(confined)?;
        let spec = self.adapted(confined, root.as_fd())?;
        let filter = filter(&spec)?;
        let entry = group.entry()?;
        let around = Surroundings {
            cgroup_files: entry.tasks().len(),
            cgroup_mounts: cgroup_mounts(spec.linux().as_ref(), group)?,
            seccomp: filter.as_ref().map(Filter::as_bytes),
            seccomp_flags: filter.as_ref().map_or(0, Filter::flags),
            wait_for_go: true,
            ..Surroundings::default()
        };
        let mut compiled = Compiled::around(&spec, around)?;
        compiled.go = Some(create.go);
        let inputs = compiled.inputs(&root, entry.tasks(), &create.stdio);
        let options = StartOptions { cgroup: entry.directory(), timeout: None };
        start_once(&compiled, &inputs, &options, create.scratch)
    }

    /// The spec as it is compiled: devices as mounts, no option without an effect, and the host's limit of open files, which the
    /// keeper raises for itself.
    fn adapted(&self, confined: bool, root: BorrowedFd<'_>) -> Result<Spec> {
        let mut spec = self.spec.clone();
        devices::lower(&mut spec, confined)?;
        copyup::lower(&mut spec, root);
        if let Some(process) = spec.process_mut() {
            let mut limits = process.rlimits().clone().unwrap_or_default();
            if !limits.iter().any(|limit| limit.typ() == PosixRlimitType::RlimitNofile) {
                let host = rustix::process::getrlimit(rustix::process::Resource::Nofile);
                let limit = PosixRlimitBuilder::default()
                    .typ(PosixRlimitType::RlimitNofile)
                    .soft(host.current.unwrap_or(u64::MAX))
                    .hard(host.maximum.unwrap_or(u64::MAX));
                // Never an error: all three fields are given.
                limits.extend(limit.build());
                process.set_rlimits(Some(limits));
            }
        }
        Ok(spec)
    }

    /// A copy of the root's mount and those below it, attached nowhere and private.
    fn open_root(&self, confined: bool) -> Result<OwnedFd> {
        let set = if confined { attribute::NODEV } else { 0 };
        let clone = mount::clone_tree(&self.root, true).and_then(|root| {
            mount::set_attributes(root.as_fd(), set, 0, propagation::PRIVATE, true)?;
            Ok(root)
        });
        clone.map_err(|errno| Error::os("use as root", self.root.display().to_string(), errno))
    }
}

fn is_bind(mount: &Mount) -> bool {
    let option = |option: &String| option == "bind" || option == "rbind";
    mount.typ().as_deref().is_none_or(|kind| kind == "bind")
        || mount.options().iter().flatten().any(option)
}

/// Starts the plan in a keeper of its own and waits until it awaits its go.
fn start_once(
    compiled: &Compiled,
    inputs: &[BorrowedFd<'_>],
    options: &StartOptions<'_>,
    scratch: &Path,
) -> Result<(i32, OwnedFd)> {
    // The keeper is gone before anything could ask whether it lives.
    let lock =
        fs::File::open("/dev/null").map_err(|error| Error::os("open", "/dev/null", error))?.into();
    let birth = Birth { lock, owner: "", sweep: &[], store: scratch };
    let keeper = Arc::new(Keeper::one_shot(birth)?);
    let running = keeper.start_once(&compiled.plan, inputs, options)?;
    let pid = running.await_pid()?;
    // As long as it awaits its go, the number is its own.
    let pidfd = Pid::from_raw(pid).map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    running.await_send(&compiled.plan)?;
    match pidfd {
        Some(Ok(pidfd)) => Ok((pid, pidfd)),
        Some(Err(errno)) => Err(Error::os("watch", format!("process {pid}"), errno)),
        None => Err(crate::process::keeper::lost()),
    }
}

fn filter(spec: &Spec) -> Result<Option<Filter>> {
    let Some(profile) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) else {
        return Ok(None);
    };
    let native = Arch::native().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "compile", "linux.seccomp")
            .cause("skep has no system calls of this machine's architecture")
    })?;
    seccomp::compile(profile, native).map(Some)
}

fn cgroup_mounts(linux: Option<&Linux>, group: &Group) -> Result<CgroupMounts> {
    let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
    let own = namespaces.is_some_and(|list| {
        list.iter().any(|one| one.typ() == LinuxNamespaceType::Cgroup && one.path().is_none())
    });
    Ok(match Cgroups::detect()?.layout() {
        Layout::V2 if own => CgroupMounts::V2,
        Layout::V1 | Layout::Hybrid if own => CgroupMounts::V1(group.v1_hierarchies()),
        _ => CgroupMounts::V1(Vec::new()),
    })
}
