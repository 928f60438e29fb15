//! Against the kernel's own cgroups, below `skep/` and removed again; against text where a set-up
//! is needed that this machine does not have.

use std::fs::read_to_string;
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use std::os::unix::process::ExitStatusExt;

use super::controllers::Controllers;
use super::*;
use crate::id;

const SIGKILL: Option<i32> = Some(9);

/// An owner of its own for each test, and sweeping it when the test fails.
struct Owner {
    parent: Option<Parent>,
    directories: Vec<PathBuf>,
}

impl Owner {
    fn of(cgroups: &Cgroups) -> Self {
        let parent = cgroups.parent(&format!("skep/test-{}", id::random())).unwrap();
        Owner { directories: parent.directories(), parent: Some(parent) }
    }

    /// `None`, and says so, if this machine does not let us limit anything.
    fn detect() -> Option<Self> {
        let owner = Self::of(&Cgroups::detect().unwrap());
        let limits = limits(Some(64), Some("0.5"), Some(20));
        match owner.create("probe", &limits) {
            Ok(_) => Some(owner),
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    fn create(&self, name: &str, limits: &Limits) -> Result<Group> {
        self.parent.as_ref().unwrap().create(name, limits)
    }

    /// Every directory below the owner's, in all hierarchies.
    fn groups(&self) -> usize {
        let inner = |directory: &PathBuf| {
            let entries = std::fs::read_dir(directory).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
        };
        self.directories.iter().map(inner).sum()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.parent.take());
        let swept = sweep(&self.directories);
        if !std::thread::panicking() {
            swept.unwrap();
            assert!(self.directories.iter().all(|directory| !directory.exists()));
        }
    }
}

fn limits(memory_mib: Option<u64>, cpus: Option<&str>, pids: Option<u32>) -> Limits {
    let memory = |mib| Memory::new(Bytes::mib(mib), MemorySwap::SameAsMemory).unwrap();
    Limits {
        memory: memory_mib.map(memory),
        cpus: cpus.map(|cpus| cpus.parse().unwrap()),
        pids: pids.and_then(NonZeroU32::new),
    }
}

/// A shell that enters `group` the way a container's first process does, then runs `script`.
fn start(group: &Group, script: &str) -> Child {
    let entry = group.entry().unwrap();
    let (us, mut ways) = (std::process::id(), Vec::new());
    for tasks in entry.tasks() {
        ways.push(format!("/proc/{us}/fd/{}", tasks.as_raw_fd()));
    }
    if let Some(directory) = entry.directory() {
        ways.push(format!("/proc/{us}/fd/{}/cgroup.procs", directory.as_raw_fd()));
    }
    // Says "in" before the entry is closed here.
    let enter = "for way; do echo 0 > $way || exit 99; done; echo in;";
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("{enter} {script}"), "sh"])
        .args(ways)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"in\n");
    child
}

fn run(group: &Group, script: &str) -> ExitStatus {
    start(group, script).wait().unwrap()
}

/// The value of the control file that exists, of v1's and v2's.
fn control(group: &Group, v1: &str, v2: &str) -> String {
    let read = |place: &super::place::Place| {
        let group = place.path.join(&group.name);
        read_to_string(group.join(v1)).or_else(|_| read_to_string(group.join(v2))).ok()
    };
    group.places().find_map(read).unwrap().trim_end().to_string()
}

/// Allocates and touches more than 64 MiB, in the shell itself.
const HOG: &str = "exec head -c 200m /dev/zero | tail -c 199m";

#[test]
fn limits_are_in_the_kernels_files() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("web", &limits(Some(64), Some("0.5"), Some(20))).unwrap();
    assert_eq!(control(&group, "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(control(&group, "pids.max", "pids.max"), "20");
    let quota = control(&group, "cpu.cfs_quota_us", "cpu.max");
    assert!(["50000", "50000 100000"].contains(&quota.as_str()), "{quota}");
    if group.places().any(|place| place.swap) {
        let swap = control(&group, "memory.memsw.limit_in_bytes", "memory.swap.max");
        assert!(["134217728", "67108864"].contains(&swap.as_str()), "{swap}");
    }
    group.remove().unwrap();
    assert_eq!(owner.groups(), 0);
}

#[test]
fn too_much_memory_is_an_oom_kill() {
    let Some(owner) = Owner::detect() else { return };
    let memory = Memory::new(Bytes::mib(16), MemorySwap::SameAsMemory).unwrap();
    let group = owner.create("hog", &Limits { memory: Some(memory), ..Limits::default() }).unwrap();
    assert_eq!(group.oom_kills().unwrap(), Some(0));
    // The pipe's end has the status of tail, which has to hold what it is going to print.
    let status = run(&group, HOG);
    assert!(status.signal() == SIGKILL || status.code() == Some(137), "{status}");
    let usage = group.usage().unwrap();
    assert_eq!(usage.oom_kills, Some(1));
    let peak = usage.memory_peak.unwrap();
    assert!(peak > Bytes::mib(12) && peak <= Bytes::mib(16), "{peak}");
    group.remove().unwrap();
}

#[test]
fn too_many_processes_are_refused() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("forks", &limits(None, None, Some(3))).unwrap();
    // The shell and two more fit; dash exits with 2 where it cannot fork.
    assert!(run(&group, "sleep 0 & sleep 0 & wait").success());
    let status = run(&group, "sleep 9 & sleep 9 & sleep 9 & wait");
    assert_eq!(status.code(), Some(2));
    if let Some(peak) = group.usage().unwrap().pids_peak {
        assert_eq!(peak, 3);
    }
    group.kill().unwrap();
    group.remove().unwrap();
}

