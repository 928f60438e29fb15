//! Few file descriptors, large environments, and a great many containers.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use skep::{Child, Error, ErrorKind, Stdio};
use skep_tests::host::{self, Host, alone, rounds};
use skep_tests::left::{attached, groups};
use skep_tests::proc::{SOON, children_of, keepers, open_files, resident_kib, runs, wait_until};

/// So many roots that were not written to are kept for the next containers.
const KEPT: usize = 8;

fn me() -> i32 {
    std::process::id() as i32
}

/// Lowers the soft limit of open files; the hard one stays.
fn allow_files(soft: u64) -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    hard
}

fn assert_no_more_files(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
}

/// The control groups inside those of the keepers.
fn containers_groups(store: &Path) -> Vec<PathBuf> {
    let existing = groups(store).into_iter().filter(|group| group.exists());
    let inside = existing.flat_map(|group| fs::read_dir(group).unwrap().map(Result::unwrap));
    inside.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()).collect()
}

/// Starts containers until a start fails for want of file descriptors.
fn start_until_full(engine: &skep::Engine) -> Vec<Child> {
    let mut running = Vec::new();
    loop {
        // A pipe of each stays with the host, while a handle alone needs no file when they are scarce.
        match host::shell(engine, "exec sleep 600").stdout(Stdio::piped()).spawn() {
            Ok(child) => running.push(child),
            Err(error) => {
                assert_no_more_files(&error);
                return running;
            }
        }
        assert!(running.len() < 300);
    }
}

#[test]
fn three_hundred_containers_pass_through_a_host_of_256_files() {
    alone(|| {
        let hard = allow_files(256);
        let engine = host::engine();
        let seen = host::shell(&engine, "ulimit -Sn; ulimit -Hn").output().unwrap();
        assert_eq!(String::from_utf8(seen.stdout).unwrap(), format!("256\n{hard}\n"));
        let mut total = 0;
        while total < 300 {
            // What has ended makes room.
            let running = start_until_full(&engine);
            assert!(running.len() > 100, "{}", running.len());
            assert!(running[0].try_wait().unwrap().is_none());
            total += running.len();
        }
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((256, hard)));
    });
}

#[test]
fn three_hundred_containers_live_in_a_host_of_256_files() {
    alone(|| {
        allow_files(256);
        let engine = host::engine();
        let running: Vec<Child> =
            (0..300).map(|_| host::shell(&engine, "exec sleep 600").spawn().unwrap()).collect();
        for child in running {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    });
}

/// Each file descriptor that a start wants is once the one that is not to be had.
#[test]
fn a_start_without_enough_files_leaves_nothing() {
    alone(|| {
        let store = host::directory().join("store");
        allow_files(100);
        let engine = host::engine();
        assert!(host::shell(&engine, "exit 0").status().unwrap().success());
        let mut ballast = fill();
        let mut failures = 0;
        loop {
            let before = files_in_use();
            let result = host::shell(&engine, "exit 3").status();
            assert_eq!(files_in_use(), before);
            allow_files(200);
            // The lock and the list of groups.
            let left = fs::read_dir(&attached(&store)[0]).unwrap().count();
            assert!(left <= 2 + KEPT, "{left} after {result:?}");
            assert_eq!(containers_groups(&store), Vec::<PathBuf>::new());
            match result {
                Ok(status) => break assert_eq!(status.code(), Some(3)),
                Err(error) => assert_no_more_files(&error),
            }
            allow_files(100);
            failures += 1;
            ballast.pop().unwrap();
        }
        assert!(failures > 5, "{failures}");
    });
}

/// The same for the engine itself and the birth of its keeper.
#[test]
fn an_engine_without_enough_files_leaves_nothing() {
    alone(|| {
        let store = host::directory().join("store");
        allow_files(100);
        let mut ballast = fill();
        let mut failures = 0;
        loop {
            let before = files_in_use();
            let engine = skep::Engine::open(&store);
            let result = engine.and_then(|engine| host::shell(&engine, "exit 3").status());
            assert_eq!(files_in_use(), before);
            match result {
                Ok(status) => break assert_eq!(status.code(), Some(3)),
                Err(error) => assert_no_more_files(&error),
            }
            failures += 1;
            ballast.pop().unwrap();
        }
        assert!(failures > 10, "{failures}");
        drop(ballast);
        drop(host::engine());
        assert_eq!(attached(&store), Vec::<PathBuf>::new());
        wait_until("no keeper", SOON, || keepers(&store).is_empty());
    });
}

/// Which of the first hundred numbers are open, found without opening anything.
fn files_in_use() -> Vec<i32> {
    // SAFETY: numbers only.
    (0..100).filter(|&number| unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0).collect()
}

/// Opens files until no more can be.
fn fill() -> Vec<OwnedFd> {
    let null = fs::File::open("/dev/null").unwrap();
    let mut ballast = Vec::new();
    while let Ok(file) = null.try_clone() {
        ballast.push(OwnedFd::from(file));
    }
    ballast
}

#[test]
fn a_megabyte_of_environment_arrives() {
    let host =
        (0..16).fold(Host::new(), |host, i| host.env(&format!("HOST_{i}"), "h".repeat(64 << 10)));
    host.watched(
        || {
            let engine = host::engine();
            let mut command =
                host::shell(&engine, "env | grep ^GUEST_ | wc -c; env | grep -c ^HOST_");
            for i in 10..26 {
                command.env(format!("GUEST_{i}"), "g".repeat(64 << 10));
            }
            let out = command.output().unwrap();
            // Name, equals sign and line feed of each.
            let bytes = 16 * ((64 << 10) + "GUEST_10=\n".len());
            assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{bytes}\n0\n"));
            // More than the kernel takes is the caller's mistake, and says so.
            let error = host::shell(&engine, "true").env("X", "x".repeat(200 << 10)).spawn();
            assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        },
        |host| host.finish(),
    );
}

#[test]
fn two_thousand_runs_leak_nothing() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        let run = |i: usize| {
            let code = (i % 250) as i32;
            let status = match i % 4 {
                0 => host::shell(&engine, &format!("exit {code}")).output().unwrap().status,
                _ => host::shell(&engine, &format!("exit {code}")).status().unwrap(),
            };
            assert_eq!(status.code(), Some(code));
        };
        let wanted = rounds(2000);
        (0..wanted / 20).for_each(run);
        let keeper = keepers(&store)[0];
        let look = || (open_files(me()).len(), open_files(keeper).len());
        let (files, memory, keepers_memory) = (look(), resident_kib(me()), resident_kib(keeper));
        (0..wanted).for_each(run);
        assert_eq!(look(), files);
        let grown = resident_kib(me()).saturating_sub(memory);
        assert!(grown < 4096, "the host has grown by {grown} KiB");
        let grown = resident_kib(keeper).saturating_sub(keepers_memory);
        assert!(grown < 64, "the keeper has grown by {grown} KiB");
        // Zombies are children, too.
        assert_eq!(children_of(keeper), Vec::<i32>::new());
        assert_eq!(children_of(me()), Vec::<i32>::new());
        assert!(fs::read_dir(&attached(&store)[0]).unwrap().count() <= 2 + KEPT);
        assert!(groups(&store).iter().any(|group| group.exists()));
        assert_eq!(containers_groups(&store), Vec::<PathBuf>::new());
        drop(engine);
        wait_until("the keeper has ended", SOON, || !runs(keeper));
        assert_eq!(attached(&store).len(), 0);
    });
}

