//! What a container sees and may do: namespaces, mounts, devices, capabilities, seccomp.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use skep::Mount;
use skep_tests::probe::answered;
use skep_tests::{TestEngine, said};

const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

/// Docker's, in their order.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// The value of `key` in a text like /proc/self/status.
fn field<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
}

#[test]
fn every_namespace_is_new() {
    let test = TestEngine::new();
    let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", NAMESPACES.join(" "));
    let (one, other) = (test.run(&script), test.run(&script));
    let host: Vec<String> = NAMESPACES
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string())
        .to_vec();
    let all: BTreeSet<&str> =
        one.lines().chain(other.lines()).chain(host.iter().map(String::as_str)).collect();
    // The kernel may reuse the number of a network or cgroup namespace that is gone: compared
    // are the host's with each, not the containers' with each other.
    for lines in [&one, &other] {
        assert_eq!(lines.lines().count(), NAMESPACES.len());
        assert!(lines.lines().all(|line| !host.iter().any(|host| host == line)), "{all:?}");
    }
}

#[test]
fn two_living_containers_share_no_namespace() {
    let test = TestEngine::new();
    let script = format!(
        "for n in {}; do readlink /proc/self/ns/$n; done; exec >&-; read end",
        NAMESPACES.join(" ")
    );
    let start = || {
        let mut command = test.shell(&script);
        let mut child =
            command.stdin(skep::Stdio::piped()).stdout(skep::Stdio::piped()).spawn().unwrap();
        let text = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
        (child, text)
    };
    let ((_a, one), (_b, other)) = (start(), start());
    let all: BTreeSet<&str> = one.lines().chain(other.lines()).collect();
    assert_eq!(all.len(), 2 * NAMESPACES.len(), "{all:?}");
}

#[test]
fn the_command_is_the_only_process() {
    let test = TestEngine::new();
    assert_eq!(test.run("echo $$ $PPID /proc/[0-9]*"), "1 0 /proc/1\n");
    // A session and a process group of its own, without a terminal.
    let stat = test.run("read line < /proc/self/stat; echo ${line##*) }");
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[1..5], ["0", "1", "1", "0"], "parent, group, session, terminal");
}

#[test]
fn loopback_is_the_only_network() {
    let test = TestEngine::new();
    // Besides lo, some kernels put fallback tunnels into every network namespace; they are down.
    let interfaces =
        test.run("for i in /sys/class/net/*; do read f < $i/flags; echo ${i##*/} $f; done");
    let (lo, others): (Vec<&str>, _) = interfaces.lines().partition(|line| line.starts_with("lo "));
    assert_eq!(lo, ["lo 0x9"]);
    for other in others {
        let flags = other.rsplit("0x").next().unwrap();
        assert_eq!(u32::from_str_radix(flags, 16).unwrap() & 1, 0, "{other} is up");
    }
    assert_eq!(answered(&mut test.probe("loopback", &[])), "word 127.0.0.1 ENETUNREACH");
}

/// A line of /proc/self/mountinfo.
#[derive(Debug, PartialEq)]
struct Mounted<'a> {
    point: &'a str,
    options: &'a str,
    propagation: Vec<&'a str>,
    fs: &'a str,
}

fn mounted(mountinfo: &str) -> Vec<Mounted<'_>> {
    let line = |line| {
        let (head, tail) = str::split_once(line, " - ").unwrap();
        let head: Vec<&str> = head.split(' ').collect();
        let fs = tail.split(' ').next().unwrap();
        Mounted { point: head[4], options: head[5], propagation: head[6..].to_vec(), fs }
    };
    mountinfo.lines().map(line).collect()
}

