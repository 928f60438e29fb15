//! What the host is and has stays as it was, and what it has does not reach its containers.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::{Mode, umask};
use skep::{Engine, Stdio};
use skep_tests::host::{self, Host, alone};
use skep_tests::proc::{open_files, status_line, status_of};
use skep_tests::state::State;

/// A few of everything: long and short ones, collected output, errors before and after the clone.
fn use_everything() {
    let engine = host::engine();
    let running: Vec<_> =
        (0..3).map(|_| host::shell(&engine, "exec sleep 600").spawn().unwrap()).collect();
    assert_eq!(host::shell(&engine, "exit 4").output().unwrap().status.code(), Some(4));
    host::shell(&engine, "").user("nobody-of-that-name").spawn().unwrap_err();
    engine.command(skep::Root::host()).arg("no-such-command").spawn().unwrap_err();
    let mut fed = host::shell(&engine, "cat");
    assert_eq!(fed.input("words").output().unwrap().stdout, b"words");
    running[0].kill().unwrap();
    running[0].wait().unwrap();
}

#[test]
fn the_host_is_the_same_before_and_after() {
    alone(|| {
        let before = State::now();
        let engine = host::engine();
        let running: Vec<_> =
            (0..3).map(|_| host::shell(&engine, "exec sleep 600").spawn().unwrap()).collect();
        State::now().assert_same_but(&before, &["files"]);
        use_everything();
        State::now().assert_same_but(&before, &["files"]);
        drop(running);
        drop(engine);
        State::now().assert_same(&before);
    });
}

#[test]
fn a_peculiar_host_is_the_same_before_and_after() {
    alone(|| {
        // Each of these could have been reset to what is common.
        umask(Mode::from_bits_truncate(0o137));
        std::env::set_current_dir("/proc").unwrap();
        fs::write("/proc/self/oom_score_adj", "500").unwrap();
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR1);
        blocked.add(Signal::SIGTERM);
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None).unwrap();
        // SAFETY: numbers only.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGUSR2);
            libc::setpriority(libc::PRIO_PROCESS, 0, 5);
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
        let before = State::now();
        use_everything();
        State::now().assert_same(&before);
        let mut death = 0;
        // SAFETY: writes the local.
        unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &mut death) };
        assert_eq!(death, libc::SIGUSR2);
    });
}

static FORKS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn on_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// They are arbitrary code between clone and exec.
#[test]
fn no_handler_of_pthread_atfork_runs() {
    alone(|| {
        unsafe extern "C" {
            fn pthread_atfork(
                prepare: Option<unsafe extern "C" fn()>,
                parent: Option<unsafe extern "C" fn()>,
                child: Option<unsafe extern "C" fn()>,
            ) -> i32;
        }
        // SAFETY: the handlers only add to an atomic.
        assert_eq!(unsafe { pthread_atfork(Some(on_fork), Some(on_fork), Some(on_fork)) }, 0);
        use_everything();
        assert_eq!(FORKS.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn handles_are_send_and_sync() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Engine>();
    check::<skep::Child>();
    check::<skep::Command>();
    check::<skep::Stdio>();
    check::<skep::Root>();
    check::<skep::Output>();
    check::<skep::Error>();
    check::<skep::image::Images>();
    check::<skep::cgroup::Cgroups>();
    check::<skep::cgroup::Group>();
}

#[test]
fn nothing_is_printed() {
    alone(|| {
        let directory = host::directory();
        let path = directory.join("printed");
        let file = fs::File::create(&path).unwrap();
        let keep = [1, 2].map(|number| {
            // SAFETY: numbers only; the duplicate is owned by nobody else.
            unsafe {
                let keep = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
                libc::dup2(file.as_raw_fd(), number);
                OwnedFd::from_raw_fd(keep)
            }
        });
        // Where a start fails most loudly: the keeper is gone, the store swept, an error dropped.
        let result = std::panic::catch_unwind(|| {
            use_everything();
            let engine = host::engine();
            let child = host::shell(&engine, "exec sleep 600").stdout(Stdio::null()).spawn();
            let keeper = skep_tests::proc::keepers(&host::directory().join("store"))[0];
            // SAFETY: numbers only.
            unsafe { libc::kill(keeper, libc::SIGKILL) };
            child.unwrap().wait().unwrap_err();
        });
        for (keep, number) in keep.iter().zip([1, 2]) {
            // SAFETY: numbers only.
            unsafe { libc::dup2(keep.as_raw_fd(), number) };
        }
        let printed = fs::read_to_string(path).unwrap();
        assert!(result.is_ok(), "{printed}");
        assert_eq!(printed, "");
    });
}

#[test]
fn every_file_descriptor_is_close_on_exec() {
    alone(|| {
        let me = std::process::id() as i32;
        let before: Vec<i32> = open_files(me).into_iter().map(|(number, _)| number).collect();
        let engine = host::engine();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..15 {
                        let mut command = host::shell(&engine, "echo x; cat");
                        command.input("y").output().unwrap();
                        host::shell(&engine, "exec sleep 600")
                            .stdin(Stdio::piped())
                            .spawn()
                            .unwrap();
                    }
                    done.store(true, Ordering::Relaxed);
                });
            }
            let mut looked_at = 0;
            while !done.load(Ordering::Relaxed) {
                looked_at += inheritable_but(&before);
            }
            assert!(looked_at > 100, "{looked_at}");
        });
    });
}

