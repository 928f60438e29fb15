//! What the kernel is asked, in order, to turn a fresh clone of the keeper into a container.
//!
//! A [`Plan`] is a flat list of [`Operation`]s. `compile.rs` makes it from an OCI runtime spec, as a
//! pure function; `encode.rs` writes it down as system calls; the keeper carries them out in the new
//! process. Printed, it reads like an strace of what is to come;
//! [`Command::plan`](crate::Command::plan) gives a container's.
//!
//! # The order, and why
//!
//! 1. **Join** the control groups first: all that follows is accounted and limited there, and a
//!    cgroup namespace is rooted where its maker stands. (On cgroup v2 the clone itself does it.)
//! 2. **Enter and unshare** the namespaces, all new ones in one call. The clone itself brings the pid
//!    namespace, which takes a fork, and the network namespace with its loopback up, which the
//!    keeper makes ahead while it is idle; the others are made here, in parallel with other starts.
//! 3. **Names**, which need nothing else.
//! 4. **Copy the device nodes** of the keeper's own root, then **pivot** into the root mount, which
//!    came as a file descriptor attached nowhere, and drop the old root. From here on no path can lead outside: every later path is the container's own.
//! 5. **Mounts** in the order of the spec, each made detached and then attached to a target that
//!    was opened without following magic links.
//! 6. **Devices**, then **masks and read-only paths** over what the mounts brought, then the root
//!    itself read-only: nothing has to be created any more.
//! 7. **Limits, session, standard streams**: while still privileged, as raising a limit may need it.
//! 8. **Bounding set**, while CAP_SETPCAP is there; then the **user**; then the **working directory**
//!    as that user (a directory only root may enter is refused); then the **capabilities** that are
//!    left, because changing the user changes them.
//! 9. **Find, send and await**, where somebody wants to look at or hold the finished container.
//! 10. **no_new_privs, then seccomp**, last: the filter need only allow what comes after it, which
//!     is the **exec**. Where no_new_privs is not asked for, a filter takes CAP_SYS_ADMIN: then it is
//!     loaded before step 8, and has to allow what comes from there on, as with runc.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

pub use crate::spec::mount::FsOption;

/// A place for a file descriptor in a plan: given at the start, or opened on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub(super) u16);

/// The file descriptor that a plan expects in a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A control group's file of members, the n-th of the group's.
    Cgroup(usize),
    /// The namespace at this path.
    Namespace(PathBuf),
    /// The detached mount of the root file system.
    Root,
    /// A detached copy of what mount n of the spec binds.
    Bind(usize),
    /// A detached copy of layer n of a root, the lowest first.
    Layer(usize),
    /// A detached copy of the directory that has a root's `upper` and `work`.
    Workspace,
    /// What becomes file descriptor n of the command.
    Stdio(i32),
    /// Where a byte lets the plan go on.
    Go,
}

/// One step of a plan. The fields are the arguments of the calls that each variant's line shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Operation {
    /// `write(group, "0")`
    Join { group: Slot },
    /// `setns(namespace, 0)`
    Enter { namespace: Slot, path: PathBuf },
    /// `unshare(flags)`
    Unshare { flags: u32 },
    /// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)`
    SessionKeyring,
    /// `sethostname(name)`
    Hostname { name: String },
    /// `setdomainname(name)`
    Domainname { name: String },
    /// `move_mount(root, "/"); pivot_root(".", "."); umount2(".", MNT_DETACH)`
    Pivot { root: Slot },
    /// `mkdir(path, mode)`, there already is well
    Directory { path: CString, mode: u32 },
    /// `open(path, O_CREAT)`, there already is well: what a single file is bound to
    File { path: CString },
    /// `symlink(target, path)`, there already is well
    Symlink { target: CString, path: CString },
    /// `openat2(target); fchdir(); mount(fs, ".", fs, attributes, options)`
    Mount { fs: CString, options: Vec<FsOption>, attributes: u64, target: CString },
    /// `move_mount(mount, target)`
    Attach { mount: Slot, target: CString },
    /// `mount("overlay", "/scratch/m", lowerdir=n:...:0,upperdir=w/upper,workdir=w/work)`
    Overlay { layers: usize },
    /// `open_tree(path, OPEN_TREE_CLONE)`, `sendmsg(status, SCM_RIGHTS)`
    SendMount { path: CString },
    /// `open_tree(keeper's null, zero, full, random, urandom, tty)`: before the pivot
    Nodes,
    /// `move_mount(node, path)`
    Node { name: &'static str, path: CString },
    /// Covers a file with an empty one, a directory with an empty one; missing is well
    Mask { path: CString },
    /// Covers a path with a read-only copy of itself; missing is well
    ReadOnly { path: CString },
    /// `mount_setattr("/", MOUNT_ATTR_RDONLY)`
    RootReadOnly,
    /// `mount("/", propagation)`
    Propagation { flags: u64 },
    /// `write(path, contents)`
    Write { path: CString, contents: Vec<u8> },
    /// `prlimit(resource, {soft, hard})`
    Limit { resource: u32, soft: u64, hard: u64 },
    /// `setsid()`
    Session,
    /// `dup3(from, to)`
    Stdio { from: Slot, to: i32 },
    /// `close_range(3, ~0, CLOSE_RANGE_CLOEXEC)`
    CloseOnExec,
    /// `umask(mask)`
    Umask { mask: u32 },
    /// `prctl(PR_CAPBSET_DROP, ...)` for each that is not kept
    Bounding { keep: u64 },
    /// `setgroups(groups); setresgid(gid); setresuid(uid)`
    User { uid: u32, gid: u32, groups: Vec<u32> },
    /// `openat2(path, RESOLVE_NO_MAGICLINKS); fchdir()`
    WorkingDirectory { path: CString },
    /// `capset(effective, permitted, inheritable)`, `prctl(PR_CAP_AMBIENT_RAISE, ...)`
    Capabilities { effective: u64, permitted: u64, inheritable: u64, ambient: u64 },
    /// `faccessat(path, X_OK)`, until one of `paths` is there: before a go, as an exec's error would
    /// come too late for whoever asked
    Find { command: String, paths: Vec<CString> },
    /// `sendto(status)`: tells the library that the plan came this far
    Send,
    /// `read(go)`: waits for a byte; end of file ends the plan
    Await { go: Slot },
    /// `prctl(PR_SET_NO_NEW_PRIVS, 1)`
    NoNewPrivileges,
    /// `seccomp(SECCOMP_SET_MODE_FILTER, filter)`: raw instructions of eight bytes each
    Seccomp { filter: Vec<u8>, flags: u32 },
    /// `execve(path, argv, envp)` of the first of `paths` that is there
    Exec { paths: Vec<CString>, argv: Vec<CString>, envp: Vec<CString> },
}

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub(super) inputs: Vec<Input>,
    pub(super) operations: Vec<Operation>,
    pub(super) clone_flags: u64,
}

