//! Bundles on a busybox root, and the runtime that runs them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program under test: that of `SKEP_OCI`, else built once.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("SKEP_OCI") {
        Some(path) => path.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let build = ["build", "--quiet", "--package", "skep-oci"];
    let status = Command::new(env!("CARGO")).args(build).status().expect("cargo");
    assert!(status.success(), "skep-oci does not build");
    // target/debug/deps/oci-1234 -> target/debug/skep-oci
    let test = std::env::current_exe().expect("this test's program");
    test.ancestors().nth(2).expect("two directories above a test").join("skep-oci")
}

/// A temporary directory with a busybox root, a `--root`, and a control group of its own.
pub struct Sandbox {
    directory: TempDir,
    /// The last component, random, of its groups' path.
    name: String,
}

const APPLETS: [&str; 10] =
    ["sh", "cat", "echo", "true", "sleep", "id", "ls", "mknod", "grep", "pwd"];

impl Sandbox {
    pub fn new() -> Sandbox {
        let directory =
            tempfile::Builder::new().prefix("skep-oci-").tempdir().expect("a directory");
        let name = directory.path().file_name().expect("a name").to_string_lossy().into_owned();
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).expect("a root");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("Debian's busybox-static");
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).expect("a link");
        }
        Sandbox { directory, name }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// A control group below which every one of this sandbox is.
    pub fn group(&self) -> &str {
        &self.name
    }

    /// Makes the bundle `name` that runs `args`, after `change` has had its say.
    pub fn bundle(&self, name: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> PathBuf {
        let mut config = config(args);
        config["root"]["path"] = json!(self.rootfs());
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", self.name));
        change(&mut config);
        let bundle = self.path().join(name);
        fs::create_dir_all(&bundle).expect("a bundle");
        fs::write(bundle.join("config.json"), config.to_string()).expect("config.json");
        bundle
    }

    /// `skep-oci` with this sandbox's `--root`.
    pub fn runtime(&self) -> Command {
        let mut command = Command::new(program());
        command.arg("--root").arg(self.path().join("state")).stdin(Stdio::null());
        command
    }

    /// Runs `skep-oci ARGS` to its end.
    pub fn oci(&self, args: &[&str]) -> Output {
        self.runtime().args(args).output().expect("skep-oci")
    }

    /// Runs `skep-oci ARGS`, which must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.oci(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text")
    }

    /// Runs `skep-oci ARGS`, which must fail; what it says.
    pub fn fails(&self, args: &[&str]) -> String {
        let out = self.oci(args);
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        String::from_utf8(out.stderr).expect("text").trim_end().to_owned()
    }

    /// Creates `id` from its bundle of the same name, with the standard streams given.
    pub fn create(&self, id: &str, stdin: Stdio, stdout: Stdio) {
        let mut command = self.runtime();
        command.arg("create").arg("--bundle").arg(self.path().join(id));
        command.arg("--pid-file").arg(self.path().join("pid")).arg(id);
        command.stdin(stdin).stdout(stdout);
        assert!(command.status().expect("skep-oci").success());
    }

    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).expect("JSON")
    }

    /// The container's first process.
    pub fn init(&self, id: &str) -> OwnedFd {
        let pid = self.state(id)["pid"].as_i64().expect("a number");
        let pid = Pid::from_raw(pid as i32).expect("a pid");
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a living process")
    }

    /// The directories of this sandbox's control groups, in all hierarchies.
    pub fn groups(&self) -> Vec<PathBuf> {
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
        let places = hierarchies.map(|entry| entry.path()).chain([top.to_path_buf()]);
        places.map(|place| place.join(&self.name)).filter(|group| group.is_dir()).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A failed test may leave processes, podman's conmon among them; these are all in its groups.
        let _ = skep::cgroup::remove(&self.groups());
        let left = fs::read_dir(self.path().join("state")).into_iter().flatten().flatten();
        for entry in left {
            self.oci(&["delete", "--force", &entry.file_name().to_string_lossy()]);
        }
    }
}

/// Waits for the end of a process; a test that hangs says so.
pub fn await_end(process: &OwnedFd) {
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut poll = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut poll, Some(&patience)), Ok(1), "it does not end");
}

/// As `runc spec` writes it, without a terminal.
fn config(args: &[&str]) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "skep",
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "annotations": {"org.example.skep": "yes"},
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/sys"],
        },
    })
}