/// Looks at each open file descriptor but those of `known`, and says how many there were.
fn inheritable_but(known: &[i32]) -> usize {
    let open = open_files(std::process::id() as i32);
    let new = open.iter().filter(|(number, _)| !known.contains(number));
    let flags = |number| {
        // SAFETY: numbers only; -1 for one that has been closed meanwhile.
        unsafe { libc::fcntl(number, libc::F_GETFD) }
    };
    new.inspect(|(number, path)| assert_ne!(flags(*number), 0, "{number}: {path:?}")).count()
}

#[test]
fn a_container_starts_with_nothing_of_the_host_blocked_or_ignored() {
    alone(|| {
        let mut ignored = SigSet::all();
        for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
            ignored.remove(signal);
        }
        for signal in ignored.iter() {
            // SAFETY: no handler, only a disposition.
            unsafe { libc::signal(signal as i32, libc::SIG_IGN) };
        }
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).unwrap();
        let before = State::now();
        let engine = host::engine();
        let out = host::shell(&engine, "exec cat /proc/self/status").output().unwrap();
        let status = String::from_utf8(out.stdout).unwrap();
        for set in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"] {
            assert_eq!(status_line(&status, set).as_deref(), Some("0000000000000000"), "{set}");
        }
        drop(engine);
        State::now().assert_same(&before);
    });
}

#[test]
fn an_engine_opened_on_a_thread_that_exits_lives_on() {
    alone(|| {
        let (engine, child, thread) = std::thread::spawn(|| {
            // A thread may have ended before its last wish is heard: no signal may depend on it.
            let engine = host::engine();
            let child = host::shell(&engine, "read x; exit 8").stdin(Stdio::piped()).spawn();
            (engine, child.unwrap(), nix::unistd::gettid().as_raw())
        })
        .join()
        .unwrap();
        skep_tests::proc::wait_until("the thread has ended", skep_tests::proc::SOON, || {
            status_of(&format!("self/task/{thread}"), "State").is_none()
        });
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(host::shell(&engine, "exit 5").status().unwrap().code(), Some(5));
        let mut child = child;
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(8));
    });
}

#[test]
fn a_container_inherits_nothing_of_the_host() {
    let host = Host::new().env("SECRET", "of the host's");
    host.watched(
        || {
            // Inheritable, as careless hosts have them.
            let file = fs::File::open("/proc/self/status").unwrap();
            // SAFETY: numbers only.
            assert!(unsafe { libc::dup2(file.as_raw_fd(), 77) } == 77);
            let engine = host::engine();
            let out = host::shell(&engine, "env; echo; ls /proc/self/fd; umask").output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            let (environment, files) = text.split_once("\n\n").unwrap();
            assert!(!environment.contains("SECRET"), "{environment}");
            assert_eq!(files, "0\n1\n2\n3\n0022\n");
        },
        |host| host.finish(),
    );
}
