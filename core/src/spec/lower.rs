//! From a container's configuration and its image's to an OCI runtime spec, with docker's defaults.
//!
//! In: [`ContainerConfig`], [`ImageDefaults`], the resolved [`User`]. Out: a complete spec, from
//! which a plan is compiled. Pure: nothing here looks at the host.
//!
//! Source: <https://github.com/moby/moby/blob/master/daemon/pkg/oci/defaults.go>

use std::collections::HashSet;

use oci_spec::runtime::{
    Capability, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, Mount as SpecMount,
    PosixRlimit, PosixRlimitBuilder, Process, Root, Spec, User as SpecUser,
};

use super::capability;
use super::config::{ContainerConfig, ImageDefaults, Mount, MountKind, Rlimit, User};
use crate::{Error, ErrorKind, Result};

/// Lowers one container's configuration.
///
/// # Errors
/// `InvalidInput` if there is no command, or for a name of an environment variable that is none.
pub(crate) fn lower(
    id: &str,
    config: &ContainerConfig,
    image: &ImageDefaults,
    user: &User,
) -> Result<Spec> {
    let hostname = config.hostname.clone().unwrap_or_else(|| id.chars().take(12).collect());
    let mut spec = Spec::default();
    for mount in &config.mounts {
        absolute(&mount.destination.to_string_lossy(), "mount on")?;
    }
    spec.set_process(Some(process(config, image, user, &hostname)?));
    spec.set_linux(Some(linux()));
    spec.set_mounts(Some(mounts(&config.mounts)));
    spec.set_hostname(Some(hostname));
    let mut root = Root::default();
    root.set_readonly(Some(config.read_only));
    spec.set_root(Some(root));
    Ok(spec)
}

fn process(
    config: &ContainerConfig,
    image: &ImageDefaults,
    user: &User,
    hostname: &str,
) -> Result<Process> {
    let mut process = Process::default();
    let cwd = config.working_directory.as_ref().or(image.working_directory.as_ref());
    let cwd = cwd.filter(|cwd| !cwd.is_empty()).map_or("/", String::as_str);
    if let Some(given) = config.working_directory.as_ref().filter(|given| !given.is_empty()) {
        absolute(given, "start in directory")?;
    }
    process.set_cwd(cwd.into());
    process.set_args(Some(command(config, image)?));
    process.set_env(Some(environment(config, image, user, hostname)?));
    process.set_terminal(Some(false));
    process.set_no_new_privileges(Some(!config.allow_new_privileges));
    process.set_capabilities(Some(capabilities(user)));
    process.set_rlimits(Some(config.rlimits.iter().map(rlimit).collect::<Result<_>>()?));
    let mut spec_user = SpecUser::default();
    spec_user.set_uid(user.uid);
    spec_user.set_gid(user.gid);
    // The primary group is among them, as in docker: a process that changes its group would be rid
    // of what a file's mode denies to that group otherwise (CVE-2022-36109).
    let others = user.groups.iter().copied().filter(|gid| *gid != user.gid);
    spec_user.set_additional_gids(Some(std::iter::once(user.gid).chain(others).collect()));
    process.set_user(spec_user);
    Ok(process)
}

/// Here, in the caller's words: the compiler of plans would name the spec's field.
fn absolute(path: &str, operation: &'static str) -> Result<()> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(Error::invalid_input(operation, format!("{path:?}"))
        .cause("it is not an absolute path")
        .fix("begin it with /"))
}

fn rlimit(limit: &Rlimit) -> Result<PosixRlimit> {
    let built = PosixRlimitBuilder::default().typ(limit.resource).soft(limit.soft).hard(limit.hard);
    built
        .build()
        .map_err(|error| Error::new(ErrorKind::InvalidInput, "set", "an rlimit").with_source(error))
}

/// Docker's table: arguments replace the image's command; an entrypoint replaces both.
fn command(config: &ContainerConfig, image: &ImageDefaults) -> Result<Vec<String>> {
    let (mut command, default_args) = match &config.entrypoint {
        Some(entrypoint) => (entrypoint.clone(), [].as_slice()),
        None => (image.entrypoint.clone(), image.cmd.as_slice()),
    };
    let args = if config.args.is_empty() { default_args } else { &config.args };
    command.extend_from_slice(args);
    if command.is_empty() {
        return Err(Error::new(ErrorKind::InvalidInput, "start", "a container without a command")
            .cause("neither the image nor the caller names one")
            .fix("give args"));
    }
    // Here, before one of them is looked for in the PATH: under the name that the caller gave it.
    match command.iter().find(|argument| argument.contains('\0')) {
        Some(argument) => Err(Error::invalid_input("use argument", format!("{argument:?}"))
            .cause("it contains a NUL byte")
            .fix("leave that out")),
        None => Ok(command),
    }
}

