//! A real podman with `--runtime skep-oci`.
//!
//! Each runs in a mount namespace of its own, with all its directories in the sandbox's, so that no
//! mount and no file of it is left on the host.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::bundle::{Sandbox, program};

/// Without CAP_SYS_RESOURCE podman's default limits cannot be set, whatever the runtime.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// Says why not, where podman cannot be run; then the test is over, unless skips are forbidden.
fn unavailable() -> bool {
    let found = |program: &str| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let missing = ["podman", "conmon", "unshare"].into_iter().find(|name| !found(name));
    let Some(program) = missing else { return false };
    skep_tests::skipped(&format!("{program} is not installed"));
    true
}

/// The shell commands `script`, in which `run` is `podman run` and `podman` is that of the sandbox.
fn podman(sandbox: &Sandbox, script: &str) -> Output {
    let conf = sandbox.path().join("containers.conf");
    fs::write(&conf, "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\n").unwrap();
    let at = |name: &str| sandbox.path().join(name).display().to_string();
    let podman = format!(
        "command podman --root {} --runroot {} --tmpdir {} --storage-driver vfs \
         --cgroup-manager cgroupfs --runtime {} --runtime-flag root={}",
        at("store"),
        at("run"),
        at("tmp"),
        program().display(),
        at("state")
    );
    let options = format!(
        "--cgroup-parent /{} --network ${{network:-none}} {} --log-driver none",
        sandbox.group(),
        LIMITS.join(" ")
    );
    let rootfs = at("rootfs");
    let text = format!(
        "podman() {{ {podman} \"$@\"; }}\nrun() {{ podman run {options} \"$@\"; }}\n\
         rootfs={rootfs}\n{script}"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &text]);
    command.current_dir(sandbox.path());
    command.env("CONTAINERS_CONF", conf).stdin(Stdio::null()).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_runs_and_its_exit_code_comes_back() {
    if unavailable() {
        return;
    }
    let sandbox = Sandbox::new();
    let out = podman(&sandbox, "run --rm --rootfs $rootfs sh -c 'echo out; echo err >&2; exit 7'");
    assert_eq!((said(&out.stdout), said(&out.stderr)), ("out\n".into(), "err\n".into()));
    assert_eq!(out.status.code(), Some(7));
}

#[test]
fn standard_input_reaches_the_command() {
    if unavailable() {
        return;
    }
    let sandbox = Sandbox::new();
    let out = podman(&sandbox, "echo in | run -i --rm --rootfs $rootfs cat");
    assert_eq!((said(&out.stdout), said(&out.stderr)), ("in\n".into(), String::new()));
}

#[test]
fn podman_understands_why_a_command_cannot_run() {
    if unavailable() {
        return;
    }
    let sandbox = Sandbox::new();
    let out = podman(&sandbox, "run --rm --rootfs $rootfs nosuch");
    assert_eq!(out.status.code(), Some(127), "{}", said(&out.stderr));
    fs::write(sandbox.rootfs().join("plain"), "text").unwrap();
    let out = podman(&sandbox, "run --rm --rootfs $rootfs /plain");
    assert_eq!(out.status.code(), Some(126), "{}", said(&out.stderr));
}

#[test]
fn an_imported_image_runs_as_another_user() {
    if unavailable() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "tar -C $rootfs -c . | podman import -q - skep-busybox:1 >/dev/null
        run --rm --user 1000:1000 --read-only --read-only-tmpfs=false skep-busybox:1 \
            sh -c 'id; echo > /x'";
    let out = podman(&sandbox, script);
    assert_eq!(said(&out.stdout), "uid=1000(1000) gid=1000(1000) groups=1000(1000)\n");
    assert_eq!(said(&out.stderr), "sh: can't create /x: Read-only file system\n");
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn a_detached_container_is_limited_inspected_stopped_and_removed() {
    if unavailable() {
        return;
    }
    let sandbox = Sandbox::new();
    let script = "set -e
        run -d --name skep-d --memory 32m --pids-limit 50 --rootfs $rootfs \
            sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.01; done' >/dev/null
        podman inspect skep-d --format '{{.State.Status}}'
        pid=$(podman inspect skep-d --format '{{.State.Pid}}')
        grep -c skep-oci- /proc/$pid/cgroup >/dev/null && echo grouped
        network=container:skep-d run --rm --rootfs $rootfs true
        podman stop skep-d
        podman wait skep-d
        podman inspect skep-d --format 'oom {{.State.OOMKilled}}'
        podman rm skep-d
        podman ps -aq";
    let out = podman(&sandbox, script);
    assert_eq!(said(&out.stderr), "");
    assert_eq!(said(&out.stdout), "running\ngrouped\nskep-d\n3\noom false\nskep-d\n");
}
