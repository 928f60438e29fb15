//! What every contender runs: a root directory with one static busybox, and OCI bundles around it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Every x86_64 system call but those that docker's default profile withholds.
const ALLOWED_SYSCALLS: &str = include_str!("allowed-syscalls.txt");

/// Docker's default capabilities.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

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

const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Makes a root file system of a static busybox below `scratch` and returns its path.
pub(crate) fn busybox_root(scratch: &Path) -> io::Result<PathBuf> {
    let root = scratch.join("root");
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| io::Error::other("busybox-static is not installed"))?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    for applet in ["true", "sh", "sleep"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(root)
}

/// Packs `root` as a tar archive below `scratch` and returns its path.
pub(crate) fn archive(scratch: &Path, root: &Path) -> io::Result<PathBuf> {
    let path = scratch.join("root.tar");
    let status = Command::new("tar").arg("-cf").arg(&path).arg("-C").arg(root).arg(".").status()?;
    if !status.success() {
        return Err(io::Error::other("tar could not pack the root file system"));
    }
    Ok(path)
}

/// Makes an OCI bundle `scratch/name` that runs `args` in `root` as docker would.
///
/// `cgroup`: the path of a group with the limits of the benchmark (256 MiB, half a cpu, 64
/// processes); `None` for no limits.
pub(crate) fn bundle(
    scratch: &Path,
    name: &str,
    root: &Path,
    args: &[&str],
    cgroup: Option<&str>,
) -> io::Result<PathBuf> {
    let bundle = scratch.join(name);
    fs::create_dir_all(&bundle)?;
    let config = serde_json::to_vec_pretty(&config(root, args, cgroup))?;
    fs::write(bundle.join("config.json"), config)?;
    Ok(bundle)
}

fn config(root: &Path, args: &[&str], cgroup: Option<&str>) -> Value {
    let namespaces =
        ["pid", "mount", "network", "uts", "ipc", "cgroup"].map(|kind| json!({ "type": kind }));
    let mut linux = json!({
        "namespaces": namespaces,
        "maskedPaths": MASKED,
        "readonlyPaths": READ_ONLY,
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{
                "names": ALLOWED_SYSCALLS.lines().collect::<Vec<_>>(),
                "action": "SCMP_ACT_ALLOW",
            }],
        },
    });
    if let Some(path) = cgroup {
        linux["cgroupsPath"] = json!(path);
        linux["resources"] = json!({
            "memory": { "limit": 268_435_456 },
            "cpu": { "quota": 50_000, "period": 100_000 },
            "pids": { "limit": 64 },
        });
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
            },
        },
        "root": { "path": root, "readonly": false },
        "hostname": "skep",
        "mounts": mounts(),
        "linux": linux,
    })
}

fn mounts() -> Value {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": kind, "options": options });
    json!([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stand_in_the_config_only_when_asked_for() {
        let limited = config(Path::new("/r"), &["/bin/true"], Some("/web"));
        assert_eq!(limited["linux"]["resources"]["pids"]["limit"], 64);
        let free = config(Path::new("/r"), &["/bin/true"], None);
        assert_eq!(free["linux"]["resources"], Value::Null);
    }

    #[test]
    fn the_profile_withholds_what_docker_does() {
        let allowed: Vec<&str> = ALLOWED_SYSCALLS.lines().collect();
        for name in ["mount", "bpf", "setns", "keyctl", "io_uring_setup", "unshare"] {
            assert!(!allowed.contains(&name), "{name}");
        }
        assert!(allowed.contains(&"execve"));
    }
}