/// That a handle gives its file descriptor back and that it wants another one are said on different
/// channels: the keeper may hear of the second first.
#[test]
fn many_threads_wait_for_containers_that_are_just_parked() {
    alone(|| {
        let engine = host::engine();
        // Above half of the limit from the start.
        allow_files(1024);
        let ballast: Vec<_> = (0..600).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let engine = &engine;
                scope.spawn(move || {
                    for _ in 0..30 {
                        let status = host::shell(engine, &format!("exit {thread}")).status();
                        assert_eq!(status.unwrap().code(), Some(thread));
                    }
                });
            }
        });
        drop(ballast);
    });
}

/// A wait for which there is no file descriptor is to be tried again; it is not the container's end.
#[test]
fn a_wait_without_files_leaves_the_container_alone() {
    alone(|| {
        let store = host::directory().join("store");
        let engine = host::engine();
        allow_files(256);
        let ballast: Vec<_> = (0..150).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
        let before = containers_groups(&store);
        assert!(!before.is_empty());
        let full = fill();
        assert_no_more_files(&child.try_wait().unwrap_err());
        drop((full, ballast));
        assert_eq!(containers_groups(&store), before);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9));
        assert!(status.usage().cpu.is_some());
        assert_eq!(containers_groups(&store), Vec::<PathBuf>::new());
    });
}

/// The keeper's own files are scarce too: a handle that wants its file descriptor back is refused, and
/// no container dies of it.
#[test]
fn a_keeper_without_files_keeps_its_containers() {
    alone(|| {
        setrlimit(Resource::RLIMIT_NOFILE, 256, 256).unwrap();
        let engine = host::engine();
        // Above half of the limit from the start: each handle has given its own back.
        let ballast: Vec<_> = (0..130).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let mut running = Vec::new();
        let full = loop {
            match host::shell(&engine, "exec sleep 600").spawn() {
                Ok(child) => running.push(child),
                Err(error) => break error,
            }
        };
        assert_no_more_files(&full);
        drop(ballast);
        let watched: Vec<bool> = running
            .iter()
            .map(|child| child.exit_fd().map_err(|error| assert_no_more_files(&error)).is_ok())
            .collect();
        assert!(watched.contains(&true) && watched.contains(&false), "{watched:?}");
        // Each container that ends makes room for two others.
        for child in running {
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
    });
}
