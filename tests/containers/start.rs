//! How a command starts: names, environment, limits, directory, user, and why it does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use skep::{Command, Error, ErrorKind, Mount, RlimitResource};
use skep_tests::{TestEngine, said, temporary};

/// The kind, errno and text of the error with which `command` does not start.
#[track_caller]
fn refused(command: &mut Command) -> (ErrorKind, Option<i32>, String) {
    let error: Error = command.output().expect_err("it must not start");
    (error.kind(), error.errno(), error.to_string())
}

#[test]
fn the_hostname_is_the_id_unless_given() {
    let test = TestEngine::new();
    let mut command = test.shell("read name < /proc/sys/kernel/hostname; echo $name $HOSTNAME");
    let child = command.stdout(skep::Stdio::piped()).spawn().unwrap();
    let id = child.id()[..12].to_owned();
    let mut child = child;
    let text = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert_eq!(text, format!("{id} {id}\n"));
    assert_eq!(child.id().len(), 32);
    let mut command = test.shell("read name < /proc/sys/kernel/hostname; echo $name $HOSTNAME");
    assert_eq!(said(command.hostname("web")), "web web\n");
    let long = "x".repeat(65);
    assert_eq!(
        refused(test.shell("true").hostname(long.as_str())),
        (
            ErrorKind::InvalidInput,
            None,
            format!(
                "cannot use host name {long:?}: the kernel takes at most 64 bytes without NUL; shorten it"
            )
        )
    );
}

#[test]
fn the_environment_is_dockers_and_not_the_hosts() {
    let test = TestEngine::new();
    assert!(std::env::vars_os().count() > 0, "the host has one");
    let mut command = test.command(["env"]);
    let text = said(command.hostname("web").env("A", "1").env("B", "x=y z").env("A", "2"));
    assert_eq!(
        text,
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=web\n\
         HOME=/root\nA=2\nB=x=y z\n"
    );
    let mut command = test.command(["env"]);
    command.hostname("web").user("4242").envs([("PATH", "/bin:/usr/bin"), ("HOME", "/h")]);
    assert_eq!(said(&mut command), "PATH=/bin:/usr/bin\nHOSTNAME=web\nHOME=/h\n");
    for name in ["", "A=B", "A\0"] {
        let (kind, _, text) = refused(test.command(["env"]).env(name, "x"));
        assert_eq!(kind, ErrorKind::InvalidInput);
        assert!(text.starts_with(&format!("cannot set variable {name:?}: ")), "{text}");
    }
}

#[test]
fn limits_are_the_hosts_unless_given() {
    let test = TestEngine::new();
    let host = fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(test.run("exec cat /proc/self/limits"), host);
    let mut command = test.shell("ulimit -n; ulimit -Hn; ulimit -c");
    command.rlimit(RlimitResource::RlimitNofile, 100, 200);
    command.rlimit(RlimitResource::RlimitCore, 5 * 512, 5 * 512);
    command.rlimit(RlimitResource::RlimitCore, 0, 0);
    assert_eq!(said(&mut command), "100\n200\n0\n");
    // Fewer than it takes to start.
    for (soft, hard) in [(10, 10), (10, 4096)] {
        let mut command = test.shell("ulimit -n; ulimit -Hn");
        command.rlimit(RlimitResource::RlimitNofile, soft, hard);
        assert_eq!(said(&mut command), format!("{soft}\n{hard}\n"));
    }
    assert_eq!(
        refused(test.shell("true").rlimit(RlimitResource::RlimitNofile, 2, 1)),
        (
            ErrorKind::InvalidInput,
            None,
            "cannot set rlimit NOFILE: the soft limit 2 is above the hard limit 1; raise \
             the hard one, or lower the soft one"
                .into()
        )
    );
}

#[test]
fn the_umask_is_022_and_the_nice_value_the_hosts() {
    let test = TestEngine::new();
    assert_eq!(test.run("umask; : > /f; stat -c %a /f").lines().last(), Some("644"));
    assert_eq!(test.run("umask").trim_start_matches('0'), "22\n");
}

#[test]
fn the_working_directory_is_made_and_entered() {
    let test = TestEngine::new();
    assert_eq!(said(&mut test.command(["pwd"])), "/\n");
    let mut command = test.shell("pwd; stat -c '%a %u:%g' . ..");
    assert_eq!(said(command.working_dir("/skep-new/deep")), "/skep-new/deep\n755 0:0\n755 0:0\n");
    let (kind, errno, text) = refused(test.command(["pwd"]).working_dir("/etc/passwd"));
    assert_eq!((kind, errno), (ErrorKind::InvalidInput, Some(nix::libc::ENOTDIR)));
    assert_eq!(
        text,
        "cannot enter working directory /etc/passwd: Not a directory (os error 20); give a directory, \
         or one to be made"
    );
    assert_eq!(
        refused(test.command(["pwd"]).working_dir("tmp")),
        (
            ErrorKind::InvalidInput,
            None,
            "cannot start in directory \"tmp\": it is not an absolute path; begin it with /".into()
        )
    );
}

