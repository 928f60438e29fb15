//! Streams, waiting, signals and the end of containers.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use skep::{Child, Collector, Command, ErrorKind, ExitReason, Stdio};
use skep_tests::machine::{marker, processes, until};
use skep_tests::{TestEngine, probe, said, temporary};

const PIPED: fn() -> Stdio = Stdio::piped;
const PIPE: fn() -> std::process::Stdio = std::process::Stdio::piped;

/// Starts `command` with pipes, and waits for the first line that it says.
fn started(command: &mut Command) -> Child {
    let mut child = command.stdin(PIPED()).stdout(PIPED()).spawn().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }
    child
}

/// Bytes that repeat after no power of two.
fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

#[test]
fn output_is_collected_and_streams_are_kept_apart() {
    let test = TestEngine::new();
    let out = test.shell("echo out; echo err >&2; exit 3").output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    assert_eq!((out.stdout.as_slice(), out.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    let mut byte_after_byte = test.command(["cat"]);
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(byte_after_byte.input(bytes.clone()).output().unwrap().stdout, bytes);
}

#[test]
fn output_reads_nothing_and_status_says_nothing_by_default() {
    let test = TestEngine::new();
    let out = test.shell("cat; readlink /proc/self/fd/0").output().unwrap();
    assert_eq!(out.stdout, b"/dev/null\n");
    assert_eq!(test.shell("exit 9").stdin(Stdio::null()).status().unwrap().code(), Some(9));
}

#[test]
fn a_hundred_megabytes_pass_in_both_directions_at_once() {
    let test = TestEngine::new();
    let bytes = pattern(100_000_000);
    let out = test.command(["cat"]).input(bytes.clone()).output().unwrap();
    assert!(out.status.success());
    assert!(out.stdout == bytes, "{} bytes came back, or others", out.stdout.len());
}

#[test]
fn much_comes_through_both_streams_at_once() {
    let test = TestEngine::new();
    let script = "head -c 20000000 /dev/zero >&2 & head -c 20000000 /dev/zero; wait";
    let out = test.shell(script).output().unwrap();
    assert_eq!((out.stdout.len(), out.stderr.len()), (20_000_000, 20_000_000));
}

#[test]
fn input_that_is_not_wanted_is_dropped() {
    let test = TestEngine::new();
    let out = test.shell("exec <&-; echo done").input(pattern(10_000_000)).output().unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"done\n"[..]));
    let out = test.command(["head", "-c", "3"]).input(&b"abcdef"[..]).output().unwrap();
    assert_eq!(out.stdout, b"abc");
    let out = test.command(["cat"]).input(&b""[..]).output().unwrap();
    assert_eq!(out.stdout, b"");
}

