//! Limits, what happens at them, and what was used.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use skep::cgroup::{Bytes, MemorySwap, Usage};
use skep::{Child, Command, ErrorKind, ExitReason, Stdio};
use skep_tests::machine::{marker, processes, until, with_private_mounts};
use skep_tests::probe::{answer_in, answered};
use skep_tests::{TestEngine, said};

/// A file of one of the control groups of `child`, the first that has it.
fn file_of(test: &TestEngine, child: &Child, name: &str) -> Option<String> {
    let groups = test.groups_of(child);
    groups.iter().find_map(|group| fs::read_to_string(group.join(name)).ok())
}

/// Either of two files, for version 1 and version 2 of control groups.
#[track_caller]
fn setting(test: &TestEngine, child: &Child, [v1, v2]: [&str; 2]) -> String {
    let text = file_of(test, child, v2).or_else(|| file_of(test, child, v1));
    text.unwrap_or_else(|| panic!("neither {v1} nor {v2}")).trim().to_owned()
}

/// A container that lives until it is dropped.
fn living(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn what_passes_the_memory_limit_is_killed_and_says_so() {
    let test = TestEngine::new();
    let mut command = test.probe("touch", &["256"]);
    let output = command.memory(Bytes::mib(32)).memory_swap(MemorySwap::Disabled).output().unwrap();
    assert_eq!(output.status.reason(), ExitReason::OomKilled);
    assert_eq!((output.status.code(), output.status.signal()), (None, Some(9)));
    assert_eq!(output.status.to_string(), "killed for want of memory");
    assert_eq!(answer_in(&output.stdout), "", "it never came to the end");
    assert_eq!(output.status.usage().oom_kills, Some(1));
    if let Some(peak) = output.status.usage().memory_peak {
        assert!(peak <= Bytes::mib(32) && peak > Bytes::mib(24), "{peak}");
    }
    // The same below its limit.
    let mut command = test.probe("touch", &["64"]);
    command.memory(Bytes::mib(256)).memory_swap(MemorySwap::Disabled);
    assert_eq!(answered(&mut command), "touched");
}

#[test]
fn a_child_killed_for_memory_is_not_the_containers_end() {
    let test = TestEngine::new();
    let mut command = test.probe("touch-in-a-child", &["256"]);
    let output = command.memory(Bytes::mib(32)).memory_swap(MemorySwap::Disabled).output().unwrap();
    assert_eq!(answer_in(&output.stdout), "Signaled(Pid(PID), SIGKILL, false)");
    assert_eq!(output.status.reason(), ExitReason::Exited(7));
    assert_eq!(output.status.usage().oom_kills, Some(1));
}

#[test]
fn limits_that_make_no_sense_are_invalid() {
    let test = TestEngine::new();
    let refused = |command: &mut Command| {
        let error = command.output().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    assert_eq!(
        refused(test.shell("true").memory(Bytes::new((4 << 20) - 1))),
        "cannot limit memory to 4194303: the minimum is 4m; ask for more, or for no limit"
    );
    let total = MemorySwap::Total(Bytes::mib(16));
    assert_eq!(
        refused(test.shell("true").memory(Bytes::mib(32)).memory_swap(total)),
        "cannot limit memory and swap to 16m: the memory limit alone is 32m; give the total of \
         memory and swap"
    );
    for swap in [MemorySwap::Disabled, MemorySwap::Total(Bytes::mib(64))] {
        assert_eq!(
            refused(test.shell("true").memory_swap(swap)),
            "cannot limit swap: memory is not limited; limit memory too"
        );
    }
    assert_eq!(
        refused(test.shell("true").pids(0)),
        "cannot limit processes to 0: the command is one itself; give at least 1, or no limit"
    );
    for cpus in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            refused(test.shell("true").cpus(cpus)),
            format!("cannot limit cpus to {cpus}: it must be a number from 0.01 to 8192")
        );
    }
}

#[test]
fn a_refused_limit_stays_refused() {
    let test = TestEngine::new();
    let mut command = test.shell("true");
    command.pids(0).cpus(-1.0);
    for _ in 0..2 {
        let error = command.status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "it must not run without its limit");
    }
    command.pids(10).cpus(1.0);
    assert!(command.status().unwrap().success());
}