#[test]
fn the_mounts_are_dockers_and_private() {
    let test = TestEngine::new();
    let text = test.run("exec cat /proc/self/mountinfo");
    let mounts = mounted(&text);
    assert!(mounts.iter().all(|mount| mount.propagation.is_empty()), "{text}");
    let at = |point: &str| {
        let mut here = mounts.iter().filter(|mount| mount.point == point);
        let only = here.next().map(|mount| (mount.fs, mount.options));
        assert!(here.next().is_none(), "{point} is mounted twice: {text}");
        only
    };
    assert_eq!(at("/"), Some(("overlay", "rw,nodev,relatime")));
    assert_eq!(at("/proc"), Some(("proc", "rw,nosuid,nodev,noexec,relatime")));
    assert_eq!(at("/sys"), Some(("sysfs", "ro,nosuid,nodev,noexec,relatime")));
    assert_eq!(at("/dev"), Some(("tmpfs", "rw,nosuid,nodev,noexec,relatime")));
    assert_eq!(at("/dev/pts"), Some(("devpts", "rw,nosuid,noexec,relatime")));
    assert_eq!(at("/dev/shm"), Some(("tmpfs", "rw,nosuid,nodev,noexec,relatime")));
    assert_eq!(at("/dev/mqueue"), Some(("mqueue", "rw,nosuid,nodev,noexec,relatime")));
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert_eq!(at(&format!("/dev/{name}")), Some(("tmpfs", "ro,relatime")), "{name}");
    }
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        let there = Path::new(path).exists();
        let expected = there.then_some(("proc", "ro,nosuid,nodev,noexec,relatime"));
        assert_eq!(at(path), expected, "{path}");
    }
    let known = |point: &str| {
        let dockers = ["/", "/proc", "/sys"].contains(&point) || MASKED.contains(&point);
        let read_only = point.starts_with("/proc/");
        dockers || read_only || point.starts_with("/dev")
    };
    assert!(mounts.iter().all(|mount| known(mount.point)), "{text}");
}

#[test]
fn dev_has_dockers_nodes_and_no_other() {
    let test = TestEngine::new();
    let names = test.run("cd /dev; echo *");
    assert_eq!(
        names,
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero\n"
    );
    let nodes = test.run("cd /dev; stat -c '%n %a %t:%T %u:%g' null zero full random urandom tty");
    assert_eq!(
        nodes,
        "null 666 1:3 0:0\nzero 666 1:5 0:0\nfull 666 1:7 0:0\nrandom 666 1:8 0:0\n\
         urandom 666 1:9 0:0\ntty 666 5:0 0:0\n"
    );
    let links =
        test.run("cd /dev; for l in core fd ptmx stdin stdout stderr; do readlink $l; done");
    assert_eq!(
        links,
        "/proc/kcore\n/proc/self/fd\npts/ptmx\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n"
    );
    let use_them =
        "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c
        head -c 8 /dev/random | wc -c; echo x 2>&- > /dev/full || echo full";
    let used: String = test.run(use_them).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(used, "00 00 00 8 8 full");
    assert_eq!(answered(&mut test.probe("open", &["r:/dev/tty"])), "r:/dev/tty ENXIO\n");
}

#[test]
fn device_nodes_cannot_be_changed_for_others() {
    let test = TestEngine::new();
    let output = test.shell("chmod 600 /dev/null || rm /dev/zero || echo kept").output().unwrap();
    assert_eq!(output.stdout, b"kept\n");
    assert_eq!(test.run("stat -c %a /dev/null"), "666\n");
}

#[test]
fn terminals_are_the_containers_own() {
    let test = TestEngine::new();
    let answer = answered(&mut test.probe("terminal", &[]));
    assert_eq!(answer, "/dev/pts/0 word 20620 0:5", "the first one, whatever the host has open");
}

#[test]
fn shared_memory_and_queues_are_the_containers_own() {
    let test = TestEngine::new();
    let script = "stat -c '%a' /dev/shm; stat -c '%a' /dev/mqueue; ls -A /dev/shm /dev/mqueue
        echo x > /dev/shm/skep; : > /dev/mqueue/skep; cat /dev/shm/skep; head -c 7 /dev/mqueue/skep";
    assert_eq!(test.run(script), "1777\n1777\n/dev/mqueue:\n\n/dev/shm:\nx\nQSIZE:0");
    assert!(!Path::new("/dev/shm/skep").exists() && !Path::new("/dev/mqueue/skep").exists());
}

#[test]
fn masked_paths_are_empty() {
    let test = TestEngine::new();
    let script = format!(
        "for p in {}; do if [ -d $p ]; then echo $p $(ls -A $p | wc -l)
         elif [ -e $p ]; then echo $p $(wc -c < $p); fi; done",
        MASKED.join(" ")
    );
    let there = MASKED.iter().filter(|path| Path::new(path).exists());
    let expected: String = there.map(|path| format!("{path} 0\n")).collect();
    assert!(expected.contains("/proc/interrupts 0\n"), "every kernel has it");
    assert_eq!(test.run(&script), expected);
}

#[test]
fn the_kernels_settings_are_read_only() {
    let test = TestEngine::new();
    let paths =
        ["w:/proc/sys/kernel/core_pattern", "w:/proc/sys/vm/swappiness", "w:/proc/sysrq-trigger"];
    let answer = answered(&mut test.probe("open", &paths));
    // Not every kernel has the last one.
    let errno = |path: &str| if Path::new(&path[2..]).exists() { "EROFS" } else { "ENOENT" };
    let expected: String = paths.map(|path| format!("{path} {}\n", errno(path))).concat();
    assert_eq!(answer, expected);
    let output = test.shell("mkdir /sys/fs/skep; : > /sys/kernel/uevent_seqnum").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"));
    assert_eq!(test.run("mkdir -p /sys/fs/cgroup/skep 2>&- || echo refused"), "refused\n");
}

