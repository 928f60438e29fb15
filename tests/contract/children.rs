//! The host's own children, SIGCHLD and `waitpid(-1)`.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use skep_tests::host::{self, Host, alone};
use skep_tests::proc::{SOON, children_of, keepers, runs, wait_until};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

fn on_sigchld(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `count` only adds to an atomic.
    unsafe { sigaction(Signal::SIGCHLD, &action) }.unwrap();
}

fn me() -> i32 {
    std::process::id() as i32
}

/// Waits for every child there is, in the manner of a supervisor.
fn reap_all() -> Vec<WaitStatus> {
    let mut reaped = Vec::new();
    loop {
        match waitpid(None, None) {
            Err(Errno::ECHILD) => return reaped,
            Err(Errno::EINTR) => {}
            status => reaped.push(status.unwrap()),
        }
    }
}

#[test]
fn a_blocking_waitpid_loop_of_the_host_ends_while_containers_run() {
    alone(|| {
        on_sigchld(SigHandler::Handler(count));
        let engine = host::engine();
        let running: Vec<_> =
            (0..3).map(|_| host::shell(&engine, "exec sleep 600").spawn().unwrap()).collect();
        assert_eq!(reap_all(), []);
        assert!(host::shell(&engine, "exit 7").status().unwrap().code() == Some(7));
        assert_eq!(reap_all(), []);
        assert!(running.iter().all(|child| child.try_wait().unwrap().is_none()));
        drop(running);
        drop(engine);
        wait_until("the keeper has ended", SOON, || {
            keepers(&host::directory().join("store")).is_empty()
        });
        assert_eq!(reap_all(), []);
        assert_eq!(SIGNALS.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_waiting_thread_of_the_host_gets_its_own_child_and_nothing_else() {
    alone(|| {
        let engine = host::engine();
        #[allow(clippy::zombie_processes)] // reaped as any child
        let mut own = std::process::Command::new("sh")
            .args(["-c", "read x; exit 5"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(own.id() as i32);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(reap_all);
            for code in 0..20 {
                let status = host::shell(&engine, &format!("exit {code}")).status().unwrap();
                assert_eq!(status.code(), Some(code));
            }
            drop(own.stdin.take());
            assert_eq!(waiting.join().unwrap(), [WaitStatus::Exited(pid, 5)]);
        });
    });
}

#[test]
fn an_ignored_sigchld_stays_ignored_and_statuses_arrive() {
    alone(|| {
        on_sigchld(SigHandler::SigIgn);
        let engine = host::engine();
        for code in [0, 3, 255] {
            let script = format!("grep SigIgn /proc/self/status; sh -c 'exit {code}'; exit $?");
            let out = host::shell(&engine, &script).output().unwrap();
            assert_eq!(out.status.code(), Some(code));
            assert_eq!(out.stdout, b"SigIgn:\t0000000000000000\n");
        }
        let killed = host::shell(&engine, "exec sleep 600").spawn().unwrap();
        killed.kill().unwrap();
        assert_eq!(killed.wait().unwrap().signal(), Some(libc::SIGKILL));
        // SAFETY: only reads the disposition.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        unsafe { libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut now) };
        assert_eq!(now.sa_sigaction, libc::SIG_IGN);
    });
}

/// Where orphans come to the host, it has one child, the keeper, and no container.
fn has_one_child() {
    on_sigchld(SigHandler::Handler(count));
    let engine = host::engine();
    let mut running: Vec<_> =
        (0..5).map(|_| host::shell(&engine, "sleep 600 & wait").spawn().unwrap()).collect();
    let children = children_of(me());
    assert_eq!(children, keepers(&host::directory().join("store")));
    assert_eq!(children.len(), 1);
    // While it lives there is nothing to reap.
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive));
    drop(running.pop());
    assert_eq!(host::shell(&engine, "exit 9").status().unwrap().code(), Some(9));
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive));
    assert_eq!(SIGNALS.load(Ordering::Relaxed), 0);
    drop(running);
    drop(engine);
    let keeper = Pid::from_raw(children[0]);
    assert_eq!(reap_all(), [WaitStatus::Exited(keeper, 0)]);
    // Another thread of the host may have it, and still be on its way into the handler.
    wait_until("one SIGCHLD", SOON, || SIGNALS.load(Ordering::Relaxed) == 1);
    assert!(!runs(children[0]));
}

#[test]
fn a_child_subreaper_has_exactly_one_child() {
    alone(|| {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        has_one_child();
    });
}

#[test]
fn a_host_that_is_pid_1_has_exactly_one_child() {
    Host::new().init().watched(
        || {
            assert_eq!(std::process::id(), 1);
            has_one_child();
        },
        |host| host.finish(),
    );
}

/// A supervisor that reaps everything at once must not take what the library waits for.
#[test]
fn a_host_that_reaps_all_the_time_takes_nothing_away() {
    Host::new().init().watched(
        || {
            let stop = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let _ = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG));
                    }
                });
                for code in 0..10 {
                    // A new engine each time: the keeper's birth has a child of the host in it.
                    let engine = host::engine();
                    let status = host::shell(&engine, &format!("exit {code}")).status().unwrap();
                    assert_eq!(status.code(), Some(code));
                }
                stop.store(true, Ordering::Relaxed);
            });
        },
        |host| host.finish(),
    );
}
