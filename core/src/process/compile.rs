//! From an OCI runtime spec to a [`Plan`]: a pure function, tested without privilege.
//!
//! In: the spec, and what is known of the outside ([`Surroundings`]). Out: the plan, whose
//! [inputs](Plan::inputs) name the file descriptors to bring. What the spec asks for and skep cannot
//! do is an error that names the field; nothing is left out silently.
//!
//! Source: <https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md>

use std::collections::HashSet;
use std::ffi::CString;
use std::path::Path;

use nix::libc;
use oci_spec::runtime::{Linux, LinuxNamespaceType, Mount, PosixRlimitType, Process, Spec};

use super::plan::{FsOption, Input, Operation, Plan};
use crate::spec::capability;
use crate::spec::config::DEFAULT_PATH;
use crate::spec::mount::MountOptions;
use crate::sys::mount::attribute;
use crate::{Error, ErrorKind, Result};

/// What a plan depends on beside the spec.
#[derive(Debug, Default)]
pub(crate) struct Surroundings<'a> {
    /// How many control group files the process has to join by writing.
    pub(crate) cgroup_files: usize,
    /// For each mount of the spec: whether what it binds is a directory.
    pub(crate) bind_is_directory: &'a [bool],
    /// The hierarchies that a mount of type `cgroup` shows.
    pub(crate) cgroup_mounts: CgroupMounts,
    /// The compiled seccomp filter, instructions of eight bytes each.
    pub(crate) seccomp: Option<&'a [u8]>,
    /// `SECCOMP_FILTER_FLAG_*` for loading it.
    pub(crate) seccomp_flags: u32,
    /// Look for the command, report the finished container, and await a byte before the exec.
    pub(crate) wait_for_go: bool,
}

/// How `/sys/fs/cgroup` looks inside.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) enum CgroupMounts {
    /// One unified hierarchy.
    #[default]
    V2,
    /// These version 1 hierarchies: mount option and directory name are the same. None of them is
    /// an empty directory.
    V1(Vec<String>),
}

/// Compiles `spec` into a plan.
///
/// # Errors
/// `InvalidInput` for values that no kernel takes, `Unsupported` for what skep cannot do; both name
/// the field.
pub(crate) fn compile(spec: &Spec, around: &Surroundings<'_>) -> Result<Plan> {
    let process = spec.process().as_ref().ok_or_else(|| missing("process"))?;
    let linux = spec.linux().as_ref().ok_or_else(|| missing("linux"))?;
    let mut compiler =
        Compiler { spec, process, linux, around, plan: Plan::default(), made: HashSet::new() };
    compiler.refuse_unsupported()?;
    compiler.groups_and_namespaces()?;
    compiler.names()?;
    compiler.root();
    compiler.mounts()?;
    compiler.devices()?;
    compiler.sysctls()?;
    compiler.masks()?;
    compiler.propagation()?;
    compiler.limits()?;
    compiler.streams();
    compiler.identity()?;
    compiler.command()?;
    Ok(compiler.plan)
}

struct Compiler<'a> {
    spec: &'a Spec,
    process: &'a Process,
    linux: &'a Linux,
    around: &'a Surroundings<'a>,
    plan: Plan,
    /// Directories that an earlier operation has made sure of.
    made: HashSet<String>,
}