#[test]
fn a_write_to_a_closed_pipe_is_an_error_and_no_signal() {
    let test = TestEngine::new();
    let mut child = started(&mut test.shell("exec <&-; echo; sleep 1000"));
    let mut stdin = child.stdin.take().unwrap();
    let error = stdin.write_all(&pattern(1 << 20)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

/// Waits until one of them has something to do.
fn await_any(collectors: &[Collector]) {
    let mut fds: Vec<PollFd<'_>> = collectors
        .iter()
        .map(|collector| PollFd::new(collector.as_fd(), PollFlags::POLLIN))
        .collect();
    assert!(poll(&mut fds, PollTimeout::NONE).unwrap() > 0);
}

#[test]
fn an_event_loop_collects_the_output_of_many_at_once() {
    let test = TestEngine::new();
    let bytes = pattern(3_000_000);
    let mut running: Vec<Collector> = (0..8)
        .map(|_| test.command(["tee", "/dev/stderr"]).input(bytes.clone()).collect().unwrap())
        .collect();
    let mut turns = 0;
    while !running.is_empty() {
        await_any(&running);
        running.retain_mut(|collector| {
            turns += 1;
            let Some(out) = collector.advance().unwrap() else { return true };
            assert!(out.status.success());
            assert!(out.stdout == bytes && out.stderr == bytes);
            let again = collector.advance().unwrap_err();
            assert_eq!(again.kind(), ErrorKind::InvalidState);
            assert!(again.to_string().ends_with(": it has been given"), "{again}");
            false
        });
    }
    assert!(turns > 16, "never more than 1 MiB at a time");
}

#[test]
fn a_collector_of_closed_streams_waits_for_the_end_alone() {
    let test = TestEngine::new();
    let marker = marker("closed");
    let script = "exec <&- >&- 2>&-; exec sh -c 'sleep 1000; :' $0";
    let mut command = test.command(["sh", "-c", script, &marker]);
    let mut collector = command.input(&b""[..]).collect().unwrap();
    until("its streams are closed", || processes(&marker).len() == 1);
    until("that has been seen", || {
        assert_eq!(collector.advance().unwrap(), None);
        let mut fds = [PollFd::new(collector.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 0
    });
    collector.child().kill().unwrap();
    assert_eq!(collector.wait().unwrap().status.reason(), ExitReason::Signaled(9));
}

#[test]
fn a_background_process_does_not_hold_up_the_end() {
    let test = TestEngine::new();
    let marker = marker("background");
    let script = "(while :; do sleep 1000; done) & (setsid sleep 1000) & echo done";
    let out = test.command(["sh", "-c", script, &marker]).output().unwrap();
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), &b"done\n"[..]));
    assert_eq!(processes(&marker), [0; 0], "it ends with its init");
}

#[test]
fn streams_may_be_files_and_each_others() {
    let test = TestEngine::new();
    let directory = temporary("skep-streams-");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in"), "from a file\n").unwrap();
    let both = File::create(path("out")).unwrap();
    let mut command = test.shell("cat; echo error >&2");
    command.stdin(File::open(path("in")).unwrap()).stderr(both.try_clone().unwrap()).stdout(both);
    assert!(command.status().unwrap().success());
    assert_eq!(fs::read_to_string(path("out")).unwrap(), "from a file\nerror\n");
    // A socket will do as well.
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut command = test.command(["cat"]);
    command.stdin(Stdio::file(theirs.try_clone().unwrap())).stdout(Stdio::file(theirs));
    let child = command.spawn().unwrap();
    drop(command);
    ours.write_all(b"word").unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(std::io::read_to_string(ours).unwrap(), "word");
    assert!(child.wait().unwrap().success());
}

#[test]
fn inherited_streams_are_the_hosts() {
    // A host of its own, whose streams are known: this test once more.
    const HOST: &str = "SKEP_TEST_INHERIT";
    if std::env::var_os(HOST).is_some() {
        let test = TestEngine::new();
        let status = test.shell("cat; echo error >&2; exit 5").status().unwrap();
        assert_eq!(status.code(), Some(5));
        return;
    }
    let name = "processes::inherited_streams_are_the_hosts";
    let directory = temporary("skep-inherit-");
    fs::write(directory.path().join("in"), "inherited\n").unwrap();
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOST, "1")
        .stdin(File::open(directory.path().join("in")).unwrap())
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("inherited\n"), "{stdout}");
    assert!(stderr.contains("error\n"), "{stderr}");
}

#[test]
fn a_command_can_be_used_again() {
    let test = TestEngine::new();
    let directory = temporary("skep-again-");
    let path = directory.path().join("out");
    let mut command = test.shell("cat; echo said; echo error >&2");
    command.input(&b"given "[..]).stderr(File::create(&path).unwrap());
    for _ in 0..2 {
        assert_eq!(command.output().unwrap().stdout, b"given said\n");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), "error\nerror\n");
    let mut command = test.command(["echo", "said"]);
    command.stdout(PIPED());
    let children = [command.spawn().unwrap(), command.spawn().unwrap()];
    assert_ne!(children[0].id(), children[1].id());
    for mut child in children {
        assert_eq!(std::io::read_to_string(child.stdout.take().unwrap()).unwrap(), "said\n");
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(said(command.arg("more")), "said more\n");
}

#[test]
fn any_number_of_threads_may_wait() {
    let test = TestEngine::new();
    let child = started(&mut test.shell("echo; read end; exit 6"));
    let child = &child;
    let statuses: Vec<_> = thread::scope(|scope| {
        let waiting: Vec<_> = (0..16)
            .map(|n| {
                scope.spawn(move || match n % 2 {
                    0 => child.wait().unwrap(),
                    _ => child.wait_timeout(Duration::from_secs(60)).unwrap().unwrap(),
                })
            })
            .collect();
        assert_eq!(child.try_wait().unwrap(), None);
        child.stdin.as_ref().map(|pipe| nix::unistd::write(pipe, b"\n")).unwrap().unwrap();
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses[0].code(), Some(6));
    assert!(statuses[0].usage().cpu.is_some());
    assert!(statuses.iter().all(|status| *status == statuses[0]), "the same, usage and all");
    assert_eq!(child.wait().unwrap(), statuses[0]);
    assert_eq!(child.try_wait().unwrap(), Some(statuses[0]));
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), Some(statuses[0]));
}

#[test]
fn a_wait_ends_at_its_timeout_and_not_before() {
    let test = TestEngine::new();
    let child = started(&mut test.shell("echo; read end"));
    let before = Instant::now();
    let timeout = Duration::from_millis(50);
    assert_eq!(child.wait_timeout(timeout).unwrap(), None);
    assert!(before.elapsed() >= timeout);
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child);
}

