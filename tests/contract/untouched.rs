//! What the host is and has stays as it was, and what it has does not reach its containers.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

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
        let done = std::sync::atomic::AtomicBool::new(false);
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
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                });
            }
            let mut looked_at = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
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
fn a_host_with_the_default_sigpipe_survives_a_container_that_does_not_read() {
    alone(|| {
        // SAFETY: only a disposition; Rust's runtime ignores it.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let engine = host::engine();
        let mut child = host::shell(&engine, "exec <&-; echo closed; exec sleep 600")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 7];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let error = child.stdin.as_mut().unwrap().write(b"anyone there?").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        let mut deaf = host::shell(&engine, "exec <&-; echo bye");
        assert_eq!(deaf.input(vec![b'x'; 1 << 20]).output().unwrap().stdout, b"bye\n");
        // A dead keeper is another broken pipe.
        let keeper = skep_tests::proc::keepers(&host::directory().join("store"))[0];
        // SAFETY: numbers only.
        unsafe { libc::kill(keeper, libc::SIGKILL) };
        child.wait().unwrap_err();
        child.kill().unwrap();
        assert_eq!(host::shell(&engine, "exit 2").status().unwrap().code(), Some(2));
    });
}

#[test]
fn a_host_in_a_deleted_directory_runs_containers() {
    alone(|| {
        let gone = host::directory().join("gone");
        fs::create_dir(&gone).unwrap();
        std::env::set_current_dir(&gone).unwrap();
        fs::remove_dir(&gone).unwrap();
        let engine = host::engine();
        let out = host::shell(&engine, "pwd").output().unwrap();
        assert_eq!(out.stdout, b"/\n");
    });
}

#[test]
fn a_host_with_umask_0777_gets_the_usual_modes() {
    alone(|| {
        umask(Mode::from_bits_truncate(0o777));
        let engine = host::engine();
        let script = "umask; mkdir /made; touch /made/file; stat -c '%a %n' / /dev /dev/null \
                      /dev/pts /dev/shm /proc /made /made/file";
        let out = host::shell(&engine, script).output().unwrap();
        let root = fs::metadata("/").unwrap().mode() & 0o7777;
        let expected = format!(
            "0022\n{root:o} /\n755 /dev\n666 /dev/null\n755 /dev/pts\n1777 /dev/shm\n555 /proc\n\
             755 /made\n644 /made/file\n"
        );
        assert_eq!(String::from_utf8(out.stdout).unwrap(), expected);
        let store = fs::metadata(host::directory().join("store")).unwrap();
        assert_eq!(store.mode() & 0o7777, 0o700);
        assert_eq!(umask(Mode::empty()).bits(), 0o777);
    });
}

#[test]
fn a_host_without_standard_streams_runs_containers() {
    alone(|| {
        let report = host::directory().join("report");
        // Panics have nowhere to go but into a file.
        let into = report.clone();
        std::panic::set_hook(Box::new(move |info| fs::write(&into, info.to_string()).unwrap()));
        // SAFETY: numbers only; the harness puts up with it.
        let keep = [0, 1, 2].map(|number| unsafe {
            let keep = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 100);
            libc::close(number);
            OwnedFd::from_raw_fd(keep)
        });
        let result = std::panic::catch_unwind(|| {
            let engine = host::engine();
            let script = "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 >/seen; \
                          ls /proc/self/fd >>/seen; cat /seen";
            let first = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            // What the library has opened may have these numbers now. It is not the next one's.
            let mut second = tempfile();
            let status = host::shell(&engine, script).stdout(second.try_clone().unwrap()).status();
            assert_eq!(status.unwrap().code(), Some(0));
            let mut text = String::new();
            second.rewind().unwrap();
            second.read_to_string(&mut text).unwrap();
            let lines: Vec<_> = text.lines().collect();
            // The script's own redirection is number 1; ls has its directory as 3.
            assert_eq!(lines, ["/dev/null", "/seen", "/dev/null", "0", "1", "2", "3"]);
            assert!(first.try_wait().unwrap().is_none());
            assert_eq!(host::shell(&engine, "echo x").output().unwrap().stdout, b"x\n");
        });
        for (keep, number) in keep.iter().zip(0..) {
            // SAFETY: numbers only.
            unsafe { libc::dup2(keep.as_raw_fd(), number) };
        }
        drop(std::panic::take_hook());
        assert!(result.is_ok(), "{}", fs::read_to_string(report).unwrap());
    });
}

fn tempfile() -> fs::File {
    let path = host::directory().join("output");
    fs::File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
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
