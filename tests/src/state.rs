//! What a process is and has, as text that can be compared: what a library must leave as it was.

use std::collections::BTreeMap;
use std::fs;

use nix::libc;

use crate::proc::{open_files, status_line};

/// All that the host contract promises not to change, of this process and of the thread that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(BTreeMap<String, String>);

/// Lines of `/proc/thread-self/status`: umask, users, session, signals, capabilities, and so on.
const STATUS: [&str; 25] = [
    "Name",
    "Umask",
    "Tgid",
    "PPid",
    "TracerPid",
    "Uid",
    "Gid",
    "Groups",
    "NSpgid",
    "NSsid",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed_list",
    "Mems_allowed_list",
];

/// Files whose text may not change.
const FILES: [&str; 7] = [
    "/proc/self/mountinfo",
    "/proc/self/oom_score_adj",
    "/proc/self/cgroup",
    "/proc/self/limits",
    "/proc/self/personality",
    "/proc/self/timerslack_ns",
    "/proc/self/coredump_filter",
];

impl State {
    /// As it is now.
    pub fn now() -> State {
        let mut all = BTreeMap::new();
        let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
        for name in STATUS {
            all.insert(name.to_owned(), status_line(&status, name).unwrap_or_default());
        }
        for file in FILES {
            all.insert(file.to_owned(), fs::read_to_string(file).unwrap_or_default());
        }
        all.insert("cwd".into(), link("/proc/self/cwd"));
        all.insert("root".into(), link("/proc/self/root"));
        all.insert("environment".into(), format!("{:?}", std::env::vars_os().collect::<Vec<_>>()));
        all.insert("files".into(), files());
        all.insert("interfaces".into(), interfaces("self"));
        all.insert("namespaces".into(), namespaces());
        all.insert("process".into(), attributes());
        State(all)
    }

    /// Fails with what is different in `self` from `before`.
    pub fn assert_same(&self, before: &State) {
        self.assert_same_but(before, &[]);
    }

    /// The same without the entries called `but`.
    pub fn assert_same_but(&self, before: &State, but: &[&str]) {
        for (name, now) in &self.0 {
            if !but.contains(&name.as_str()) {
                assert_eq!(Some(now), before.0.get(name), "{name} has changed");
            }
        }
    }
}

/// The open file descriptors of this process with their flags.
fn files() -> String {
    let describe = |(number, path): (i32, std::path::PathBuf)| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let flags = info.lines().find(|line| line.starts_with("flags:"))?.to_owned();
        Some(format!("{number} {} {flags}\n", path.display()))
    };
    open_files(std::process::id() as i32).into_iter().filter_map(describe).collect()
}

/// Names of the network interfaces of process `who`.
pub fn interfaces(who: impl std::fmt::Display) -> String {
    let table = fs::read_to_string(format!("/proc/{who}/net/dev")).expect("/proc");
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.collect::<Vec<_>>().join(" ")
}

fn namespaces() -> String {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts"];
    kinds.map(|kind| link(&format!("/proc/thread-self/ns/{kind}"))).join(" ")
}

/// What only system calls tell.
fn attributes() -> String {
    // SAFETY: no memory is involved but the local that one of them writes.
    unsafe {
        let mut subreaper = 0;
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &mut subreaper);
        let dumpable = libc::prctl(libc::PR_GET_DUMPABLE);
        let keep_capabilities = libc::prctl(libc::PR_GET_KEEPCAPS);
        let nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        let scheduler = libc::sched_getscheduler(0);
        let (group, session) = (libc::getpgrp(), libc::getsid(0));
        const KEYCTL_GET_KEYRING_ID: i32 = 0;
        const SESSION_KEYRING: i32 = -3;
        let keyring = libc::syscall(libc::SYS_keyctl, KEYCTL_GET_KEYRING_ID, SESSION_KEYRING, 0);
        format!(
            "dumpable {dumpable}, subreaper {subreaper}, keep capabilities {keep_capabilities}, \
             nice {nice}, scheduler {scheduler}, process group {group}, session {session}, \
             keyring {keyring}"
        )
    }
}

fn link(path: &str) -> String {
    fs::read_link(path).map(|path| path.display().to_string()).unwrap_or_default()
}