#[test]
fn an_end_can_be_polled_for() {
    let test = TestEngine::new();
    let mut child = started(&mut test.shell("echo; read end"));
    let ready = |child: &Child, timeout: PollTimeout| {
        let mut fds = [PollFd::new(child.exit_fd().unwrap(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap();
        fds[0].revents().unwrap()
    };
    assert_eq!(ready(&child, PollTimeout::ZERO), PollFlags::empty());
    drop(child.stdin.take());
    assert!(ready(&child, PollTimeout::NONE).contains(PollFlags::POLLIN));
    assert!(child.try_wait().unwrap().is_some(), "readable means that it has ended");
    assert!(ready(&child, PollTimeout::ZERO).contains(PollFlags::POLLIN), "and stays so");
}

#[test]
fn signals_reach_the_command() {
    let test = TestEngine::new();
    let mut child = started(
        &mut test
            .shell("trap 'echo usr1' USR1; trap 'exit 5' TERM; echo; while :; do read line; done"),
    );
    child.signal(nix::libc::SIGUSR1).unwrap();
    let mut word = [0; 5];
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"usr1\n");
    child.signal(nix::libc::SIGTERM).unwrap();
    // Some shells read to the end of a line first; others have gone by now.
    let _ = child.stdin.as_mut().unwrap().write_all(b"\n");
    assert_eq!(child.wait().unwrap().reason(), ExitReason::Exited(5));
}

#[test]
fn numbers_that_are_no_signals_are_invalid() {
    let test = TestEngine::new();
    let child = started(&mut test.shell("echo; read end"));
    for signal in [0, 65, -1, i32::MAX] {
        let error = child.signal(signal).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let expected = format!("cannot send signal {signal}; give a number from 1 to 64");
        assert_eq!(error.to_string(), expected);
    }
    // Init has no handler for it: nothing happens. Neither for the first real-time one.
    child.signal(64).unwrap();
    child.signal(34).unwrap();
    child.signal(nix::libc::SIGHUP).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
}

#[test]
fn a_stop_asks_first_and_kills_then() {
    let test = TestEngine::new();
    let polite = "trap 'exit 4' TERM; echo; while :; do sleep 0.01; done";
    let mut child = started(&mut test.shell(polite));
    drop(child.stdin.take());
    let status = child.stop(Duration::from_secs(60)).unwrap();
    assert_eq!(status.reason(), ExitReason::Exited(4));
    let deaf = "trap '' TERM; echo; while :; do sleep 1000; done";
    let child = started(&mut test.shell(deaf));
    let before = Instant::now();
    let grace = Duration::from_millis(50);
    assert_eq!(child.stop_signal(), 15);
    assert_eq!(child.stop(grace).unwrap().reason(), ExitReason::Signaled(9));
    assert!(before.elapsed() >= grace);
    // Without a handler an init is deaf too.
    let child = started(&mut test.shell("echo; read end"));
    assert_eq!(child.stop(Duration::ZERO).unwrap().reason(), ExitReason::Signaled(9));
}

#[test]
fn what_has_ended_can_be_signalled_and_stopped_again() {
    let test = TestEngine::new();
    let child = test.shell("exit 2").spawn().unwrap();
    until("it has ended", || {
        let mut fds = [PollFd::new(child.exit_fd().unwrap(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    });
    // Its end is not yet known here, and then it is.
    child.kill().unwrap();
    let status = child.stop(Duration::ZERO).unwrap();
    assert_eq!(status.reason(), ExitReason::Exited(2));
    child.signal(nix::libc::SIGTERM).unwrap();
    child.kill().unwrap();
    assert_eq!(child.stop(Duration::ZERO).unwrap(), status);
    drop(child);
}

#[test]
fn a_drop_kills_and_removes() {
    let test = TestEngine::new();
    let marker = marker("drop");
    let script =
        "trap '' TERM; (while :; do sleep 1000; done) & echo; while :; do sleep 1000; done";
    let child = started(&mut test.command(["sh", "-c", script, &marker]));
    // A fork of the shell that has not yet become sleep counts too.
    assert!(processes(&marker).len() >= 2);
    let (directory, groups) = (test.directory_of(&child).unwrap(), test.groups_of(&child));
    assert!(!groups.is_empty());
    drop(child);
    assert_eq!(processes(&marker), [0; 0]);
    assert!(!directory.exists());
    assert!(!groups.iter().any(|group| group.exists()), "{groups:?}");
}

#[test]
fn the_last_handle_ends_the_engine() {
    let test = TestEngine::new();
    let marker = marker("engine");
    let child = started(&mut test.command(["sh", "-c", "echo; read end", &marker]));
    let parents = test.group_parents();
    let attached = test.store().join("attached");
    let TestEngineParts { store: _store, engine } = parts(test);
    drop(engine);
    assert_eq!(processes(&marker).len(), 1, "a container keeps its keeper");
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child);
    assert_eq!(processes(&marker), [0; 0]);
    assert_eq!(fs::read_dir(attached).unwrap().count(), 0);
    assert!(!parents.iter().any(|parent| parent.exists()), "{parents:?}");
}

struct TestEngineParts {
    engine: skep::Engine,
    /// Keeps the store.
    store: TestEngine,
}

/// The engine apart from its store: `TestEngine` holds both, so another takes its place.
fn parts(mut test: TestEngine) -> TestEngineParts {
    let other = temporary("skep-other-");
    let other = skep::Engine::open(other.path()).unwrap();
    let engine = std::mem::replace(&mut test.engine, other);
    TestEngineParts { engine, store: test }
}

#[test]
fn a_stopped_container_is_dropped_at_once() {
    let test = TestEngine::new();
    let marker = marker("stopped");
    let child = started(&mut test.command([
        "sh",
        "-c",
        "sh -c 'kill -STOP $$' \"$0\" & echo; read end",
        &marker,
    ]));
    child.signal(nix::libc::SIGSTOP).unwrap();
    let before = Instant::now();
    drop(child);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(processes(&marker), [0; 0]);
}

/// A container can make its parent its tracer, which is the keeper: its dead threads are zombies then
/// until the keeper takes them, and would keep it from ever having ended.
#[test]
fn a_container_that_the_keeper_traces_ends_like_any_other() {
    let test = TestEngine::new();
    let start = |how: &str| {
        let mut command = test.probe("be-traced", &[how]);
        let mut child = command.stdin(Stdio::null()).stdout(PIPED()).spawn().unwrap();
        let (mut text, mut bytes) = (String::new(), [0; 64]);
        let mut stdout = child.stdout.take().unwrap();
        // A signal without a handler stops it for its tracer, which lets it go on.
        let last = if how == "exit" { "traced: ok\n" } else { "alone\n" };
        while !text.ends_with(last) {
            let read = stdout.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "{text}");
            text += std::str::from_utf8(&bytes[..read]).unwrap();
        }
        child
    };
    let end =
        |child: &Child| child.wait_timeout(Duration::from_secs(20)).unwrap().unwrap().reason();
    assert_eq!(end(&start("exit")), ExitReason::Exited(3));
    for how in ["end", "signal", "stay"] {
        let child = start(how);
        child.kill().unwrap();
        assert_eq!(end(&child), ExitReason::Signaled(9), "{how}");
    }
}

#[test]
fn a_container_that_the_keeper_traces_ends_with_its_host() {
    const STORE: &str = "SKEP_TEST_TRACED_STORE";
    const NAME: &str = "processes::a_container_that_the_keeper_traces_ends_with_its_host";
    if let Some(store) = std::env::var_os(STORE) {
        let engine = skep::Engine::open(store).unwrap();
        let mut command = engine.command(skep::Root::host());
        probe::prepare(&mut command, "be-traced", &["stay"]);
        command.status().unwrap();
        return;
    }
    let test = TestEngine::new();
    let mut host = std::process::Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", NAME, "--nocapture"]).env(STORE, test.store());
    let mut host = host.stdin(std::process::Stdio::null()).stdout(PIPE()).spawn().unwrap();
    let (mut text, mut bytes) = (String::new(), [0; 256]);
    while !text.contains("alone\n") {
        let read = host.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
        assert_ne!(read, 0, "{text}");
        text += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    let groups = test.group_parents();
    assert!(groups.iter().any(|group| group.exists()), "{groups:?}");
    host.kill().unwrap();
    host.wait().unwrap();
    // Only the keeper is left to remove them, and it does so when its containers have ended.
    until("the keeper has ended", || !groups.iter().any(|group| group.exists()));
}

#[test]
fn many_containers_run_at_once() {
    let test = TestEngine::new();
    let mut children: Vec<Child> =
        (0..30).map(|n| started(&mut test.shell(&format!("echo; read end; exit {n}")))).collect();
    for child in &mut children {
        drop(child.stdin.take());
    }
    let codes: Vec<_> = children.iter().map(|child| child.wait().unwrap().code()).collect();
    assert_eq!(codes, (0..30).map(Some).collect::<Vec<_>>());
}

#[test]
fn starts_from_many_threads_do_not_meet() {
    let test = TestEngine::new();
    thread::scope(|scope| {
        for n in 0..8 {
            let test = &test;
            scope.spawn(move || {
                for m in 0..4 {
                    assert_eq!(test.run(&format!("echo {n} {m}")), format!("{n} {m}\n"));
                }
            });
        }
    });
}
