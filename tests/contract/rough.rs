//! Hosts that make it hard: signals all the time, no standard streams, no directory, tight limits.

use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::{Mode, umask};
use skep::{ErrorKind, Stdio};
use skep_tests::host::{self, alone, rounds};

static TICKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn tick(_: i32) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// A profiler or a garbage collector interrupts system calls like this.
#[test]
fn a_host_that_is_interrupted_all_the_time_runs_containers() {
    alone(|| {
        // Without SA_RESTART: what can say EINTR does.
        let action = SigAction::new(SigHandler::Handler(tick), SaFlags::empty(), SigSet::empty());
        // SAFETY: `tick` only adds to an atomic.
        unsafe { sigaction(Signal::SIGALRM, &action) }.unwrap();
        interrupt_every(200);
        for i in 0..rounds(60) as i32 {
            let engine = host::engine();
            let status = host::shell(&engine, &format!("exit {i}")).status();
            assert_eq!(status.unwrap().code(), Some(i));
            let mut echo = host::shell(&engine, "cat; echo err >&2");
            let out = echo.input(vec![b'x'; 300_000]).output().unwrap();
            assert_eq!((out.stdout.len(), out.stderr.len()), (300_000, 4));
            let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            assert_eq!(child.wait_timeout(std::time::Duration::from_millis(2)).unwrap(), None);
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9));
        }
        interrupt_every(0);
        assert!(TICKS.load(Ordering::Relaxed) > rounds(500));
    });
}

fn interrupt_every(microseconds: i64) {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: reads the local.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) }, 0);
}

/// The library writes into memory files, to which the limit applies as well.
#[test]
fn a_limit_of_file_sizes_is_an_error_and_no_sigxfsz() {
    alone(|| {
        let engine = host::engine();
        for size in [0, 100, 4096] {
            setrlimit(Resource::RLIMIT_FSIZE, size, libc::RLIM_INFINITY).unwrap();
            let error = host::shell(&engine, "exit 0").status().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
            assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        }
        setrlimit(Resource::RLIMIT_FSIZE, libc::RLIM_INFINITY, libc::RLIM_INFINITY).unwrap();
        assert_eq!(host::shell(&engine, "exit 3").status().unwrap().code(), Some(3));
        // With a keeper there it is the plan that does not fit.
        setrlimit(Resource::RLIMIT_FSIZE, 100, libc::RLIM_INFINITY).unwrap();
        let error = host::shell(&engine, "exit 0").status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    });
}

#[test]
fn a_limit_of_file_sizes_stops_images_too() {
    alone(|| {
        let engine = host::engine();
        let archive = host::directory().join("root.tar");
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(100_000);
        tar.append_data(&mut header, "f", &[b'x'; 100_000][..]).unwrap();
        std::fs::write(&archive, tar.into_inner().unwrap()).unwrap();
        let images = engine.images();
        let limited = |size, work: &dyn Fn() -> skep::Result<()>| {
            setrlimit(Resource::RLIMIT_FSIZE, size, libc::RLIM_INFINITY).unwrap();
            let error = work().unwrap_err();
            setrlimit(Resource::RLIMIT_FSIZE, libc::RLIM_INFINITY, libc::RLIM_INFINITY).unwrap();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
            assert!(error.to_string().contains("RLIMIT_FSIZE"), "{error}");
        };
        limited(4096, &|| images.import(&archive, Some("f:1")).map(drop));
        let image = images.import(&archive, Some("f:1")).unwrap();
        limited(4096, &|| image.layers().map(drop));
        limited(10, &|| images.tag("f:1", "f:2"));
        image.layers().unwrap();
        limited(10, &|| images.remove("f:1"));
        images.remove("f:1").unwrap();
    });
}

#[test]
fn a_host_of_many_groups_runs_containers_that_have_none() {
    alone(|| {
        let groups: Vec<_> = (1000..3000).map(nix::unistd::Gid::from_raw).collect();
        nix::unistd::setgroups(&groups).unwrap();
        let engine = host::engine();
        let out = host::shell(&engine, "grep ^Groups: /proc/self/status").output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(!text.contains("1000"), "{text}");
        assert_eq!(nix::unistd::getgroups().unwrap(), groups);
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
            let script = "for n in 0 1 2; do readlink /proc/self/fd/$n; done >/seen; \
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
