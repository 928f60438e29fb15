//! Many threads, several engines, several processes: one store.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use skep::{Child, Engine, ErrorKind, Stdio};
use skep_tests::host::{self, Host, alone, rounds};
use skep_tests::left::{attached, groups};
use skep_tests::proc::{SOON, keepers, marked, runs, wait_until};

#[test]
fn sixty_four_threads_use_one_engine() {
    alone(|| {
        let engine = host::engine();
        let barrier = Barrier::new(64);
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let (engine, barrier) = (&engine, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..4 {
                        let text = format!("{thread} {round}");
                        let out = host::shell(engine, &format!("echo {text}; exit {thread}"));
                        let out = { out }.output().unwrap();
                        assert_eq!(out.status.code(), Some(thread));
                        assert_eq!(out.stdout, format!("{text}\n").as_bytes());
                    }
                });
            }
        });
        let store = host::directory().join("store");
        assert_eq!(keepers(&store).len(), 1);
        assert_eq!(attached(&store).len(), 1);
    });
}

#[test]
fn threads_wait_for_and_signal_one_container_at_once() {
    alone(|| {
        let engine = host::engine();
        for _ in 0..5 {
            let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            let barrier = Barrier::new(16);
            std::thread::scope(|scope| {
                for thread in 0..16 {
                    let (child, barrier) = (&child, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        if thread % 4 == 0 {
                            child.kill().unwrap();
                        }
                        assert_eq!(child.wait().unwrap().signal(), Some(9));
                    });
                }
            });
        }
    });
}

/// The keeper closes its end with signals unread, and the kernel tells that before the exit status.
#[test]
fn signals_that_come_too_late_do_not_hide_the_end() {
    alone(|| {
        let engine = host::engine();
        let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
        let keeper = Pid::from_raw(keepers(&host::directory().join("store"))[0]);
        let mark = host::directory().file_name().unwrap().to_string_lossy().into_owned();
        let process = marked(&mark)[0];
        kill(keeper, Signal::SIGSTOP).unwrap();
        kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
        wait_until("the container has ended", SOON, || !runs(process));
        for _ in 0..5 {
            child.signal(15).unwrap();
        }
        kill(keeper, Signal::SIGCONT).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

#[test]
fn two_engines_in_one_process_do_not_meet() {
    alone(|| {
        let store = host::directory().join("store");
        let other_store = host::directory().join("other");
        // On one store, and on another.
        let engine = host::engine();
        let same = host::engine();
        let other = Engine::open(&other_store).unwrap();
        let running: Vec<Child> = [&engine, &same, &other]
            .map(|engine| host::shell(engine, "exec sleep 600").spawn().unwrap())
            .into();
        assert_eq!(keepers(&store).len(), 2);
        assert_eq!(keepers(&other_store).len(), 1);
        let [first, second, third] = running.try_into().unwrap();
        drop((engine, first));
        assert!(second.try_wait().unwrap().is_none());
        assert!(third.try_wait().unwrap().is_none());
        wait_until("one keeper", SOON, || keepers(&store).len() == 1);
        assert_eq!(host::shell(&same, "exit 3").status().unwrap().code(), Some(3));
        drop((same, second));
        assert!(third.try_wait().unwrap().is_none());
        assert_eq!(attached(&store).len(), 0);
    });
}

#[test]
fn clones_of_an_engine_are_one() {
    alone(|| {
        let engine = host::engine();
        let clone = engine.clone();
        let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
        drop(engine);
        assert_eq!(host::shell(&clone, "exit 3").status().unwrap().code(), Some(3));
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(keepers(&host::directory().join("store")).len(), 1);
    });
}

#[test]
fn many_open_a_fresh_store_at_once() {
    alone(|| {
        for round in 0..rounds(100) {
            let store = host::directory().join(format!("store-{round}"));
            let barrier = Barrier::new(8);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        Engine::open(&store).unwrap();
                    });
                }
            });
        }
    });
}

