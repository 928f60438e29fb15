//! Nothing of ours outlives the host, however it ends.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork};
use skep::ErrorKind;
use skep_tests::host::{self, Host, Watched, alone, rounds, say, wait_to_be_killed};
use skep_tests::left::{Belongings, attached, groups};
use skep_tests::proc::{SOON, keepers, marked, runs, wait_until};
use skep_tests::state::interfaces;

const CONTAINERS: usize = 20;

/// Starts containers of three processes each; each of them has written something.
fn start_twenty(engine: &skep::Engine) -> Vec<skep::Child> {
    let script = "echo mine > /written; sleep 600 & sleep 600 & wait";
    (0..CONTAINERS).map(|_| host::shell(engine, script).spawn().unwrap()).collect()
}

/// What the host has once all of its containers' processes are there.
fn twenty(host: &Watched) -> Belongings {
    wait_until("three processes a container", SOON, || {
        marked(&host.mark()).len() == 3 * CONTAINERS
    });
    let belongings = Belongings::of(host);
    assert_eq!(belongings.keepers.len(), 1);
    assert!(belongings.groups.iter().any(|group| group.exists()));
    belongings
}

fn twenty_then_wait() {
    let _running = start_twenty(&host::engine());
    say("ready");
    wait_to_be_killed();
}

fn sigkill(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn of_a_killed_host_nothing_is_left() {
    Host::new().watched(twenty_then_wait, |mut host| {
        host.await_line("ready");
        let belongings = twenty(&host);
        host.kill();
        belongings.await_gone();
        belongings.await_swept();
    });
}

#[test]
fn of_a_killed_pid_1_nothing_is_left() {
    Host::new().init().watched(twenty_then_wait, |mut host| {
        host.await_line("ready");
        let belongings = twenty(&host);
        host.kill();
        // The kernel kills the keeper with the namespace, before it can sweep.
        belongings.await_swept();
    });
}

#[test]
fn of_a_killed_host_nothing_is_left_while_its_forked_worker_lives() {
    let body = || {
        let before = mounts("self");
        let _running = start_twenty(&host::engine());
        assert_eq!(mounts("self"), before);
        // SAFETY: the child makes system calls only.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => wait_to_be_killed(),
            ForkResult::Parent { child } => say(child),
        }
        wait_to_be_killed();
    };
    Host::new().watched(body, |mut host| {
        let worker: i32 = host.hear().parse().unwrap();
        let belongings = twenty(&host);
        let (mounts_before, interfaces_before) = (mounts(worker), interfaces(worker));
        host.kill();
        belongings.await_gone();
        assert!(runs(worker));
        // The worker is still where the host was.
        assert_eq!(mounts(worker), mounts_before);
        assert_eq!(interfaces(worker), interfaces_before);
        belongings.await_swept();
        sigkill(worker);
    });
}

fn mounts(who: impl std::fmt::Display) -> String {
    std::fs::read_to_string(format!("/proc/{who}/mountinfo")).unwrap()
}

#[test]
fn of_a_killed_keeper_nothing_is_left_and_the_host_goes_on() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        let running = start_twenty(&engine);
        let (keeper, groups) = (keepers(&store)[0], groups(&store));
        sigkill(keeper);
        for child in &running {
            assert_eq!(child.wait().unwrap_err().kind(), ErrorKind::KeeperLost);
            assert_eq!(child.try_wait().unwrap_err().kind(), ErrorKind::KeeperLost);
            child.kill().unwrap();
        }
        let mark = host::directory().file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(marked(&mark), Vec::<i32>::new());
        // Another keeper takes over.
        assert_eq!(host::shell(&engine, "exit 6").status().unwrap().code(), Some(6));
        assert_ne!(keepers(&store), [keeper]);
        drop(running);
        assert!(groups.iter().all(|group| !group.exists()));
        drop(engine);
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
    });
}

#[test]
fn of_a_killed_keeper_nothing_is_left_when_its_containers_are_dropped() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        let running = start_twenty(&engine);
        let groups = groups(&store);
        sigkill(keepers(&store)[0]);
        drop(engine);
        drop(running);
        assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
    });
}