fn environment(
    config: &ContainerConfig,
    image: &ImageDefaults,
    user: &User,
    hostname: &str,
) -> Result<Vec<String>> {
    let mut list: Vec<(&str, &str)> = vec![
        ("PATH", crate::spec::config::DEFAULT_PATH),
        ("HOSTNAME", hostname),
        ("HOME", user.home.as_deref().unwrap_or("/")),
    ];
    let mut set = |name, value| match list.iter_mut().find(|(known, _)| *known == name) {
        Some(entry) => entry.1 = value,
        None => list.push((name, value)),
    };
    for variable in &image.env {
        // A name without a value in an image is an empty variable, as docker has it.
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        set(name, value);
    }
    for (name, value) in &config.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::new(ErrorKind::InvalidInput, "set", format!("variable {name:?}"))
                .cause("a name is not empty and has no '=', and neither part has a NUL byte")
                .fix("rename it, or encode its value"));
        }
        set(name, value);
    }
    Ok(list.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Docker's default set. A user other than root has it as a bound only, which is what an exec by
/// that user would leave.
fn capabilities(user: &User) -> LinuxCapabilities {
    let all: HashSet<Capability> = capability::DEFAULT.into_iter().collect();
    let held = if user.uid == 0 { all.clone() } else { HashSet::new() };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(all));
    sets.set_effective(Some(held.clone()));
    sets.set_permitted(Some(held));
    sets.set_inheritable(Some(HashSet::new()));
    sets.set_ambient(Some(HashSet::new()));
    sets
}

fn linux() -> Linux {
    use LinuxNamespaceType as N;
    let mut linux = Linux::default();
    let namespaces = [N::Pid, N::Mount, N::Network, N::Uts, N::Ipc, N::Cgroup];
    linux.set_namespaces(Some(
        namespaces
            .into_iter()
            .map(|kind| {
                let mut namespace = LinuxNamespace::default();
                namespace.set_typ(kind);
                namespace
            })
            .collect(),
    ));
    let strings = |list: &[&str]| Some(list.iter().map(|path| (*path).into()).collect());
    linux.set_masked_paths(strings(&MASKED));
    linux.set_readonly_paths(strings(&READ_ONLY));
    linux.set_resources(None);
    linux
}

/// Docker's.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Docker's.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Docker's mounts, then the caller's. /dev is `nodev`: a container may make device nodes, as with
/// docker, and cannot open any but those bound to it; that is what docker's device control group
/// does, without needing one.
fn mounts(asked: &[Mount]) -> Vec<SpecMount> {
    let defaults: [(&str, &str, &[&str]); 6] = [
        ("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ("/dev", "tmpfs", &["nosuid", "nodev", "noexec", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    let is_default = |mount: &&Mount| {
        defaults.iter().any(|(destination, ..)| mount.destination.as_os_str() == *destination)
    };
    let (replacing, more): (Vec<&Mount>, Vec<&Mount>) = asked.iter().partition(is_default);
    let mut mounts = Vec::with_capacity(defaults.len() + more.len());
    for (destination, kind, options) in defaults {
        let mut own = replacing.iter().filter(|own| own.destination.as_os_str() == destination);
        // In the default's place: a later /dev would cover what is mounted below it.
        match own.next_back() {
            Some(own) => mounts.push(asked_mount(own)),
            None => mounts.push(default_mount(destination, kind, options)),
        }
    }
    mounts.extend(more.into_iter().map(asked_mount));
    mounts
}

fn default_mount(destination: &str, kind: &str, options: &[&str]) -> SpecMount {
    let mut mount = SpecMount::default();
    mount.set_destination(destination.into());
    mount.set_typ(Some(kind.into()));
    mount.set_source(Some(kind.into()));
    mount.set_options(Some(options.iter().map(|option| (*option).into()).collect()));
    mount
}

fn asked_mount(asked: &Mount) -> SpecMount {
    let mut mount = SpecMount::default();
    mount.set_destination(asked.destination.clone());
    let mut options: Vec<String> = match &asked.kind {
        MountKind::Bind { source } => {
            mount.set_typ(Some("bind".into()));
            mount.set_source(Some(source.clone()));
            vec!["rbind".into(), "nodev".into()]
        }
        MountKind::Tmpfs { size } => {
            mount.set_typ(Some("tmpfs".into()));
            mount.set_source(Some("tmpfs".into()));
            let fixed = ["nosuid", "nodev", "noexec", "mode=1777"].map(String::from);
            fixed.into_iter().chain(size.map(|size| format!("size={size}"))).collect()
        }
    };
    options.push(if asked.read_only { "ro".into() } else { "rw".into() });
    mount.set_options(Some(options));
    mount
}