#[test]
fn engines_come_and_go_on_one_store() {
    alone(|| {
        let failures = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let failures = &failures;
                scope.spawn(move || {
                    for round in 0..6 {
                        // Each opening sweeps, each end removes, while others do the same.
                        let engine = host::engine();
                        let code = thread * 6 + round;
                        let status = host::shell(&engine, &format!("exit {code}")).status();
                        if status.unwrap().code() != Some(code) {
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(failures.load(Ordering::Relaxed), 0);
        let store = host::directory().join("store");
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
        wait_until("no keeper", SOON, || keepers(&store).is_empty());
    });
}

/// Two processes by fork before any engine is opened; each opens, runs and ends on its own.
#[test]
fn two_processes_share_a_store() {
    alone(|| {
        let store = host::directory().join("store");
        // SAFETY: no other thread of this host holds a lock: the harness's waits for this one.
        let others: Vec<_> = (0..2)
            .map(|_| match unsafe { fork() }.unwrap() {
                ForkResult::Parent { child } => child,
                ForkResult::Child => in_a_worker(|| {
                    for _ in 0..10 {
                        let engine = host::engine();
                        let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
                        assert_eq!(
                            host::shell(&engine, "exit 4").status().unwrap().code(),
                            Some(4)
                        );
                        assert!(child.try_wait().unwrap().is_none());
                    }
                }),
            })
            .collect();
        for other in others {
            assert_eq!(waitpid(other, None), Ok(WaitStatus::Exited(other, 0)));
        }
        assert_eq!(attached(&store), Vec::<std::path::PathBuf>::new());
    });
}

/// Runs `body` in a forked process, which ends without returning into the test harness.
fn in_a_worker(body: impl FnOnce()) -> ! {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    // SAFETY: ends the process.
    unsafe { nix::libc::_exit(if result.is_ok() { 0 } else { 1 }) }
}

fn fork_and_wait(body: impl FnOnce()) {
    // SAFETY: as above.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => in_a_worker(body),
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
        }
    }
}

fn assert_inert(engine: &Engine, child: &Child) {
    let kinds = [
        child.wait().unwrap_err().kind(),
        child.try_wait().unwrap_err().kind(),
        child.wait_timeout(SOON).unwrap_err().kind(),
        child.kill().unwrap_err().kind(),
        child.signal(0x7f).unwrap_err().kind(),
        child.stop(SOON).unwrap_err().kind(),
        host::shell(engine, "exit 0").status().unwrap_err().kind(),
        host::shell(engine, "exit 0").output().unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::InvalidState; 8]);
}

#[test]
fn handles_in_a_forked_copy_do_nothing() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        let child = host::shell(&engine, "trap 'exit 5' TERM; sleep 600 & wait")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let (owners, before) = (attached(&store), groups(&store));
        let collector = host::shell(&engine, "cat; exit 4").input(&b"in"[..]).collect().unwrap();
        let handles = (engine, child, collector);
        let handles = std::cell::Cell::new(Some(handles));
        fork_and_wait(|| {
            let (engine, child, mut collector) = handles.take().unwrap();
            assert_inert(&engine, &child);
            assert_eq!(collector.advance().unwrap_err().kind(), ErrorKind::InvalidState);
            drop(collector);
            drop(child);
            drop(engine);
            // The copy may have an engine of its own, on the same store too.
            let own = host::engine();
            assert_eq!(host::shell(&own, "exit 6").status().unwrap().code(), Some(6));
        });
        let (engine, child, collector) = handles.take().unwrap();
        let out = collector.wait().unwrap();
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(4), &b"in"[..]));
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(attached(&store), owners);
        assert_eq!(groups(&store), before);
        assert_eq!(host::shell(&engine, "exit 3").status().unwrap().code(), Some(3));
        assert!(child.kill().is_ok());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    });
}

/// A worker that has an engine, and forks, is in turn a host.
#[test]
fn handles_in_a_forked_copy_of_a_forked_copy_do_nothing() {
    alone(|| {
        let first = host::engine();
        let child = host::shell(&first, "exec sleep 600").spawn().unwrap();
        fork_and_wait(|| {
            let engine = host::engine();
            let own = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            fork_and_wait(|| {
                assert_inert(&engine, &own);
                assert_inert(&first, &child);
            });
            let handles = std::cell::Cell::new(Some((engine, own)));
            fork_and_wait(|| drop(handles.take()));
            let (engine, own) = handles.take().unwrap();
            assert!(own.try_wait().unwrap().is_none());
            assert_eq!(host::shell(&engine, "exit 3").status().unwrap().code(), Some(3));
        });
        assert!(child.try_wait().unwrap().is_none());
    });
}

/// Its copy of the sockets must not keep the keeper.
#[test]
fn a_dropped_engine_ends_its_keeper_while_a_forked_worker_lives() {
    Host::new().input().watched(
        || {
            let store = host::directory().join("store");
            let engine = host::engine();
            let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            // SAFETY: system calls only in the child.
            let worker = match unsafe { fork() }.unwrap() {
                ForkResult::Child => host::wait_to_be_killed(),
                ForkResult::Parent { child } => child,
            };
            let keeper = keepers(&store)[0];
            drop(child);
            drop(engine);
            wait_until("the keeper has ended", SOON, || !runs(keeper));
            assert!(runs(worker.as_raw()));
            nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGKILL).unwrap();
        },
        |host| host.finish(),
    );
}