#[test]
fn root_has_dockers_capabilities() {
    let test = TestEngine::new();
    let status = test.run("exec cat /proc/self/status");
    for key in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&status, key), "00000000a80425fb", "{key}");
    }
    for key in ["CapInh", "CapAmb"] {
        assert_eq!(field(&status, key), "0000000000000000", "{key}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!(field(&status, "Seccomp"), "2");
    assert_eq!(field(&status, "Groups"), "0");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");
}

#[test]
fn a_user_has_no_capabilities() {
    let test = TestEngine::new();
    let status = said(test.command(["cat", "/proc/self/status"]).user("1000:1000"));
    assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Gid"), "1000\t1000\t1000\t1000");
    assert_eq!(field(&status, "Groups"), "1000", "CVE-2022-36109");
    for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(&status, key), "0000000000000000", "{key}");
    }
    assert_eq!(field(&status, "CapBnd"), "00000000a80425fb");
    assert_eq!(field(&status, "Seccomp"), "2");
}

#[test]
fn set_user_id_programs_raise_nothing_unless_allowed() {
    let test = TestEngine::new();
    let mut command = test.probe("become", &["/skep-suid"]);
    let as_answered = |answer: String| answer.trim().to_owned();
    assert_eq!(as_answered(answered(&mut command)), "1000 1000 1000 1000");
    command.allow_new_privileges(true);
    assert_eq!(as_answered(answered(&mut command)), "1000 0 1000 1000");
    let status = said(test.command(["cat", "/proc/self/status"]).allow_new_privileges(true));
    assert_eq!(field(&status, "NoNewPrivs"), "0");
    assert_eq!(field(&status, "Seccomp"), "2", "the filter does not depend on it");
}

#[test]
fn the_filter_is_dockers() {
    let test = TestEngine::new();
    let answer = answered(&mut test.probe("calls", &[]));
    let expected = "mount EPERM\numount2 EPERM\npivot_root EPERM\nfsopen EPERM\nopen_tree EPERM\n\
        unshare EPERM\nsetns EPERM\nclone EPERM\nclone3 ENOSYS\nkeyctl EPERM\nadd_key EPERM\n\
        request_key EPERM\nbpf EPERM\nperf_event_open EPERM\nuserfaultfd EPERM\nio_uring_setup EPERM\n\
        kexec_load EPERM\ninit_module EPERM\ndelete_module EPERM\nopen_by_handle_at EPERM\n\
        settimeofday EPERM\nacct EPERM\nswapoff EPERM\nsethostname EPERM\nsocket EPERM\nptrace ESRCH\n\
        getpid ok\nchroot EFAULT\n";
    assert_eq!(answer, expected);
}

#[test]
fn devices_made_inside_cannot_be_opened() {
    let test = TestEngine::new();
    let directory = skep_tests::temporary("skep-bind-");
    let make = "for d in / /dev/ /dev/shm/ /tmpfs/ /bound/; do mknod ${d}null c 1 3 2>&- || mknod ${d}made c 1 3
        mknod ${d}memory c 1 1; done; exec ";
    let open = |command: &mut skep::Command, paths: &[&str]| {
        command.mount(Mount::tmpfs("/tmpfs")).mount(Mount::bind(directory.path(), "/bound"));
        command.entrypoint(["sh", "-c", &format!("{make} \"$@\""), "sh"]);
        let answer = answered(command);
        assert_eq!(answer, paths.iter().map(|path| format!("{path} EACCES\n")).collect::<String>());
    };
    let paths = [
        "r:/null",
        "r:/memory",
        "r:/dev/made",
        "r:/dev/memory",
        "r:/dev/shm/null",
        "r:/tmpfs/null",
        "r:/bound/null",
        "r:/bound/memory",
    ];
    open(&mut test.probe("open", &paths), &paths);
    // The memory node exists on the host now; nobody else may open that directory.
    assert!(directory.path().join("memory").exists());
}

#[test]
fn no_file_descriptor_leaks_in() {
    // A careless host: this one is not close-on-exec, and open when the keeper is born.
    let careless = fs::File::open("/etc/passwd").unwrap();
    fcntl(&careless, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    assert!(careless.as_raw_fd() > 2);
    let test = TestEngine::new();
    assert_eq!(answered(&mut test.probe("descriptors", &[])), "[0, 1, 2]");
}