#[test]
fn a_working_directory_that_the_user_may_not_enter_is_refused() {
    let test = TestEngine::new();
    let directory = temporary("skep-private-");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut command = test.command(["pwd"]);
    command.user("1000").working_dir("/private").mount(Mount::bind(directory.path(), "/private"));
    // Opened without leave, and entered without: only the second one is refused.
    assert_eq!(
        refused(&mut command),
        (
            ErrorKind::PermissionDenied,
            Some(nix::libc::EACCES),
            "cannot enter working directory /private: Permission denied (os error 13)".into()
        )
    );
}

#[test]
fn users_are_the_containers_own() {
    let test = TestEngine::new();
    let directory = temporary("skep-users-");
    let (passwd, group) = (directory.path().join("passwd"), directory.path().join("group"));
    fs::write(&passwd, "root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n").unwrap();
    fs::write(&group, "root:x:0:\napp:x:2345:\nextra:x:77:app\nmore:x:66:x,app\n").unwrap();
    for file in [&passwd, &group] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    // The users come from the root itself, before any mount.
    let Some(tree) = skep_tests::busybox_tree() else { return };
    fs::rename(&passwd, tree.path().join("etc/passwd")).unwrap();
    fs::rename(&group, tree.path().join("etc/group")).unwrap();
    let ids = |user: &str| {
        let mut command = test.engine.command(skep::Root::directory(tree.path()));
        let script = "echo $(id -u) $(id -g) $(id -G) $HOME";
        said(command.args(["sh", "-c", script]).user(user))
    };
    assert_eq!(ids("app"), "1234 2345 2345 66 77 /home/app\n");
    assert_eq!(ids("1234"), "1234 2345 2345 66 77 /home/app\n");
    assert_eq!(ids("app:extra"), "1234 77 77 /home/app\n");
    assert_eq!(ids("4:5"), "4 5 5 /\n");
    assert_eq!(ids("6"), "6 0 0 /\n");
    assert_eq!(ids("root"), "0 0 0 /root\n");
    let mut command = test.engine.command(skep::Root::directory(tree.path()));
    assert_eq!(
        refused(command.arg("id").user("nobody-here")),
        (
            ErrorKind::NotFound,
            None,
            "cannot become user nobody-here: the container's /etc/passwd does not have it; give a \
             number, or add it to the image"
                .into()
        )
    );
    let (kind, _, text) = refused(command.user("app:nogroup"));
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(text.starts_with("cannot become group nogroup: "), "{text}");
}

const NOT_FOUND: &str = "there is no such command in the container, or its interpreter is missing; \
    check its name and the PATH of the container";
const NOT_EXECUTABLE: &str =
    "give an executable file of this machine's architecture that the user may execute";

#[test]
fn commands_that_are_not_there_are_not_found() {
    let test = TestEngine::new();
    for name in ["skep-nosuch", "/bin/skep-nosuch", "/etc/passwd/x", "./skep-nosuch"] {
        let (kind, errno, text) = refused(&mut test.command([name]));
        assert_eq!(kind, ErrorKind::NotFound, "{name}");
        assert_eq!(errno, Some(nix::libc::ENOENT), "{name}");
        assert_eq!(text, format!("cannot execute {name}: {NOT_FOUND}"));
    }
    let (kind, ..) = refused(test.command(["sh"]).env("PATH", "/nosuch"));
    assert_eq!(kind, ErrorKind::NotFound, "the container's PATH counts, not the host's");
}

#[test]
fn files_that_are_no_programs_are_not_executable() {
    let test = TestEngine::new();
    let directory = temporary("skep-programs-");
    let file = |name: &str, contents: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", "#!/bin/sh\n", 0o644);
    file("empty", "", 0o755);
    file("words", "no program\n", 0o755);
    file("private", "#!/bin/sh\n", 0o700);
    file("lost", "#!/skep-no-interpreter\n", 0o755);
    file("script", "#!/bin/sh\necho \"$0 $1\"\n", 0o755);
    fs::create_dir(directory.path().join("directory")).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let start = |name: &str, user: &str| {
        let mut command = test.command([name, "argument"]);
        command
            .mount(Mount::bind(directory.path(), "/p"))
            .env("PATH", "/nosuch:/p:/bin")
            .user(user);
        command
    };
    let denied = (nix::libc::EACCES, "Permission denied (os error 13)");
    let format = (nix::libc::ENOEXEC, "Exec format error (os error 8)");
    let cases = [
        ("plain", "", denied),
        ("directory", "", denied),
        ("private", "1000", denied),
        ("empty", "", format),
        ("words", "", format),
    ];
    for (name, user, (errno, cause)) in cases {
        for name in [name.to_owned(), format!("/p/{name}")] {
            assert_eq!(
                refused(&mut start(&name, user)),
                (
                    ErrorKind::NotExecutable,
                    Some(errno),
                    format!("cannot execute {name}: {cause}; {NOT_EXECUTABLE}")
                )
            );
        }
    }
    let (kind, errno, text) = refused(&mut start("/p/lost", ""));
    assert_eq!((kind, errno), (ErrorKind::NotFound, Some(nix::libc::ENOENT)));
    assert_eq!(text, format!("cannot execute /p/lost: {NOT_FOUND}"));
    assert_eq!(said(&mut start("script", "1000")), "/p/script argument\n");
    // Found first and not executable, then found and executable: as execvp(3) has it.
    fs::write(directory.path().join("true"), "").unwrap();
    assert!(start("true", "").status().unwrap().success());
}