#[test]
fn usage_is_there_after_the_exit() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("work", &limits(None, None, None)).unwrap();
    let before = group.usage().unwrap();
    assert_eq!(before.cpu.unwrap().total, Duration::ZERO);
    assert!(run(&group, "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").success());
    let usage = group.usage().unwrap();
    let cpu = usage.cpu.unwrap();
    assert!(cpu.total > Duration::from_millis(10), "{cpu:?}");
    assert!(cpu.total.abs_diff(cpu.user + cpu.system) < Duration::from_micros(3), "{cpu:?}");
    assert!(usage.memory_peak.is_none_or(|peak| peak > Bytes::kib(64)));
    assert!(usage.oom_kills.is_none_or(|kills| kills == 0));
}

#[test]
fn kill_takes_everything_and_a_live_group_is_not_removed() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("live", &limits(Some(64), None, Some(50))).unwrap();
    let mut child = start(&group, "setsid sleep 1000 & sleep 1000 & sleep 1000");
    drop(owner.create("empty", &Limits::default()).unwrap());
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), SIGKILL);
    group.remove().unwrap();

    let mut group = owner.create("busy", &Limits::default()).unwrap();
    let mut child = start(&group, "read line");
    let error = group.remove_within(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse);
    assert!(error.to_string().starts_with("cannot remove cgroup busy: processes are left in /"));
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn groups_made_inside_go_with_it() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("nest", &Limits::default()).unwrap();
    let place = group.places().next().unwrap();
    let deep = place.path.join("nest/a/b/c/d");
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::create_dir_all(place.path.join("nest/a/x")).unwrap();
    let script = format!("echo 0 > {}/cgroup.procs && echo deep; sleep 1000", deep.display());
    let mut child = start(&group, &script);
    let mut line = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), SIGKILL);
    group.remove().unwrap();
    assert_eq!(owner.groups(), 0);
}

#[test]
fn sweep_kills_and_removes_what_an_owner_left() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("left", &limits(Some(64), Some("1"), Some(10))).unwrap();
    let mut child = start(&group, "sleep 1000");
    std::mem::forget(group);
    sweep(&owner.directories).unwrap();
    assert_eq!(child.wait().unwrap().signal(), SIGKILL);
    assert!(owner.directories.iter().all(|directory| !directory.exists()));
    sweep(&owner.directories).unwrap();
}

#[test]
fn sixteen_threads_make_parents_and_groups_at_once() {
    let Some(owner) = Owner::detect() else { return };
    let shared = format!("skep/test-{}", id::random());
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (owner, shared) = (&owner, &shared);
            scope.spawn(move || {
                let cgroups = Cgroups::detect().unwrap();
                for round in 0..10 {
                    let name = format!("{thread}-{round}");
                    let one = owner.create(&name, &limits(Some(8), Some("0.1"), Some(5))).unwrap();
                    // Made and removed under each other's feet: above the last component.
                    let parent = cgroups.parent(&format!("{shared}/{name}")).unwrap();
                    let other = parent.create(&name, &limits(Some(8), None, None)).unwrap();
                    one.remove().unwrap();
                    other.remove().unwrap();
                    parent.remove().unwrap();
                }
            });
        }
    });
    assert_eq!(owner.groups(), 0);
    let leftovers: Vec<PathBuf> = owner
        .directories
        .iter()
        .filter_map(|one| {
            let path = one.parent()?.parent()?.join(&shared);
            path.exists().then_some(path)
        })
        .collect();
    sweep(&leftovers).unwrap();
}