#[test]
fn of_a_host_killed_with_its_keeper_the_next_engine_sweeps_all() {
    Host::new().watched(twenty_then_wait, |mut host| {
        host.await_line("ready");
        let belongings = twenty(&host);
        // Stopped, so that it cannot do its last duty in between.
        kill(Pid::from_raw(belongings.keepers[0]), Signal::SIGSTOP).unwrap();
        host.kill();
        sigkill(belongings.keepers[0]);
        belongings.await_swept();
    });
}

/// Whoever killed both had not yet opened the store again, and an engine of somebody else's did.
#[test]
fn a_sweep_leaves_the_living_alone() {
    Host::new().watched(twenty_then_wait, |mut host| {
        host.await_line("ready");
        let belongings = twenty(&host);
        drop(skep::Engine::open(host.store()).unwrap());
        assert_eq!(Belongings::of(&host).processes, belongings.processes);
        assert_eq!(groups(&host.store()), belongings.groups);
        host.kill();
        belongings.await_gone();
    });
}

/// At whatever step of a start, an end or the keeper's birth it was.
#[test]
fn of_a_host_killed_at_any_moment_nothing_is_left() {
    let body = || {
        say("begin");
        let engine = host::engine();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        host::shell(&engine, "exec true").status().unwrap();
                    }
                });
            }
        });
    };
    // The same body for each: only the moment is another.
    for step in (0..30).step_by(30 / rounds(30)) {
        Host::new().watched(body, |mut host| {
            host.await_line("begin");
            let moment = Instant::now() + Duration::from_micros(step * step * 100);
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            host.kill();
            let belongings = Belongings::of(&host);
            belongings.await_swept();
        });
        if host::is_host() {
            return;
        }
    }
}

#[test]
fn a_host_that_ends_without_a_drop_leaves_nothing() {
    let body = || {
        let _running = start_twenty(&host::engine());
        say("ready");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        match std::env::var("ENDING").unwrap().as_str() {
            "exit" => std::process::exit(3),
            "abort" => std::process::abort(),
            "exec" => {
                use std::os::unix::process::CommandExt;
                // The same process, with a program that knows of no container.
                panic!("{}", std::process::Command::new("sleep").arg("600").exec());
            }
            "terminate" => drop(nix::sys::signal::raise(Signal::SIGTERM)),
            _ => unreachable!(),
        }
    };
    let endings = [
        ("exit", None),
        ("abort", Some(libc::SIGABRT)),
        ("terminate", Some(libc::SIGTERM)),
        ("exec", Some(libc::SIGKILL)),
    ];
    for (ending, signal) in endings {
        Host::new().env("ENDING", ending).input().watched(body, |mut host| {
            host.await_line("ready");
            let belongings = twenty(&host);
            host.tell();
            belongings.await_gone();
            if ending == "exec" {
                assert!(runs(host.pid()));
                host.kill();
            }
            let status = host.wait();
            assert_eq!(status.signal(), signal);
            belongings.await_swept();
        });
        if host::is_host() {
            return;
        }
    }
}

#[test]
fn dropped_handles_leave_nothing() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        let running = start_twenty(&engine);
        let groups = groups(&store);
        assert!(!groups.is_empty());
        // In either order: a container keeps what it needs.
        drop(engine);
        assert!(running.iter().all(|child| child.try_wait().unwrap().is_none()));
        drop(running);
        assert!(groups.iter().all(|group| !group.exists()));
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
        wait_until("no keeper", SOON, || keepers(&store).is_empty());
    });
}

#[test]
fn a_panic_of_the_host_takes_its_containers_along() {
    alone(|| {
        let store = host::directory().join("store");
        let thread = std::thread::spawn(|| {
            let _running = start_twenty(&host::engine());
            panic!("as expected by this test");
        });
        assert!(thread.join().is_err());
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
        wait_until("no keeper", SOON, || keepers(&store).is_empty());
    });
}