#[test]
fn memory_and_swap_are_what_was_asked_for() {
    let test = TestEngine::new();
    let mut command = test.shell("read end");
    let child = living(command.memory(Bytes::mib(64)));
    let limit = ["memory.limit_in_bytes", "memory.max"];
    assert_eq!(setting(&test, &child, limit), "67108864");
    let swap = |child: &Child, expected: [&str; 2]| {
        // A kernel may not account swap: then a limit that was not asked for is not set.
        let total = file_of(&test, child, "memory.memsw.limit_in_bytes");
        let swap = file_of(&test, child, "memory.swap.max");
        if let Some(total) = total {
            assert_eq!(total.trim(), expected[0]);
        }
        if let Some(swap) = swap {
            assert_eq!(swap.trim(), expected[1]);
        }
    };
    swap(&child, ["134217728", "67108864"]);
    for (asked, expected) in [
        (MemorySwap::Disabled, ["67108864", "0"]),
        (MemorySwap::Total(Bytes::mib(96)), ["100663296", "33554432"]),
    ] {
        match command.memory_swap(asked).stdin(Stdio::piped()).spawn() {
            Ok(child) => swap(&child, expected),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                eprintln!("skipped: {error}");
            }
        }
    }
}

#[test]
fn cpus_and_pids_are_what_was_asked_for() {
    let test = TestEngine::new();
    let child = living(test.shell("read end").cpus(0.5).pids(33));
    let expected =
        if file_of(&test, &child, "cpu.max").is_some() { "50000 100000" } else { "50000" };
    assert_eq!(setting(&test, &child, ["cpu.cfs_quota_us", "cpu.max"]), expected);
    assert_eq!(setting(&test, &child, ["pids.max", "pids.max"]), "33");
}

#[test]
fn forks_end_at_the_pids_limit_and_not_on_the_host() {
    let test = TestEngine::new();
    // The probe itself has one thread, or two with that of its harness.
    let answer = answered(test.probe("fork", &["1000"]).pids(20));
    let (made, errno) = answer.split_once(' ').unwrap();
    assert_eq!(errno, "EAGAIN");
    assert!((18..=19).contains(&made.parse::<u32>().unwrap()), "{answer}");
    assert!(std::process::Command::new("true").status().unwrap().success(), "the host forks on");
    assert_eq!(answered(&mut test.probe("fork", &["100"])), "100 all", "without a limit");
    let output = test.probe("fork", &["10"]).pids(1).output().unwrap();
    assert!(!output.status.success() || answer_in(&output.stdout) == "0 EAGAIN");
}

#[test]
fn what_was_used_is_known_afterwards() {
    let test = TestEngine::new();
    let status = test.probe("touch", &["64"]).stdout(Stdio::null()).status().unwrap();
    if let Some(peak) = status.usage().memory_peak {
        assert!(peak >= Bytes::mib(64), "{peak}");
    } else {
        eprintln!("skipped: this kernel counts no peak of memory");
    }
    assert_eq!(status.usage().oom_kills, Some(0));
    // Under load a process gets little of the CPU, and what it gets is counted.
    let mut command = test.probe("burn", &["200"]);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = child.wait().unwrap();
    let cpu = status.usage().cpu.expect("every kernel counts it");
    assert!(cpu.total >= Duration::from_millis(200), "{cpu:?}");
    assert!(cpu.total >= cpu.user && cpu.user + cpu.system >= cpu.total - Duration::from_micros(2));
    assert_eq!(child.usage().unwrap(), status.usage(), "and stays known");
    let status = test.probe("fork", &["30"]).pids(100).stdout(Stdio::null()).status().unwrap();
    if let Some(peak) = status.usage().pids_peak {
        assert!((31..=33).contains(&peak), "{peak}");
    } else {
        eprintln!("skipped: this kernel counts no peak of processes (before Linux 6.1)");
    }
}

#[test]
fn usage_of_a_running_container_grows() {
    let test = TestEngine::new();
    let mut command = test.shell("echo; while :; do :; done");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let first = child.usage().unwrap().cpu.unwrap().total;
    until("it has used more", || child.usage().unwrap().cpu.unwrap().total > first);
    assert_ne!(child.usage().unwrap(), Usage::default());
}

