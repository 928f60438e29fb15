//! Root file systems and mounts: what is written where, and what stays outside.
//!
//! Overlays of many layers are not here: a root of the public API has one layer until images come.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use skep::{Command, ErrorKind, Mount, Root, Stdio};
use skep_tests::machine::with_private_mounts;
use skep_tests::{TestEngine, busybox_tree, said, temporary};
use tempfile::TempDir;

/// A directory with one file, `file`, which says `outside`.
fn directory() -> TempDir {
    let directory = temporary("skep-mount-");
    fs::write(directory.path().join("file"), "outside\n").unwrap();
    directory
}

/// The names below `directory`, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_hosts_root_is_never_changed() {
    let test = TestEngine::new();
    let before = fs::read("/etc/passwd").unwrap();
    let script =
        "echo changed > /etc/passwd; mkdir /skep-made; echo x > /skep-file; rm -rf /etc/group
        cat /etc/passwd /skep-file; ls -d /skep-made; ls /etc/group 2>&- || echo removed";
    assert_eq!(test.run(script), "changed\nx\n/skep-made\nremoved\n");
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);
    assert!(Path::new("/etc/group").exists());
    assert!(!Path::new("/skep-made").exists() && !Path::new("/skep-file").exists());
    assert_eq!(test.run("ls -d /skep-* 2>&- || echo none"), "none\n", "the next one starts afresh");
}

