//! A program that looks at its container from within: the test program itself, run once more there.
//!
//! A test binary that uses it has a test called `probe`, which calls [`answer`]. In a container,
//! [`prepare`] makes that the command; in an ordinary run of the tests it does nothing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command as Program, exit};

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Uid, fork, setgroups, setresgid, setresuid};
use skep::Command;

const MODE: &str = "SKEP_TEST_PROBE";
const ARGUMENTS: &str = "SKEP_TEST_PROBE_ARGUMENTS";
/// Divides what the test harness prints from what the probe does.
const ANSWER: &str = "\n---- answer ----\n";
/// Where the program is in the container.
pub const PATH: &str = "/skep-probe";

/// Makes `command` run the probe.
pub fn prepare(command: &mut Command, mode: &str, args: &[&str]) {
    command.mount(crate::this_program(PATH));
    command.args([PATH, "--exact", "probe", "--nocapture", "--test-threads=1"]);
    command.env(MODE, mode).env(ARGUMENTS, args.join(" "));
}

/// The probe's answer in what it has printed.
#[track_caller]
pub fn answer_in(stdout: &[u8]) -> String {
    let text = String::from_utf8_lossy(stdout);
    text.split_once(ANSWER).unwrap_or_else(|| panic!("no answer in {text}")).1.to_owned()
}

/// The probe's answer. It must succeed.
#[track_caller]
pub fn answered(command: &mut Command) -> String {
    let output = command.output().expect("a container that starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    answer_in(&output.stdout)
}

/// Answers, and exits, in a container; does nothing elsewhere.
pub fn answer() {
    let Ok(mode) = std::env::var(MODE) else { return };
    let arguments = std::env::var(ARGUMENTS).unwrap_or_default();
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    say(ANSWER);
    match (mode.as_str(), arguments.as_slice()) {
        ("open", paths) => paths.iter().for_each(|path| open(path)),
        ("descriptors", []) => descriptors(),
        ("calls", []) => calls(),
        ("terminal", []) => terminal(),
        ("loopback", []) => loopback(),
        ("identity", []) => identity(),
        ("become", [path]) => become_other(path),
        ("touch", [mib]) => touch(number(mib)),
        ("touch-in-a-child", [mib]) => touch_in_a_child(number(mib)),
        ("burn", [milliseconds]) => burn(number(milliseconds)),
        ("be-traced", [how]) => be_traced(how),
        ("fork", [count]) => fork_many(number(count)),
        other => panic!("no such probe: {other:?}"),
    }
    exit(0)
}

/// Past the harness, which would keep it for itself.
fn say(text: &str) {
    io::stdout().write_all(text.as_bytes()).expect("standard output");
    io::stdout().flush().expect("standard output");
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn name_of<T>(result: nix::Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// Opens `r:PATH` for reading, `w:PATH` for writing.
fn open(how: &str) {
    let (mode, path) = how.split_once(':').expect("r:PATH or w:PATH");
    let mut options = File::options();
    options.read(mode == "r").write(mode == "w").custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    say(&format!("{how} {}\n", name_of(options.open(path).map_err(errno))));
}

/// The open file descriptors.
fn descriptors() {
    // SAFETY: asks for flags, of numbers that may be none.
    let open = (0..4096).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0);
    say(&format!("{:?}", open.collect::<Vec<_>>()));
}

/// Calls that docker's filter refuses, and some that it lets through, with arguments that do nothing.
fn calls() {
    let attempt = |name: &str, number: c_long, args: [c_long; 3]| {
        let [a, b, c] = args;
        // SAFETY: numbers and null pointers, which the kernel refuses or which change nothing here.
        let result = Errno::result(unsafe { libc::syscall(number, a, b, c, 0, 0, 0) });
        say(&format!("{name} {}\n", name_of(result)));
    };
    attempt("mount", libc::SYS_mount, [0; 3]);
    attempt("umount2", libc::SYS_umount2, [0; 3]);
    attempt("pivot_root", libc::SYS_pivot_root, [0; 3]);
    attempt("fsopen", libc::SYS_fsopen, [0; 3]);
    attempt("open_tree", libc::SYS_open_tree, [0; 3]);
    attempt("unshare", libc::SYS_unshare, [0; 3]);
    attempt("setns", libc::SYS_setns, [-1, 0, 0]);
    attempt("clone", libc::SYS_clone, [c_long::from(libc::CLONE_NEWUSER), 0, 0]);
    attempt("clone3", libc::SYS_clone3, [0; 3]);
    attempt("keyctl", libc::SYS_keyctl, [9999, 0, 0]);
    attempt("add_key", libc::SYS_add_key, [0; 3]);
    attempt("request_key", libc::SYS_request_key, [0; 3]);
    attempt("bpf", libc::SYS_bpf, [9999, 0, 0]);
    attempt("perf_event_open", libc::SYS_perf_event_open, [0; 3]);
    attempt("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0]);
    attempt("io_uring_setup", libc::SYS_io_uring_setup, [0; 3]);
    attempt("kexec_load", libc::SYS_kexec_load, [0, 17, 0]);
    attempt("init_module", libc::SYS_init_module, [0; 3]);
    attempt("delete_module", libc::SYS_delete_module, [0; 3]);
    attempt("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0]);
    attempt("settimeofday", libc::SYS_settimeofday, [0; 3]);
    attempt("acct", libc::SYS_acct, [1, 0, 0]);
    attempt("swapoff", libc::SYS_swapoff, [0; 3]);
    attempt("sethostname", libc::SYS_sethostname, [0, 0, 0]);
    attempt("socket", libc::SYS_socket, [c_long::from(libc::AF_ALG), 5, 0]);
    // PTRACE_PEEKDATA of nobody.
    attempt("ptrace", libc::SYS_ptrace, [2, 0, 0]);
    attempt("getpid", libc::SYS_getpid, [0; 3]);
    attempt("chroot", libc::SYS_chroot, [0; 3]);
}

/// Opens a pseudo-terminal by hand, as openpty(3) does, and sends a word through it.
fn terminal() {
    let both = |path: &str| {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path)
    };
    let mut master = both("/dev/ptmx").expect("/dev/ptmx");
    let (mut number, unlock) = (-1i32, 0i32);
    // SAFETY: TIOCGPTN writes one int, TIOCSPTLCK reads one.
    unsafe {
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number), 0);
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock), 0);
    }
    let path = format!("/dev/pts/{number}");
    let mut slave = both(&path).expect("the slave");
    slave.write_all(b"word").expect("a write");
    let mut word = [0; 4];
    master.read_exact(&mut word).expect("a read");
    let meta = slave.metadata().expect("its metadata");
    use std::os::unix::fs::MetadataExt;
    let word = String::from_utf8_lossy(&word).into_owned();
    say(&format!("{path} {word} {:o} {}:{}", meta.mode(), meta.uid(), meta.gid()));
}