#[test]
fn arguments_are_taken_as_they_are_or_refused() {
    let test = TestEngine::new();
    let empty = "cannot start a container without a command: neither the image nor the caller names \
        one; give args";
    assert_eq!(refused(&mut test.command([])), (ErrorKind::InvalidInput, None, empty.to_owned()));
    assert_eq!(
        refused(&mut test.command([""])),
        (
            ErrorKind::InvalidInput,
            None,
            "cannot execute an empty command; give a command, or an image that has one".into()
        )
    );
    for args in [["e\0cho", "x"], ["echo", "x\0"]] {
        let (kind, errno, text) = refused(&mut test.command(args));
        assert_eq!((kind, errno), (ErrorKind::InvalidInput, None));
        let named = format!(
            "cannot use argument {:?}",
            args.iter().find(|arg| arg.contains('\0')).unwrap()
        );
        assert_eq!(text, format!("{named}: it contains a NUL byte; leave that out"));
    }
    let many: Vec<String> = (0..200).map(|n| format!("a {n}\n\"'$\\é")).collect();
    let mut command = test.command(["printf", "%s|"]);
    assert_eq!(said(command.args(many.clone())), many.join("|") + "|");
}

#[test]
fn a_large_environment_arrives() {
    let test = TestEngine::new();
    let mut command = test.shell("env | wc -c; eval \"echo \\${#V9}\"");
    for n in 0..10 {
        command.env(format!("V{n}"), "x".repeat(104_857));
    }
    let text = said(&mut command);
    let (all, one) = text.trim().split_once('\n').unwrap();
    assert!(all.parse::<usize>().unwrap() > 1 << 20, "{text}");
    assert_eq!(one, "104857");
    // One string of more than 128 KiB is more than any kernel takes.
    let (kind, errno, text) = refused(test.shell("true").env("V", "x".repeat(1 << 20)));
    assert_eq!((kind, errno), (ErrorKind::InvalidInput, Some(nix::libc::E2BIG)));
    assert_eq!(
        text,
        "cannot execute sh: Argument list too long (os error 7); shorten the arguments and the \
         environment"
    );
}

#[test]
fn a_refused_start_leaves_nothing() {
    let test = TestEngine::new();
    assert!(test.run("echo") == "\n");
    refused(&mut test.command(["skep-nosuch"]));
    refused(test.command(["pwd"]).working_dir("/etc/passwd"));
    let attached = fs::read_dir(test.store().join("attached")).unwrap().next().unwrap().unwrap();
    let names: Vec<_> =
        fs::read_dir(attached.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the lock and the list of groups: {names:?}");
    for parent in test.group_parents() {
        let inside = fs::read_dir(&parent).unwrap();
        assert_eq!(inside.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count(), 0);
    }
}

#[test]
fn a_plan_is_what_a_start_does_and_leaves_nothing() {
    let test = TestEngine::new();
    let mut command = test.shell("true");
    command.hostname("planned").mount(Mount::tmpfs("/scratch"));
    let before = attached(&test);
    let plan = command.plan().unwrap().to_string();
    assert_eq!(attached(&test), before, "all that was made for it is gone");
    let lines: Vec<&str> = plan.lines().collect();
    assert_eq!(lines[0], "clone(pid|net)");
    let place = |line: &str| lines.iter().position(|step| step.starts_with(line));
    let order = ["sethostname(\"planned\")", "pivot_root(<root>)", "mount(\"tmpfs\", \"/scratch\""];
    let places: Vec<usize> = order.iter().map(|line| place(line).expect(line)).collect();
    assert!(places.is_sorted(), "{plan}");
    assert!(lines.last().unwrap().starts_with("execve("), "{plan}");
    assert!(command.status().unwrap().success());
}

/// What the engine's keeper owns: a directory for each container among it.
fn attached(test: &TestEngine) -> usize {
    // The keeper is there from the first use on.
    test.shell("true").plan().unwrap();
    let owners = fs::read_dir(test.store().join("attached")).unwrap();
    owners.map(|owner| fs::read_dir(owner.unwrap().path()).unwrap().count()).sum()
}
