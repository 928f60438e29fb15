//! From create to delete, without a manager above.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use crate::bundle::{Sandbox, await_end};

#[test]
fn a_container_is_created_started_stopped_and_deleted() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c1", &["sh", "-c", "echo up; exec cat"], |_| ());
    let (mut out, their_out) = std::io::pipe().unwrap();
    let (their_in, keep_open) = std::io::pipe().unwrap();
    sandbox.create("c1", their_in.into(), their_out.into());

    let state = sandbox.state("c1");
    assert_eq!(state["status"], "created");
    assert_eq!(state["ociVersion"], "1.0.2");
    assert_eq!(state["id"], "c1");
    assert_eq!(state["bundle"], json!(bundle));
    assert_eq!(state["rootfs"], json!(sandbox.rootfs()));
    assert_eq!(state["annotations"], json!({"org.example.skep": "yes"}));
    let pid = fs::read_to_string(sandbox.path().join("pid")).unwrap();
    assert_eq!(state["pid"].to_string(), pid);

    let init = sandbox.init("c1");
    sandbox.ok(&["start", "c1"]);
    assert_eq!(sandbox.state("c1")["status"], "running");
    // start(1) does not wait for the exec.
    out.read_exact(&mut [0; 3]).unwrap();
    let name = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(name.ends_with("bin/busybox"), "{name:?}");

    drop(keep_open);
    await_end(&init);
    let state = sandbox.state("c1");
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    sandbox.ok(&["delete", "c1"]);
    assert_eq!(sandbox.fails(&["state", "c1"]), "skep-oci: container does not exist: c1");
    let groups = sandbox.groups();
    assert!(groups.iter().all(|group| !group.join("c1").exists()), "{groups:?}");
}

#[test]
fn nothing_runs_before_the_start() {
    let sandbox = Sandbox::new();
    let script = ["sh", "-c", "echo started"];
    sandbox.bundle("c1", &script, |_| ());
    let (mut out, their_out) = std::io::pipe().unwrap();
    sandbox.create("c1", Stdio::null(), their_out.into());
    let init = sandbox.init("c1");
    sandbox.ok(&["delete", "c1"]);
    await_end(&init);
    let mut said = String::new();
    out.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn a_killed_container_is_stopped() {
    for (signal, created_only) in [("KILL", false), ("SIGKILL", true), ("9", false)] {
        let sandbox = Sandbox::new();
        sandbox.bundle("c1", &["sleep", "1000"], |_| ());
        sandbox.create("c1", Stdio::null(), Stdio::null());
        let init = sandbox.init("c1");
        if !created_only {
            sandbox.ok(&["start", "c1"]);
        }
        sandbox.ok(&["kill", "c1", signal]);
        await_end(&init);
        assert_eq!(sandbox.state("c1")["status"], "stopped");
        assert_eq!(sandbox.fails(&["kill", "c1"]), "skep-oci: container not running");
        sandbox.ok(&["kill", "--all", "c1", "KILL"]);
        let refused = "skep-oci: cannot start a container that has stopped";
        assert_eq!(sandbox.fails(&["start", "c1"]), refused);
        sandbox.ok(&["delete", "c1"]);
    }
}

#[test]
fn all_processes_can_be_signalled_at_once() {
    let sandbox = Sandbox::new();
    // Without a pid namespace, the end of the first process ends no other.
    let script = "sleep 1000 & echo $!; trap 'exit 4' TERM; wait; exit 9";
    sandbox.bundle("c1", &["sh", "-c", script], |config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
        config["mounts"][0]["options"] = json!(["ro"]);
    });
    let (mut out, their_out) = std::io::pipe().unwrap();
    sandbox.create("c1", Stdio::null(), their_out.into());
    let init = sandbox.init("c1");
    sandbox.ok(&["start", "c1"]);
    let mut second = String::new();
    while !second.ends_with('\n') {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        second.push(char::from(byte[0]));
    }
    let second = rustix::process::Pid::from_raw(second.trim_end().parse().unwrap()).unwrap();
    let second = rustix::process::pidfd_open(second, rustix::process::PidfdFlags::empty()).unwrap();
    sandbox.ok(&["kill", "--all", "c1", "TERM"]);
    await_end(&init);
    await_end(&second);
    sandbox.ok(&["delete", "c1"]);
}

#[test]
fn what_a_killed_create_leaves_can_be_deleted() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c1", &["true"], |_| ());
    // As if it had been killed after the start of the first process and before it wrote that down.
    let state = sandbox.path().join("state/c1");
    sandbox.create("c1", Stdio::null(), Stdio::null());
    let init = sandbox.init("c1");
    let text = fs::read_to_string(state.join("state.json")).unwrap();
    let mut broken: serde_json::Value = serde_json::from_str(&text).unwrap();
    broken["init"] = json!(null);
    fs::write(state.join("state.json"), broken.to_string()).unwrap();

    let text = "skep-oci: the creation of the container was broken off; delete it";
    assert_eq!(sandbox.state("c1")["status"], "creating");
    assert_eq!(sandbox.fails(&["start", "c1"]), text);
    sandbox.ok(&["delete", "c1"]);
    await_end(&init);
    // Nothing is in the way of another attempt.
    sandbox.ok(&["run", "-b", &bundle.to_string_lossy(), "c1"]);
}

