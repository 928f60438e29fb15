//! A host with a controlling terminal: its signals are the host's.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::fcntl::OFlag;
use nix::libc;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use skep::Stdio;
use skep_tests::host::{self, Host, say, wait_to_be_killed};
use skep_tests::left::Belongings;
use skep_tests::proc::{SOON, keepers, runs, wait_until};

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
}

/// A pseudo terminal, both sides close-on-exec: a host that inherits the master hangs up never.
fn open_terminal() -> (File, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let options = File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).to_owned();
    let terminal = options.open(ptsname_r(&master).unwrap()).unwrap();
    (File::from(OwnedFd::from(master)), terminal.into())
}

/// A container that says so if it gets a signal of a terminal.
const WATCHFUL: &str = "trap 'echo INT' INT; trap 'echo QUIT' QUIT; trap 'echo HUP' HUP; \
                        trap 'echo TERM; exit 7' TERM; echo ready; while :; do read x; done";

#[test]
fn control_c_reaches_the_host_alone() {
    let (mut master, terminal) = open_terminal();
    Host::new().terminal(terminal).watched(
        || {
            let action =
                SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: `count` only adds to an atomic.
            unsafe { sigaction(Signal::SIGINT, &action) }.unwrap();
            let engine = host::engine();
            let mut child = host::shell(&engine, WATCHFUL)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let out: File = OwnedFd::from(child.stdout.take().unwrap()).into();
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
            assert_eq!(lines.next().unwrap().unwrap(), "ready");
            // Neither the terminal nor a process group of the host's is the container's.
            let tty = host::shell(&engine, "(: </dev/tty) 2>/dev/null; echo $?").output().unwrap();
            assert_ne!(tty.stdout, b"0\n");
            say("ready");
            wait_until("one interrupt", SOON, || INTERRUPTS.load(Ordering::Relaxed) == 1);
            assert!(child.try_wait().unwrap().is_none());
            assert_eq!(host::shell(&engine, "exit 4").status().unwrap().code(), Some(4));
            // Whatever had been sent before comes before this.
            child.signal(libc::SIGTERM).unwrap();
            // For a shell that reads on after its trap.
            let _ = writeln!(child.stdin.as_mut().unwrap());
            assert_eq!(lines.next().unwrap().unwrap(), "TERM");
            assert_eq!(child.wait().unwrap().code(), Some(7));
        },
        |mut host| {
            host.await_line("ready");
            master.write_all(b"\x03").unwrap();
            host.finish();
        },
    );
}

#[test]
fn a_host_that_control_c_ends_takes_its_containers_along() {
    let (mut master, terminal) = open_terminal();
    Host::new().terminal(terminal).watched(
        || {
            let engine = host::engine();
            let _child = host::shell(&engine, WATCHFUL).stdout(Stdio::null()).spawn().unwrap();
            say("ready");
            wait_to_be_killed();
        },
        |mut host| {
            host.await_line("ready");
            let belongings = Belongings::of(&host);
            assert_eq!(belongings.keepers.len(), 1);
            master.write_all(b"\x03").unwrap();
            let status = host.wait();
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
            belongings.await_gone();
            belongings.await_swept();
        },
    );
}

#[test]
fn a_closed_terminal_hangs_up_the_host_alone() {
    let (master, terminal) = open_terminal();
    Host::new().terminal(terminal).watched(
        || {
            let action =
                SigAction::new(SigHandler::Handler(count), SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: `count` only adds to an atomic.
            unsafe { sigaction(Signal::SIGHUP, &action) }.unwrap();
            let engine = host::engine();
            let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            let keeper = keepers(&host::directory().join("store"))[0];
            say("ready");
            wait_until("a hang-up", SOON, || INTERRUPTS.load(Ordering::Relaxed) == 1);
            assert!(child.try_wait().unwrap().is_none());
            assert!(runs(keeper));
            assert_eq!(host::shell(&engine, "exit 4").status().unwrap().code(), Some(4));
        },
        |mut host| {
            host.await_line("ready");
            drop(master);
            host.finish();
        },
    );
}