#[test]
fn a_name_is_made_once_and_is_plain() {
    let Some(owner) = Owner::detect() else { return };
    let group = owner.create("one", &limits(Some(64), None, None)).unwrap();
    let error = owner.create("one", &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(owner.groups() > 0);
    group.remove().unwrap();
    for name in ["", ".", "..", "a/b", "/a", "-a", "a\n", &"x".repeat(256)] {
        let error = owner.create(name, &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
    }
    let error = Cgroups::detect().unwrap().parent("/skep/../x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_parent_with_groups_in_it_stays_until_they_go() {
    let Some(owner) = Owner::detect() else { return };
    let parent = owner.parent.clone().unwrap();
    let group = parent.create("last", &Limits::default()).unwrap();
    assert_eq!(parent.remove().unwrap_err().kind(), ErrorKind::InUse);
    assert!(owner.groups() > 0);
    drop(group);
    assert_eq!(owner.groups(), 0);
    assert!(owner.create("next", &Limits::default()).is_ok());
}

#[test]
fn without_cgroups_only_limits_fail() {
    let cgroups = Cgroups::from_proc(b"31 23 0:28 / /x rw - tmpfs tmpfs rw\n", b"");
    assert_eq!(cgroups.layout(), Layout::None);
    let owner = Owner::of(&cgroups);
    let group = owner.create("free", &Limits::default()).unwrap();
    assert!(group.entry().unwrap().tasks().is_empty());
    assert_eq!(group.usage().unwrap(), Usage::default());
    group.kill().unwrap();
    group.remove().unwrap();

    let error = owner.create("web", &limits(Some(64), None, None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "cannot limit memory of web: the cgroup controller \"memory\" is not mounted; mount cgroup2 \
         on /sys/fs/cgroup"
    );
}

/// A mountinfo line for an ordinary directory that stands in for a v1 hierarchy.
fn fake_mount(directory: &Path, controllers: &str) -> String {
    let device = rustix::fs::stat(directory).unwrap().st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let point = directory.display();
    format!("1 1 {major}:{minor} / {point} rw - cgroup cgroup rw,{controllers}\n")
}

#[test]
fn an_explicit_swap_limit_needs_swap_accounting() {
    let top = tempfile::tempdir().unwrap();
    let cgroups = Cgroups::from_proc(fake_mount(top.path(), "memory").as_bytes(), b"");
    assert_eq!(cgroups.layout(), Layout::V1);
    let parent = cgroups.parent("skep/owner").unwrap();
    let memory = Memory::new(Bytes::mib(64), MemorySwap::Disabled).unwrap();
    let limits = Limits { memory: Some(memory), ..Limits::default() };
    let error = parent.create("web", &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.subject(), "web");
    assert_eq!(error.operation(), "limit swap of");
}

#[test]
fn a_failed_limit_leaves_nothing_behind() {
    let top = tempfile::tempdir().unwrap();
    let cgroups = Cgroups::from_proc(fake_mount(top.path(), "memory,pids").as_bytes(), b"");
    let parent = cgroups.parent("skep/owner").unwrap();
    // The directory is made; it has no control files to write into.
    let error = parent.create("web", &limits(Some(64), None, None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(top.path().join("skep/owner").exists());
    assert!(!top.path().join("skep/owner/web").exists());
    parent.remove().unwrap();
    assert!(!top.path().join("skep").exists());
}

/// The v2 half on a machine where v1 has the controllers: all but the limits is there.
#[test]
fn v2_alone() {
    let mountinfo = read_to_string("/proc/self/mountinfo").unwrap();
    let v2: String = mountinfo
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .map(|line| format!("{line}\n"))
        .collect();
    let cgroups = Cgroups::from_proc(v2.as_bytes(), b"0::/\n");
    if cgroups.layout() != Layout::V2 {
        return eprintln!("skipped: no cgroup2 is mounted");
    }
    let owner = Owner::of(&cgroups);
    let group = owner.create("web", &Limits::default()).unwrap();
    let entry = group.entry().unwrap();
    assert!(entry.tasks().is_empty());
    assert!(entry.directory().is_some());
    let mut child = start(
        &group,
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; sleep 1000 & sleep 1000",
    );
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    assert!(group.usage().unwrap().cpu.unwrap().total > Duration::from_millis(5));
    group.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), SIGKILL);
    group.remove().unwrap();
    assert_eq!(owner.groups(), 0);

    if !cgroups.hierarchies[0].controllers.meets(Controllers::MEMORY) {
        let error = owner.create("web", &limits(Some(64), None, None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let cause = "the cgroup controller \"memory\" is neither mounted nor in ";
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[test]
fn ones_own_group_is_read_if_it_can_be_seen() {
    let own = |text: &str| own_group(text.as_bytes());
    assert_eq!(own("9:name=systemd:/\n0::/a/b.service\n"), Some("/a/b.service".into()));
    assert_eq!(own("0::/../sibling\n"), None);
    assert_eq!(own("4:memory:/x\n"), None);
}