impl Compiler<'_> {
    fn refuse_unsupported(&self) -> Result<()> {
        let hooks = self.spec.hooks().as_ref().is_some_and(|hooks| {
            let lists = [
                hooks.create_runtime(),
                hooks.create_container(),
                hooks.start_container(),
                hooks.poststart(),
                hooks.poststop(),
            ];
            lists.into_iter().flatten().any(|list| !list.is_empty())
        });
        let some_devices = self.linux.devices().as_ref().is_some_and(|list| !list.is_empty());
        let some_uids = self.linux.uid_mappings().as_ref().is_some_and(|list| !list.is_empty());
        let seccomp = self.linux.seccomp().as_ref();
        let listener = seccomp.is_some_and(|profile| profile.listener_path().is_some());
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
        let refused = [
            (self.process.terminal() == Some(true), "process.terminal"),
            (named(self.process.apparmor_profile()), "process.apparmorProfile"),
            (named(self.process.selinux_label()), "process.selinuxLabel"),
            (named(self.linux.mount_label()), "linux.mountLabel"),
            (listener, "linux.seccomp.listenerPath"),
            (hooks, "hooks"),
            (some_uids, "linux.uidMappings"),
            (some_devices, "linux.devices"),
            (self.linux.intel_rdt().is_some(), "linux.intelRdt"),
            (self.linux.personality().is_some(), "linux.personality"),
            (self.linux.time_offsets().is_some(), "linux.timeOffsets"),
            (self.process.scheduler().is_some(), "process.scheduler"),
            (self.process.io_priority().is_some(), "process.ioPriority"),
        ];
        match refused.into_iter().find(|(asked, _)| *asked) {
            Some((_, field)) => Err(unsupported(field)),
            None => Ok(()),
        }
    }

    fn groups_and_namespaces(&mut self) -> Result<()> {
        for index in 0..self.around.cgroup_files {
            let group = self.plan.input(Input::Cgroup(index));
            self.plan.push(Operation::Join { group });
        }
        let mut unshare = 0;
        for namespace in self.linux.namespaces().iter().flatten() {
            let kind = namespace.typ();
            match namespace.path() {
                None if kind == LinuxNamespaceType::Pid => {
                    self.plan.clone_flags |= libc::CLONE_NEWPID as u64;
                }
                None if kind == LinuxNamespaceType::Network => {
                    self.plan.clone_flags |= libc::CLONE_NEWNET as u64;
                }
                None => unshare |= new_namespace(kind)?,
                Some(_) if kind == LinuxNamespaceType::Pid || kind == LinuxNamespaceType::User => {
                    return Err(unsupported("linux.namespaces with a path to a pid or user one"));
                }
                Some(path) => {
                    let namespace = self.plan.input(Input::Namespace(path.clone()));
                    self.plan.push(Operation::Enter { namespace, path: path.clone() });
                }
            }
        }
        if unshare & libc::CLONE_NEWNS == 0 {
            return Err(unsupported("linux.namespaces without a new mount namespace"));
        }
        self.plan.push(Operation::Unshare { flags: unshare as u32 });
        self.plan.push(Operation::SessionKeyring);
        Ok(())
    }

    fn names(&mut self) -> Result<()> {
        let refuse = |field: &str, name: &str| {
            Error::new(ErrorKind::InvalidInput, "use", format!("{field} {name:?}"))
                .cause("the kernel takes at most 64 bytes without NUL")
                .fix("shorten it")
        };
        let fits = |name: &str| name.len() <= 64 && !name.contains('\0');
        if let Some(name) = self.spec.hostname() {
            if !fits(name) {
                return Err(refuse("host name", name));
            }
            self.plan.push(Operation::Hostname { name: name.clone() });
        }
        if let Some(name) = self.spec.domainname() {
            if !fits(name) {
                return Err(refuse("domain name", name));
            }
            self.plan.push(Operation::Domainname { name: name.clone() });
        }
        Ok(())
    }

    fn root(&mut self) {
        let root = self.plan.input(Input::Root);
        self.plan.push(Operation::Nodes);
        self.plan.push(Operation::Pivot { root });
    }

    fn mounts(&mut self) -> Result<()> {
        for (index, mount) in self.spec.mounts().iter().flatten().enumerate() {
            self.mount(index, mount)?;
        }
        Ok(())
    }

    fn mount(&mut self, index: usize, mount: &Mount) -> Result<()> {
        let destination = mount.destination().to_string_lossy().into_owned();
        let target = absolute(&destination, "mounts.destination")?;
        if destination.bytes().all(|byte| byte == b'/') {
            // It would lie above the root that the command has, unseen.
            return Err(Error::new(ErrorKind::InvalidInput, "mount", "on /")
                .cause("the root is not to be mounted over")
                .fix("give another destination, or another root"));
        }
        let none = Vec::new();
        let given = mount.options().as_ref().unwrap_or(&none);
        let options = MountOptions::parse(&destination, given)?;
        let fs = mount.typ().as_deref().unwrap_or("bind");
        if options.bind || fs == "bind" {
            let directory = self.around.bind_is_directory.get(index).copied().unwrap_or(true);
            self.make_target(&destination, directory)?;
            self.cover(&destination);
            let mount = self.plan.input(Input::Bind(index));
            self.plan.push(Operation::Attach { mount, target });
            return Ok(());
        }
        self.make_target(&destination, true)?;
        self.cover(&destination);
        if fs == "cgroup" || fs == "cgroup2" {
            return self.cgroup_mount(&destination, target, options.set);
        }
        let fs = c_string(fs, "mounts.type")?;
        let (options, attributes) = (options.data, options.set);
        self.plan.push(Operation::Mount { fs, options, attributes, target });
        Ok(())
    }

    fn cgroup_mount(&mut self, destination: &str, target: CString, set: u64) -> Result<()> {
        let CgroupMounts::V1(hierarchies) = &self.around.cgroup_mounts else {
            let fs = c"cgroup2".into();
            let operation = Operation::Mount { fs, options: vec![], attributes: set, target };
            self.plan.push(operation);
            return Ok(());
        };
        let mode = FsOption { key: c"mode".into(), value: Some(c"755".into()) };
        let writable = if hierarchies.is_empty() { 0 } else { attribute::RDONLY };
        let attributes = set & !writable;
        let fs = c"tmpfs".into();
        self.plan.push(Operation::Mount { fs, options: vec![mode], attributes, target });
        for hierarchy in hierarchies {
            let path = format!("{destination}/{hierarchy}");
            self.make_target(&path, true)?;
            let options = hierarchy
                .split(',')
                .map(|name| Ok(FsOption { key: c_string(name, "cgroup controller")?, value: None }))
                .collect::<Result<_>>()?;
            let target = c_string(&path, "mounts.destination")?;
            let fs = c"cgroup".into();
            self.plan.push(Operation::Mount { fs, options, attributes: set, target });
        }
        Ok(())
    }

    /// Makes what something is to be mounted on, with the directories above it.
    fn make_target(&mut self, path: &str, directory: bool) -> Result<()> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut at = String::new();
        for (index, part) in parts.iter().enumerate() {
            at = format!("{at}/{part}");
            if !self.made.insert(at.clone()) {
                continue;
            }
            let path = c_string(&at, "mounts.destination")?;
            let last = index + 1 == parts.len();
            self.plan.push(if last && !directory {
                Operation::File { path }
            } else {
                Operation::Directory { path, mode: 0o755 }
            });
        }
        Ok(())
    }

    /// What was made below `path` is no longer seen once something is mounted there.
    fn cover(&mut self, path: &str) {
        let path = Path::new(path);
        self.made.retain(|made| Path::new(made) == path || !Path::new(made).starts_with(path));
    }

    /// The runtime spec's default devices and links, which every container has.
    fn devices(&mut self) -> Result<()> {
        self.make_target("/dev", true)?;
        for name in super::encode::NODES {
            let path = c_string(&format!("/dev/{name}"), "device")?;
            self.plan.push(Operation::Node { name, path });
        }
        let links = [
            (c"/proc/self/fd", c"/dev/fd"),
            (c"/proc/self/fd/0", c"/dev/stdin"),
            (c"/proc/self/fd/1", c"/dev/stdout"),
            (c"/proc/self/fd/2", c"/dev/stderr"),
            (c"pts/ptmx", c"/dev/ptmx"),
            (c"/proc/kcore", c"/dev/core"),
        ];
        for (target, path) in links {
            self.plan.push(Operation::Symlink { target: target.into(), path: path.into() });
        }
        Ok(())
    }

    fn sysctls(&mut self) -> Result<()> {
        let mut list: Vec<_> = self.linux.sysctl().iter().flatten().collect();
        list.sort();
        for (key, value) in list {
            let climbs = key.contains("..") || key.starts_with(['/', '.']);
            if climbs {
                return Err(Error::new(ErrorKind::InvalidInput, "set sysctl", key)
                    .cause("it is no sysctl name"));
            }
            let path = c_string(&format!("/proc/sys/{}", key.replace('.', "/")), "linux.sysctl")?;
            self.plan.push(Operation::Write { path, contents: value.clone().into_bytes() });
        }
        Ok(())
    }

    /// The root came as a private mount with no peers: it is a slave of nobody already.
    fn propagation(&mut self) -> Result<()> {
        let flags = match self.linux.rootfs_propagation().as_deref().unwrap_or("") {
            "" | "private" | "rprivate" | "slave" | "rslave" => return Ok(()),
            "shared" | "rshared" => libc::MS_SHARED | libc::MS_REC,
            "unbindable" | "runbindable" => libc::MS_UNBINDABLE | libc::MS_REC,
            other => {
                let subject = format!("{other:?} in linux.rootfsPropagation");
                return Err(Error::new(ErrorKind::InvalidInput, "use", subject)
                    .cause("it is not shared, slave, private or unbindable"));
            }
        };
        self.plan.push(Operation::Propagation { flags });
        Ok(())
    }

    fn masks(&mut self) -> Result<()> {
        for path in self.linux.masked_paths().iter().flatten() {
            let path = absolute(path, "linux.maskedPaths")?;
            self.plan.push(Operation::Mask { path });
        }
        for path in self.linux.readonly_paths().iter().flatten() {
            let path = absolute(path, "linux.readonlyPaths")?;
            self.plan.push(Operation::ReadOnly { path });
        }
        if self.spec.root().as_ref().and_then(|root| root.readonly()) == Some(true) {
            self.plan.push(Operation::RootReadOnly);
        }
        Ok(())
    }

    fn limits(&mut self) -> Result<()> {
        for limit in self.process.rlimits().iter().flatten() {
            let resource = resource_number(limit.typ());
            let (soft, hard) = (limit.soft(), limit.hard());
            if soft > hard {
                let subject = format!("rlimit {}", crate::spec::flags::Resource(resource));
                return Err(Error::new(ErrorKind::InvalidInput, "set", subject)
                    .cause(format!("the soft limit {soft} is above the hard limit {hard}"))
                    .fix("raise the hard one, or lower the soft one"));
            }
            if limit.typ() != PosixRlimitType::RlimitNofile || soft >= FILES_OF_A_PLAN {
                self.plan.push(Operation::Limit { resource, soft, hard });
            } else if hard >= FILES_OF_A_PLAN {
                // Raised while privileged, and lowered by `limit_files`.
                self.plan.push(Operation::Limit { resource, soft: FILES_OF_A_PLAN, hard });
            }
        }
        if let Some(adjustment) = self.process.oom_score_adj() {
            let path = c"/proc/self/oom_score_adj".into();
            let contents = adjustment.to_string().into_bytes();
            self.plan.push(Operation::Write { path, contents });
        }
        Ok(())
    }

    /// A limit of open files that the plan itself would not keep: as soon as it opens no more.
    fn limit_files(&mut self) {
        for limit in self.process.rlimits().iter().flatten() {
            let (resource, soft, hard) = (resource_number(limit.typ()), limit.soft(), limit.hard());
            if limit.typ() == PosixRlimitType::RlimitNofile && soft < FILES_OF_A_PLAN {
                self.plan.push(Operation::Limit { resource, soft, hard });
            }
        }
    }

    fn streams(&mut self) {
        self.plan.push(Operation::Session);
        for to in 0..3 {
            let from = self.plan.input(Input::Stdio(to));
            self.plan.push(Operation::Stdio { from, to });
        }
        self.plan.push(Operation::CloseOnExec);
    }

    fn identity(&mut self) -> Result<()> {
        let sets = capability::Sets::of(self.process.capabilities().as_ref());
        let user = self.process.user();
        let cwd = self.process.cwd().to_string_lossy().into_owned();
        let path = absolute(&cwd, "process.cwd")?;
        // As docker and runc: a working directory that is missing is made.
        self.make_target(&cwd, true)?;
        if self.process.no_new_privileges() != Some(true) {
            // Without no_new_privs a filter takes CAP_SYS_ADMIN, which is about to go.
            self.seccomp();
        }
        self.plan.push(Operation::Bounding { keep: sets.bounding });
        self.plan.push(Operation::User {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
        });
        self.plan.push(Operation::Umask { mask: user.umask().unwrap_or(0o022) });
        self.plan.push(Operation::WorkingDirectory { path });
        self.limit_files();
        self.plan.push(Operation::Capabilities {
            effective: sets.effective,
            permitted: sets.permitted,
            inheritable: sets.inheritable,
            ambient: sets.ambient,
        });
        Ok(())
    }

    fn command(&mut self) -> Result<()> {
        let exec = self.exec()?;
        if let (true, Operation::Exec { paths, .. }) = (self.around.wait_for_go, &exec) {
            let (command, paths) = (self.command_name(), paths.clone());
            let go = self.plan.input(Input::Go);
            self.plan.push(Operation::Find { command, paths });
            self.plan.push(Operation::Send);
            self.plan.push(Operation::Await { go });
        }
        if self.process.no_new_privileges() == Some(true) {
            self.plan.push(Operation::NoNewPrivileges);
            self.seccomp();
        }
        self.plan.push(exec);
        Ok(())
    }

    fn seccomp(&mut self) {
        if let Some(filter) = self.around.seccomp {
            let (filter, flags) = (filter.to_vec(), self.around.seccomp_flags);
            self.plan.push(Operation::Seccomp { filter, flags });
        }
    }

    fn command_name(&self) -> String {
        let args = self.process.args().as_deref().unwrap_or_default();
        args.first().cloned().unwrap_or_default()
    }

    fn exec(&self) -> Result<Operation> {
        let strings = |list: &[String], field| {
            list.iter().map(|text| c_string(text, field)).collect::<Result<Vec<_>>>()
        };
        let args = self.process.args().as_deref().unwrap_or_default();
        let env = self.process.env().as_deref().unwrap_or_default();
        let Some(command) = args.first().filter(|command| !command.is_empty()) else {
            return Err(Error::new(ErrorKind::InvalidInput, "execute", "an empty command")
                .fix("give a command, or an image that has one"));
        };
        let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
        let paths = if command.contains('/') {
            vec![c_string(command, "process.args")?]
        } else {
            // Directories that are not absolute would depend on the working directory, as Go's
            // LookPath refuses them.
            path.unwrap_or(DEFAULT_PATH)
                .split(':')
                .filter(|dir| dir.starts_with('/'))
                .map(|dir| c_string(&format!("{dir}/{command}"), "process.args"))
                .collect::<Result<_>>()?
        };
        let (argv, envp) = (strings(args, "process.args")?, strings(env, "process.env")?);
        Ok(Operation::Exec { paths, argv, envp })
    }
}

