//! What conmon and containerd's shims rely on: the container becomes a child of the subreaper.

use std::process::{Command, Stdio};

use nix::sys::wait::{WaitStatus, waitpid};

use crate::bundle::Sandbox;

#[test]
fn the_subreaper_gets_the_exit_status() {
    // In a process of its own: it waits for all of its children.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["subreaper::the_subreaper_itself", "--exact", "--ignored", "--nocapture"]);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "run by the_subreaper_gets_the_exit_status in a process of its own"]
fn the_subreaper_itself() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let sandbox = Sandbox::new();
    sandbox.bundle("c1", &["sh", "-c", "exit 42"], |_| ());
    sandbox.create("c1", Stdio::null(), Stdio::null());
    let init = sandbox.state("c1")["pid"].as_i64().unwrap() as i32;
    // The keeper has done its work; it is the only other process that was made.
    let keeper = waitpid(None, None).unwrap();
    assert!(matches!(keeper, WaitStatus::Exited(pid, 0) if pid.as_raw() != init), "{keeper:?}");
    let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
    let parent = format!("PPid:\t{}", std::process::id());
    assert!(status.lines().any(|line| line == parent), "{status}");

    sandbox.ok(&["start", "c1"]);
    let ended = waitpid(None, None).unwrap();
    assert_eq!(ended, WaitStatus::Exited(nix::unistd::Pid::from_raw(init), 42));
    assert_eq!(waitpid(None, None), Err(nix::errno::Errno::ECHILD));
}