#[test]
fn a_directory_is_a_root() {
    let Some(tree) = busybox_tree() else { return };
    fs::write(tree.path().join("data/file"), "lower\n").unwrap();
    let test = TestEngine::new();
    let mut command = test.engine.command(Root::directory(tree.path()));
    let script = "echo /*; cat /data/file; echo upper > /data/file; cat /data/file; rm /data/file
        echo /data/*; stat -c '%a %u:%g' /";
    assert_eq!(
        said(command.args(["sh", "-c", script])),
        "/bin /data /dev /etc /proc /sys\nlower\nupper\n/data/*\n755 0:0\n"
    );
    assert_eq!(
        names(tree.path()),
        ["bin", "data", "etc"],
        "mount points are made in the upper one"
    );
    assert_eq!(fs::read(tree.path().join("data/file")).unwrap(), b"lower\n");
}

#[test]
fn a_root_that_is_not_there_is_not_found() {
    let test = TestEngine::new();
    let missing = test.store().join("missing");
    let error = test.engine.command(Root::directory(&missing)).arg("true").output().unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotFound, Some(nix::libc::ENOENT)));
    assert_eq!(
        error.to_string(),
        format!("cannot use as root {}: No such file or directory (os error 2)", missing.display())
    );
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let test = TestEngine::new();
    let directory = directory();
    let file = directory.path().join("file");
    let error = test.engine.command(Root::directory(&file)).arg("true").output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let cause = format!(": there is no directory {}", file.display());
    assert!(error.to_string().ends_with(&cause), "{error}");
}

#[test]
fn a_read_only_root_takes_no_writes_and_its_mounts_do() {
    let test = TestEngine::new();
    let outside = directory();
    let script =
        "for d in / /etc /tmpfs /bound /dev/shm /dev; do (: > $d/new) 2>&- && echo $d; done";
    let mut command = test.shell(script);
    command.read_only(true).mount(Mount::tmpfs("/tmpfs"));
    command.mount(Mount::bind(outside.path(), "/bound"));
    assert_eq!(said(&mut command), "/tmpfs\n/bound\n/dev/shm\n/dev\n");
    assert_eq!(names(outside.path()), ["file", "new"]);
    assert_eq!(test.run(": > /etc/new && echo /etc"), "/etc\n");
}

#[test]
fn binds_are_writable_unless_read_only() {
    let test = TestEngine::new();
    let outside = directory();
    let mut command =
        test.shell("cat /b/file; echo inside > /b/file; mkdir /b/sub; stat -c %u /b/sub");
    assert_eq!(said(command.mount(Mount::bind(outside.path(), "/b"))), "outside\n0\n");
    assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"inside\n");
    assert_eq!(names(outside.path()), ["file", "sub"]);
    let script = "cat /b/file; (: > /b/file) 2>&- || echo file; (: > /b/new) 2>&- || echo new
        chmod 777 /b/file 2>&- || echo mode; rm /b/file 2>&- || echo rm";
    let mut command = test.shell(script);
    command.mount(Mount::bind(outside.path(), "/b").read_only());
    assert_eq!(said(&mut command), "inside\nfile\nnew\nmode\nrm\n");
    assert_eq!(names(outside.path()), ["file", "sub"]);
}

#[test]
fn a_single_file_is_bound() {
    let test = TestEngine::new();
    let outside = directory();
    let file = outside.path().join("file");
    // Over a file of the root, and where there is none, with the directories above it.
    for target in ["/etc/passwd", "/skep-new/deep/file"] {
        let mut command = test.shell(&format!("cat {target}; echo inside > {target}"));
        assert_eq!(said(command.mount(Mount::bind(&file, target))), "outside\n");
        assert_eq!(fs::read(&file).unwrap(), b"inside\n");
        fs::write(&file, "outside\n").unwrap();
        let mut command = test.shell(&format!("(echo x > {target}) 2>&- || echo refused"));
        assert_eq!(said(command.mount(Mount::bind(&file, target).read_only())), "refused\n");
    }
    assert_eq!(fs::read(&file).unwrap(), b"outside\n");
}

#[test]
fn a_file_does_not_go_onto_a_directory() {
    let test = TestEngine::new();
    let outside = directory();
    let file = outside.path().join("file");
    let onto = |source: &Path, target: &str| {
        let mut command = test.shell("true");
        command.mount(Mount::bind(source, target)).output().unwrap_err()
    };
    for (source, target) in [(file.as_path(), "/etc"), (outside.path(), "/etc/passwd")] {
        let error = onto(source, target);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let cause = "a directory can be bound to a directory only, and a file to a file";
        assert_eq!(error.to_string(), format!("cannot bind onto {target}: {cause}"));
    }
}

#[test]
fn a_source_that_is_not_there_is_not_made() {
    let test = TestEngine::new();
    let outside = directory();
    let missing = outside.path().join("missing");
    let error = test.shell("true").mount(Mount::bind(&missing, "/b")).output().unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotFound, Some(nix::libc::ENOENT)));
    let expected = format!(
        "cannot bind {} to /b: No such file or directory (os error 2); make it first",
        missing.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!missing.exists());
}

#[test]
fn a_destination_must_be_absolute() {
    let test = TestEngine::new();
    let outside = directory();
    let error = test.shell("true").mount(Mount::bind(outside.path(), "b")).output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "cannot mount on \"b\": it is not an absolute path; begin it with /"
    );
}

#[test]
fn a_source_that_is_a_link_is_followed_on_the_host() {
    let test = TestEngine::new();
    let outside = directory();
    let link = outside.path().join("link");
    symlink("file", &link).unwrap();
    let mut command = test.shell("cat /b; readlink /b || echo none");
    assert_eq!(said(command.mount(Mount::bind(&link, "/b"))), "outside\nnone\n");
}

/// A busybox root that tries to lead what is mounted in it to `host`.
fn hostile_tree(host: &Path) -> Option<TempDir> {
    let tree = busybox_tree()?;
    symlink(host, tree.path().join("absolute")).unwrap();
    let up = PathBuf::from("../".repeat(20)).join(host.strip_prefix("/").unwrap());
    symlink(up, tree.path().join("relative")).unwrap();
    symlink("/data", tree.path().join("within")).unwrap();
    symlink("/proc/1/root", tree.path().join("magic")).unwrap();
    Some(tree)
}

#[test]
fn a_destination_never_leads_out_of_the_root() {
    let (host, outside) = (directory(), directory());
    let Some(tree) = hostile_tree(host.path()) else { return };
    let test = TestEngine::new();
    let bind = |source: &Path, target: &str, script: &str| {
        let mut command: Command = test.engine.command(Root::directory(tree.path()));
        command.args(["sh", "-c", script]).mount(Mount::bind(source, target));
        command.output()
    };
    let says = |target: &str, script: &str| {
        let output = bind(outside.path(), target, script).unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    };
    // ".." ends at the container's root; a link within the root is followed within it.
    assert_eq!(says("/../../../climbed", "cat /climbed/file"), "outside\n");
    assert_eq!(says("/within", "cat /data/file"), "outside\n");
    assert_eq!(says("/within/new/deep", "cat /data/new/deep/file"), "outside\n");
    // A link to a place that only the host has leads nowhere.
    for target in ["/absolute", "/relative", "/absolute/new", "/relative/new"] {
        let error = bind(outside.path(), target, "true").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{target}: {error}");
    }
    // And a single file is not made through one.
    for target in ["/absolute/made", "/relative/made"] {
        let error = bind(&outside.path().join("file"), target, "true").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{target}: {error}");
    }
    let error = bind(outside.path(), "/magic/data", "true").unwrap_err();
    assert_eq!(error.errno(), Some(nix::libc::ELOOP), "{error}");
    assert_eq!(names(host.path()), ["file"]);
    assert_eq!(fs::read(host.path().join("file")).unwrap(), b"outside\n");
    let left = ["absolute", "bin", "data", "etc", "magic", "relative", "within"];
    assert_eq!(names(tree.path()), left);
    assert!(names(&tree.path().join("data")).is_empty());
}

#[test]
fn a_tmpfs_has_its_size_and_mode() {
    let test = TestEngine::new();
    let script = "stat -c '%a %u:%g' /t; dd if=/dev/zero of=/t/big bs=65536 count=64 2>/dev/null || echo full
        stat -c %s /t/big; cp /bin/sh /t/sh 2>/dev/null; exec 2>&-; rm /t/big; cp /bin/true /t/true
        /t/true || echo noexec";
    let mut command = test.shell(script);
    command.mount(Mount::tmpfs("/t").size(1 << 20));
    assert_eq!(said(&mut command), "1777 0:0\nfull\n1048576\nnoexec\n");
    let mut command = test.shell("grep ' /t tmpfs ' /proc/mounts | cut -d' ' -f4 | cut -d, -f1-4");
    let text = said(command.mount(Mount::tmpfs("/t").read_only()));
    assert_eq!(text, "ro,nosuid,nodev,noexec\n");
    let mut command = test.shell("id -u; : > /t/mine; stat -c %u /t/mine");
    assert_eq!(said(command.user("1000:1000").mount(Mount::tmpfs("/t"))), "1000\n1000\n");
}

#[test]
fn a_later_mount_goes_into_an_earlier_one() {
    let test = TestEngine::new();
    let (one, other) = (directory(), temporary("skep-mount-"));
    let mut command = test.shell("ls /a /a/b /a/b/c");
    command.mount(Mount::tmpfs("/a")).mount(Mount::bind(one.path(), "/a/b"));
    command.mount(Mount::bind(other.path(), "/a/b/c"));
    assert_eq!(said(&mut command), "/a:\nb\n\n/a/b:\nc\nfile\n\n/a/b/c:\n");
}

#[test]
fn what_a_later_mount_covers_is_made_again() {
    let test = TestEngine::new();
    let mut command = test.shell("test -d /mnt/a/b && pwd");
    command
        .mount(Mount::tmpfs("/mnt/a/b"))
        .mount(Mount::tmpfs("/mnt"))
        .mount(Mount::tmpfs("/mnt/a/b"));
    assert_eq!(said(command.working_dir("/mnt/a/b/c")), "/mnt/a/b/c\n");
}

#[test]
fn the_root_is_no_destination() {
    let test = TestEngine::new();
    let error = test.shell("true").mount(Mount::tmpfs("/")).status().unwrap_err();
    assert_eq!(error.kind(), skep::ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("cannot mount on /: "), "{error}");
}

#[test]
fn proc_and_dev_may_be_replaced() {
    let test = TestEngine::new();
    let outside = directory();
    let mut command = test.shell("cat /dev/shm/file");
    assert_eq!(said(command.mount(Mount::bind(outside.path(), "/dev/shm"))), "outside\n");
    // What belongs below another /dev is mounted below it.
    let mut command = test.shell("test -c /dev/ptmx && test -d /dev/shm && echo there");
    assert_eq!(said(command.mount(Mount::tmpfs("/dev"))), "there\n");
}

/// A tmpfs at `path`.
fn mount_tmpfs(path: &Path) {
    fs::create_dir_all(path).unwrap();
    mount(Some("skep-test"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

#[test]
fn mounts_below_a_source_come_along_and_are_read_only_with_it() {
    with_private_mounts(
        "roots::mounts_below_a_source_come_along_and_are_read_only_with_it",
        || {
            let outside = directory();
            mount_tmpfs(&outside.path().join("sub"));
            fs::write(outside.path().join("sub/deep"), "deep\n").unwrap();
            let test = TestEngine::new();
            let mut command = test.shell("cat /b/sub/deep; echo inside > /b/sub/deep");
            assert_eq!(said(command.mount(Mount::bind(outside.path(), "/b"))), "deep\n");
            assert_eq!(fs::read(outside.path().join("sub/deep")).unwrap(), b"inside\n");
            let mut command =
                test.shell("cat /b/sub/deep; (echo x > /b/sub/deep) 2>&- || echo refused");
            command.mount(Mount::bind(outside.path(), "/b").read_only());
            assert_eq!(said(&mut command), "inside\nrefused\n");
            // The host's own mount is as it was.
            fs::write(outside.path().join("sub/deep"), "again\n").unwrap();
            // A host's root is one file system: what is mounted below it does not come along.
            let Some(tree) = busybox_tree() else { return };
            mount_tmpfs(&tree.path().join("data"));
            fs::write(tree.path().join("data/file"), "x").unwrap();
            let mut command = test.engine.command(Root::directory(tree.path()));
            assert_eq!(said(command.args(["ls", "/data"])), "");
            // Not left to the directories' removal, which would not cross a mount.
            nix::mount::umount(&tree.path().join("data")).unwrap();
            nix::mount::umount(&outside.path().join("sub")).unwrap();
        },
    );
}

#[test]
fn mounts_travel_neither_in_nor_out() {
    with_private_mounts("roots::mounts_travel_neither_in_nor_out", || {
        let outside = temporary("skep-shared-");
        mount_tmpfs(outside.path());
        let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, outside.path(), None::<&str>, shared, None::<&str>).unwrap();
        fs::create_dir(outside.path().join("in")).unwrap();
        fs::create_dir(outside.path().join("out")).unwrap();
        let test = TestEngine::new();
        let mut command =
            test.shell("echo started; read go; ls /b/in /b/out; exec cat /proc/self/mountinfo");
        command.mount(Mount::bind(outside.path(), "/b")).mount(Mount::tmpfs("/b/out"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut started = [0; 8];
        std::io::Read::read_exact(&mut out, &mut started).unwrap();
        // Out: the tmpfs at /b/out was mounted onto a copy of a shared mount.
        let here = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let below = outside.path().join("out").display().to_string();
        assert!(!here.contains(&below), "{here}");
        // In: mounted while the container runs.
        mount_tmpfs(&outside.path().join("in"));
        fs::write(outside.path().join("in/file"), "").unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\n").unwrap();
        let text = std::io::read_to_string(out).unwrap();
        let (listed, mountinfo) = text.split_once("\n1").unwrap_or((text.as_str(), ""));
        assert!(text.starts_with("/b/in:\n\n/b/out:\n"), "{listed}");
        assert!(!mountinfo.contains("shared:") && !mountinfo.contains("master:"), "{mountinfo}");
        assert!(!mountinfo.contains(" /b/in "), "{mountinfo}");
        assert!(child.wait().unwrap().success());
        nix::mount::umount(&outside.path().join("in")).unwrap();
        nix::mount::umount(outside.path()).unwrap();
    });
}

#[test]
fn what_was_written_is_gone_with_the_container() {
    let test = TestEngine::new();
    let mut command = test.shell("echo x > /skep-file; chmod 000 /skep-file; echo; read end");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let directory = test.directory_of(&child).expect("its directory");
    let written = directory.join("upper/skep-file");
    assert_eq!(fs::metadata(&written).unwrap().permissions().mode() & 0o777, 0);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(!directory.exists());
}

#[test]
fn a_store_may_have_any_name() {
    let directory = temporary("skep-test-");
    let long = "l".repeat(200);
    for name in ["a,b", "a:b", r"a\b", "with space", long.as_str()] {
        let engine = skep::Engine::open(directory.path().join(name)).unwrap();
        let out = engine.command(Root::host()).args(["cat", "/proc/mounts"]).output().unwrap();
        assert!(out.status.success(), "{name}");
        // Nor is it any of the container's business.
        let mounts = String::from_utf8(out.stdout).unwrap();
        assert!(!mounts.contains(&*directory.path().to_string_lossy()), "{mounts}");
    }
}

#[test]
fn a_directory_is_no_stream() {
    let test = TestEngine::new();
    let directory = std::fs::File::open("/").unwrap();
    let error = test.shell("true").stdin(directory).spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(error.to_string(), "cannot connect stdin: Is a directory (os error 21)");
}