/// More than a plan ever has open: what it is given, and what its operations open.
const FILES_OF_A_PLAN: u64 = 2 * crate::sys::protocol::MAX_FDS as u64;

/// The kernel's `RLIMIT_*`, in whose order oci-spec lists its own; a test compares them.
fn resource_number(resource: PosixRlimitType) -> u32 {
    resource as u32
}

fn new_namespace(kind: LinuxNamespaceType) -> Result<libc::c_int> {
    Ok(match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        other => return Err(unsupported(&format!("linux.namespaces: {other}"))),
    })
}

fn absolute(path: &str, field: &'static str) -> Result<CString> {
    if !Path::new(path).is_absolute() {
        return Err(Error::new(ErrorKind::InvalidInput, "use", format!("{path:?} in {field}"))
            .cause("it is not an absolute path")
            .fix("begin it with /"));
    }
    c_string(path, field)
}

fn c_string(text: &str, field: &'static str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        Error::new(ErrorKind::InvalidInput, "use", format!("{text:?} in {field}"))
            .cause("it contains a NUL byte")
    })
}

fn missing(field: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, "compile", "the runtime spec")
        .cause(format!("it has no field {field}"))
}

fn unsupported(field: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "honour", format!("{field} of the runtime spec"))
        .cause("skep does not implement it yet")
        .fix("leave it out")
}

#[cfg(test)]
mod tests;