#[test]
fn a_tmpfs_that_would_copy_up_nothing_is_mounted() {
    let sandbox = Sandbox::new();
    let tmpfs = |destination: &str| {
        json!({"destination": destination, "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "tmpcopyup"]})
    };
    let script = "grep -c '^[^ ]* /empty tmpfs' /proc/mounts";
    let bundle = sandbox.bundle("c1", &["sh", "-c", script], |config| {
        config["mounts"].as_array_mut().unwrap().push(tmpfs("/empty"));
    });
    assert_eq!(sandbox.ok(&["run", "-b", &bundle.to_string_lossy(), "c1"]), "1\n");
    let bundle = sandbox.bundle("c2", &["true"], |config| {
        config["mounts"].as_array_mut().unwrap().push(tmpfs("/bin"));
    });
    let said = sandbox.fails(&["run", "-b", &bundle.to_string_lossy(), "c2"]);
    let text = "skep-oci: cannot use mount option tmpcopyup for /bin: skep does not implement it \
                yet; leave it out";
    assert_eq!(said, text);
}

#[test]
fn run_hands_on_the_streams_and_the_exit_code() {
    let sandbox = Sandbox::new();
    let script = "pwd; id; ls /proc/self/fd; cat; echo bad >&2; exit 7";
    sandbox.bundle("c1", &["sh", "-c", script], |_| ());
    let bundle = sandbox.path().join("c1");
    let input = sandbox.path().join("input");
    fs::write(&input, "from outside\n").unwrap();
    let mut command = sandbox.runtime();
    command.args(["run", "-b"]).arg(&bundle).arg("c1").stdin(fs::File::open(input).unwrap());
    let out = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "bad\n");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    // 3 is ls's own look at the directory.
    assert_eq!(said, "/\nuid=0 gid=0\n0\n1\n2\n3\nfrom outside\n");
    assert_eq!(out.status.code(), Some(7));
    assert!(!sandbox.path().join("state/c1").exists());
}

#[test]
fn run_hands_on_signals() {
    let sandbox = Sandbox::new();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    sandbox.bundle("c1", &["sh", "-c", script], |_| ());
    let (mut out, their_out) = std::io::pipe().unwrap();
    let mut command = sandbox.runtime();
    command.args(["run", "-b"]).arg(sandbox.path().join("c1")).arg("c1").stdout(their_out);
    let mut child = command.spawn().unwrap();
    drop(command);
    out.read_exact(&mut [0; 6]).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn limits_are_those_of_the_spec() {
    let sandbox = Sandbox::new();
    sandbox.bundle("c1", &["true"], |config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 33554432});
        config["linux"]["resources"]["pids"] = json!({"limit": 20});
    });
    sandbox.create("c1", Stdio::null(), Stdio::null());
    let pid = sandbox.state("c1")["pid"].to_string();
    let read = |file: &str| {
        let groups = sandbox.groups();
        let found =
            groups.iter().find_map(|group| fs::read_to_string(group.join("c1").join(file)).ok());
        found.map(|text| text.trim_end().to_owned())
    };
    assert_eq!(read("memory.max").or(read("memory.limit_in_bytes")).as_deref(), Some("33554432"));
    assert_eq!(read("pids.max").as_deref(), Some("20"));
    assert_eq!(read("cgroup.procs"), Some(pid));
}

#[test]
fn device_nodes_that_a_container_makes_cannot_be_opened() {
    let sandbox = Sandbox::new();
    let script = "mknod /node c 1 3 && echo x > /dev/null && echo made; echo x > /node";
    sandbox.bundle("c1", &["sh", "-c", script], |config| {
        let caps = json!(["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
        config["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
        config["root"]["readonly"] = json!(false);
    });
    let bundle = sandbox.path().join("c1");
    let out = sandbox.oci(&["run", "-b", &bundle.to_string_lossy(), "c1"]);
    assert_eq!(String::from_utf8_lossy(&out.stdout), "made\n");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(said, "sh: can't create /node: Permission denied\n");
}

#[test]
fn a_bind_needs_no_option_and_its_source_is_relative_to_the_bundle() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c1", &["cat", "/data/file"], |config| {
        let bind = json!({"destination": "/data", "type": "bind", "source": "data"});
        config["mounts"].as_array_mut().unwrap().push(bind);
        config["root"]["readonly"] = json!(false);
    });
    fs::create_dir(bundle.join("data")).unwrap();
    fs::write(bundle.join("data/file"), "there\n").unwrap();
    assert_eq!(sandbox.ok(&["run", "-b", &bundle.to_string_lossy(), "c1"]), "there\n");

    let bundle = sandbox.bundle("c2", &["true"], |config| {
        let bind = json!({"destination": "/data", "options": ["bind"]});
        config["mounts"].as_array_mut().unwrap().push(bind);
    });
    let said = sandbox.fails(&["run", "-b", &bundle.to_string_lossy(), "c2"]);
    assert_eq!(said, "skep-oci: cannot bind to /data: the mount has no source");
}

#[test]
fn namespaces_are_joined_by_their_paths() {
    let sandbox = Sandbox::new();
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let script = "ls -l /proc/self/ns/net | grep -o 'net:.*'";
    let run = |name: &str, path: Option<&str>| {
        sandbox.bundle(name, &["sh", "-c", script], |config| {
            if let Some(path) = path {
                config["linux"]["namespaces"][1]["path"] = json!(path);
            }
        });
        let bundle = sandbox.path().join(name);
        sandbox.ok(&["run", "-b", &bundle.to_string_lossy(), name]).trim_end().to_owned()
    };
    let own = own.to_string_lossy();
    assert_eq!(run("c1", Some("/proc/self/ns/net")), own);
    assert_ne!(run("c2", None), own);
}