fn loopback() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("its address");
    let mut client = std::net::TcpStream::connect(address).expect("a connection");
    let (mut server, peer) = listener.accept().expect("a connection");
    client.write_all(b"word").expect("a write");
    let mut word = [0; 4];
    server.read_exact(&mut word).expect("a read");
    let outside = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let outside = outside.send_to(b"x", "192.0.2.1:9").expect_err("no way out");
    let (word, outside) = (String::from_utf8_lossy(&word), outside.raw_os_error().unwrap_or(0));
    say(&format!("{word} {} {:?}", peer.ip(), Errno::from_raw(outside)));
}

/// Real and effective user and group, as the process really has them.
fn identity() {
    use nix::unistd::{getegid, geteuid, getgid, getuid};
    say(&format!("{} {} {} {}", getuid(), geteuid(), getgid(), getegid()));
}

/// Makes a set-user-ID copy of this program at `path`, becomes user 1000, and runs it.
fn become_other(path: &str) {
    std::fs::copy("/proc/self/exe", path).expect("a copy");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(path, mode).expect("its mode");
    let (user, group) = (Uid::from_raw(1000), Gid::from_raw(1000));
    setgroups(&[]).and_then(|()| setresgid(group, group, group)).expect("a group");
    setresuid(user, user, user).expect("a user");
    let mut program = Program::new(path);
    program.args(["--exact", "probe", "--nocapture", "--test-threads=1"]);
    let output = program.env(MODE, "identity").env(ARGUMENTS, "").output().expect("a program");
    say(&answer_in(&output.stdout));
}

fn touch(mib: usize) {
    // Volatile: it is about the pages, not about what is in them.
    let mut bytes: Vec<u8> = Vec::with_capacity(mib << 20);
    for at in (0..mib << 20).step_by(4096) {
        // SAFETY: within the capacity.
        unsafe { bytes.as_mut_ptr().add(at).write_volatile(1) };
    }
    say("touched");
}

fn touch_in_a_child(mib: usize) {
    // SAFETY: the harness runs this test in its only thread.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => touch(mib),
        ForkResult::Parent { child } => {
            say(&format!("{:?}", waitpid(child, None).expect("its end"))
                .replace(&child.to_string(), "PID"));
            exit(7)
        }
    }
}

/// Makes the parent the tracer of one thread of this process, which then ends the process, stays, is
/// stopped by a signal, or ends itself; then the process waits to be killed.
fn be_traced(how: &str) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: PTRACE_TRACEME takes no arguments.
            let result = Errno::result(unsafe { libc::ptrace(libc::PTRACE_TRACEME) });
            say(&format!("traced: {}\n", name_of(result)));
            match how {
                "exit" => exit(3),
                "stay" => wait_for_the_end(),
                "stop" => {
                    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).expect("a signal")
                }
                _ => {}
            }
        });
    });
    wait_for_the_end();
}

fn wait_for_the_end() {
    say("alone\n");
    loop {
        nix::unistd::pause();
    }
}

/// Uses up CPU time of this process.
fn burn(milliseconds: usize) {
    let used = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        time.tv_sec as usize * 1000 + time.tv_nsec as usize / 1_000_000
    };
    while used() < milliseconds {}
    say("burnt");
}

/// Forks `count` children, which stay until this process ends, as it is the init of their pid
/// namespace; says how many there are and why no more.
fn fork_many(count: usize) {
    for made in 0..count {
        // SAFETY: the harness runs this test in its only thread, and the child only waits.
        match unsafe { libc::fork() } {
            0 => loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            },
            -1 => return say(&format!("{made} {:?}", Errno::last())),
            _ => {}
        }
    }
    say(&format!("{count} all"));
}