#[test]
fn a_timeout_kills_everything_inside() {
    let test = TestEngine::new();
    let marker = marker("timeout");
    let script = "trap '' TERM INT HUP; (trap '' TERM; while :; do sleep 1000; done) &
        (setsid sh -c 'while :; do sleep 1000; done' \"$0\") & while :; do wait; done";
    let mut command = test.command(["sh", "-c", script, &marker]);
    command.timeout(Duration::from_millis(300));
    let child = command.stdin(Stdio::null()).spawn().unwrap();
    until("its processes run", || {
        processes(&marker).len() >= 3 || child.try_wait().unwrap().is_some()
    });
    let status = child.wait().unwrap();
    assert_eq!(status.reason(), ExitReason::TimedOut);
    assert_eq!((status.code(), status.signal()), (None, Some(9)));
    assert_eq!(status.to_string(), "killed after its timeout");
    // Its init has been waited for, so that the kernel had ended all others before.
    assert_eq!(processes(&marker), [0; 0]);
}

#[test]
fn a_timeout_needs_nobody_to_wait() {
    let test = TestEngine::new();
    let marker = marker("unwaited");
    let mut command = test.command(["sh", "-c", "read end", &marker]);
    command.timeout(Duration::from_millis(100)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // End of file, by the end of the process: nothing else closes the pipe.
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    until("it is gone", || processes(&marker).is_empty());
    assert_eq!(child.wait().unwrap().reason(), ExitReason::TimedOut);
}

#[test]
fn a_timeout_that_does_not_pass_changes_nothing() {
    let test = TestEngine::new();
    for timeout in [Duration::from_secs(3600), Duration::MAX] {
        let status = test.shell("exit 4").timeout(timeout).status().unwrap();
        assert_eq!(status.reason(), ExitReason::Exited(4));
    }
    let status = test.shell("while :; do :; done").timeout(Duration::ZERO).status().unwrap();
    assert_eq!(status.reason(), ExitReason::TimedOut);
}

#[test]
fn ends_are_told_apart() {
    let test = TestEngine::new();
    let end = |command: &mut Command| command.stdin(Stdio::null()).status().unwrap().reason();
    assert_eq!(end(&mut test.shell("exit 0")), ExitReason::Exited(0));
    assert_eq!(end(&mut test.shell("exit 137")), ExitReason::Exited(137));
    assert_eq!(end(&mut test.shell("sh -c 'kill -9 $$'; exit $?")), ExitReason::Exited(137));
    let status = test.shell("(kill -9 $$); exit 3").status().unwrap();
    assert_eq!(status.reason(), ExitReason::Exited(3), "from within, init is not to be killed");
    let child = test.command(["sleep", "1000"]).spawn().unwrap();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.reason(), ExitReason::Signaled(9));
    assert_eq!(status.to_string(), "signal 9 (SIGKILL)");
    assert_eq!((status.code(), status.signal()), (None, Some(9)));
}

#[test]
fn a_kill_by_the_host_is_no_want_of_memory() {
    let test = TestEngine::new();
    let mut command = test.shell(
        "SKEP_TEST_PROBE=touch SKEP_TEST_PROBE_ARGUMENTS=256 /skep-probe --exact probe > /dev/null 2>&1
         echo; read end",
    );
    command.mount(skep_tests::this_program("/skep-probe"));
    command.memory(Bytes::mib(32)).memory_swap(MemorySwap::Disabled);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(child.usage().unwrap().oom_kills, Some(1));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().reason(), ExitReason::Signaled(9));
}

#[test]
fn a_limit_that_cannot_be_enforced_is_an_error() {
    with_private_mounts("limits::a_limit_that_cannot_be_enforced_is_an_error", || {
        // Version 1: only the hierarchy of pids goes. Version 2: all there is goes.
        let v1 = Path::new("/sys/fs/cgroup/pids");
        let gone = if v1.exists() { v1 } else { Path::new("/sys/fs/cgroup") };
        umount2(gone, MntFlags::MNT_DETACH).unwrap();
        let test = TestEngine::new();
        assert_eq!(said(&mut test.shell("echo runs")), "runs\n", "no limit, no need");
        let error = test.shell("true").pids(10).output().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("pids"), "{error}");
        if gone == v1 {
            assert!(test.shell("true").memory(Bytes::mib(64)).status().unwrap().success());
        }
    });
}

#[test]
fn control_groups_that_cannot_be_written_are_an_error_only_for_a_limit() {
    with_private_mounts(
        "limits::control_groups_that_cannot_be_written_are_an_error_only_for_a_limit",
        || {
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
            for line in table.lines().filter(|line| line.contains(" - cgroup")) {
                let path = line.split(' ').nth(4).unwrap();
                let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                mount(None::<&str>, path, None::<&str>, read_only, None::<&str>).unwrap();
            }
            let test = TestEngine::new();
            assert_eq!(said(&mut test.shell("echo runs")), "runs\n", "no limit, no need");
            let error = test.shell("true").memory(Bytes::mib(64)).output().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert_eq!(error.errno(), Some(nix::libc::EROFS), "{error}");
            assert!(error.to_string().contains("cgroup"), "{error}");
        },
    );
}