impl Plan {
    /// The file descriptors to give at the start, in the order of their slots.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The steps.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Asks for one more file descriptor.
    pub(super) fn input(&mut self, input: Input) -> Slot {
        self.inputs.push(input);
        // Slot 0 is the status channel.
        Slot(self.inputs.len() as u16)
    }

    pub(super) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    fn slot_name(&self, slot: Slot) -> String {
        match self.inputs.get(usize::from(slot.0).wrapping_sub(1)) {
            Some(Input::Cgroup(n)) => format!("<cgroup {n}>"),
            Some(Input::Namespace(_)) => "<namespace>".into(),
            Some(Input::Root) => "<root>".into(),
            Some(Input::Bind(n)) => format!("<bind {n}>"),
            Some(Input::Layer(n)) => format!("<layer {n}>"),
            Some(Input::Workspace) => "<workspace>".into(),
            Some(Input::Stdio(n)) => format!("<stdio {n}>"),
            Some(Input::Go) => "<go>".into(),
            None => "<status>".into(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone({})", crate::spec::flags::Namespaces(self.clone_flags as u32))?;
        for operation in &self.operations {
            self.write_operation(f, operation)?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Plan {
    fn write_operation(&self, f: &mut fmt::Formatter<'_>, op: &Operation) -> fmt::Result {
        use crate::spec::flags::{Attributes, Capabilities, Namespaces, Resource};
        use Operation as O;
        match op {
            O::Join { group } => write!(f, "join({})", self.slot_name(*group)),
            O::Enter { path, .. } => write!(f, "setns({})", path.display()),
            O::Unshare { flags } => write!(f, "unshare({})", Namespaces(*flags)),
            O::SessionKeyring => write!(f, "keyctl(JOIN_SESSION_KEYRING)"),
            O::Hostname { name } => write!(f, "sethostname({name:?})"),
            O::Domainname { name } => write!(f, "setdomainname({name:?})"),
            O::Pivot { root } => write!(f, "pivot_root({})", self.slot_name(*root)),
            O::Directory { path, mode } => write!(f, "mkdir({path:?}, {mode:#o})"),
            O::File { path } => write!(f, "create({path:?})"),
            O::Symlink { target, path } => write!(f, "symlink({target:?}, {path:?})"),
            O::Mount { fs, options, attributes, target } => {
                write!(f, "mount({fs:?}, {target:?}, {}", Attributes(*attributes))?;
                options.iter().try_for_each(|option| write!(f, ", {option}"))?;
                write!(f, ")")
            }
            O::Attach { mount, target } => {
                write!(f, "move_mount({}, {target:?})", self.slot_name(*mount))
            }
            O::Overlay { layers } => {
                write!(f, "mount(\"overlay\", \"/scratch/m\", {layers} layers)")
            }
            O::SendMount { path } => write!(f, "send(<status>, open_tree({path:?}))"),
            O::Nodes => write!(f, "open_tree(device nodes)"),
            O::Node { name, path } => write!(f, "bind_node({name:?}, {path:?})"),
            O::Mask { path } => write!(f, "mask({path:?})"),
            O::ReadOnly { path } => write!(f, "read_only({path:?})"),
            O::RootReadOnly => write!(f, "mount_setattr(\"/\", rdonly)"),
            O::Propagation { flags } => write!(f, "mount(\"/\", {flags:#x})"),
            O::Write { path, contents } => {
                write!(f, "write({path:?}, {:?})", String::from_utf8_lossy(contents))
            }
            O::Limit { resource, soft, hard } => {
                write!(f, "prlimit({}, {soft}, {hard})", Resource(*resource))
            }
            O::Session => write!(f, "setsid()"),
            O::Stdio { from, to } => write!(f, "dup3({}, {to})", self.slot_name(*from)),
            O::CloseOnExec => write!(f, "close_range(3, ~0, cloexec)"),
            O::Umask { mask } => write!(f, "umask({mask:#05o})"),
            O::Bounding { keep } => write!(f, "bounding_set({})", Capabilities(*keep)),
            O::User { uid, gid, groups } => write!(f, "user({uid}, {gid}, {groups:?})"),
            O::WorkingDirectory { path } => write!(f, "chdir({path:?})"),
            O::Capabilities { effective, permitted, inheritable, ambient } => write!(
                f,
                "capset(effective={}, permitted={}, inheritable={}, ambient={})",
                Capabilities(*effective),
                Capabilities(*permitted),
                Capabilities(*inheritable),
                Capabilities(*ambient)
            ),
            O::Find { paths, .. } => write!(f, "access({paths:?}, X_OK)"),
            O::Send => write!(f, "send(<status>)"),
            O::Await { go } => write!(f, "await({})", self.slot_name(*go)),
            O::NoNewPrivileges => write!(f, "prctl(NO_NEW_PRIVS)"),
            O::Seccomp { filter, flags } => {
                write!(f, "seccomp({} instructions, flags={flags:#x})", filter.len() / 8)
            }
            O::Exec { paths, argv, envp } => {
                write!(f, "execve({paths:?}, {argv:?}, {} variables)", envp.len())
            }
        }
    }
}

impl Operation {
    /// What a failure of it is called: "cannot VERB SUBJECT".
    pub(super) fn described(&self) -> (&'static str, String) {
        use Operation as O;
        let text = |path: &CString| path.to_string_lossy().into_owned();
        match self {
            O::Join { .. } => ("join", "the control group".into()),
            O::Enter { path, .. } => ("enter", format!("namespace {}", path.display())),
            O::Unshare { flags } => {
                ("create", format!("namespaces {}", crate::spec::flags::Namespaces(*flags)))
            }
            O::SessionKeyring => ("join", "a new session keyring".into()),
            O::Hostname { name } => ("set", format!("host name {name}")),
            O::Domainname { name } => ("set", format!("domain name {name}")),
            O::Pivot { .. } => ("enter", "the root file system".into()),
            O::Directory { path, .. } => ("create", format!("directory {}", text(path))),
            O::File { path } => ("create", format!("file {}", text(path))),
            O::Symlink { path, .. } => ("create", format!("symbolic link {}", text(path))),
            O::Mount { fs, target, .. } => ("mount", format!("{} on {}", text(fs), text(target))),
            O::Attach { target, .. } => ("bind", format!("onto {}", text(target))),
            O::Overlay { layers } => ("mount", format!("an overlay of {layers} layers")),
            O::SendMount { .. } => ("hand over", "the root file system".into()),
            O::Nodes => ("copy", "device nodes".into()),
            O::Node { path, .. } => ("create", format!("device {}", text(path))),
            O::Mask { path } => ("mask", text(path)),
            O::ReadOnly { path } => ("make read-only", text(path)),
            O::RootReadOnly => ("make read-only", "the root file system".into()),
            O::Propagation { .. } => ("set propagation of", "the root file system".into()),
            O::Write { path, .. } => ("write", text(path)),
            O::Limit { resource, .. } => {
                ("set", format!("rlimit {}", crate::spec::flags::Resource(*resource)))
            }
            O::Session => ("create", "a session".into()),
            O::Stdio { to, .. } => ("connect", format!("file descriptor {to}")),
            O::CloseOnExec => ("mark", "file descriptors close-on-exec".into()),
            O::Umask { mask } => ("set", format!("umask {mask:#05o}")),
            O::Bounding { .. } => ("drop", "capabilities from the bounding set".into()),
            O::User { uid, gid, .. } => ("become", format!("user {uid}:{gid}")),
            O::WorkingDirectory { path } => ("enter", format!("working directory {}", text(path))),
            O::Capabilities { .. } => ("set", "capabilities".into()),
            O::Find { command, .. } => ("execute", command.clone()),
            O::Send => ("report", "the finished container".into()),
            O::Await { .. } => ("await", "the start of the container".into()),
            O::NoNewPrivileges => ("set", "no_new_privs".into()),
            O::Seccomp { .. } => ("load", "the seccomp filter".into()),
            O::Exec { argv, .. } => ("execute", argv.first().map(text).unwrap_or_default()),
        }
    }
}
