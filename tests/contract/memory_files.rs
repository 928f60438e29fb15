//! Where the keeper runs from, when memory files may not be executed.
//!
//! `vm.memfd_noexec` belongs to a pid namespace and can only be raised: each host is PID 1 of a new
//! one, and the machine's stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use skep_tests::host::{self, Host};
use skep_tests::left::Belongings;
use skep_tests::proc::{keepers, open_files};

const SYSCTL: &str = "/proc/sys/vm/memfd_noexec";

/// Runs containers under `level`, and returns what the keeper runs from.
fn run_under(level: &str) -> PathBuf {
    fs::write(SYSCTL, level).unwrap();
    assert_eq!(fs::read_to_string(SYSCTL).unwrap().trim(), level);
    let store = host::directory().join("store");
    let engine = host::engine();
    let child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
    assert_eq!(host::shell(&engine, "exit 3").status().unwrap().code(), Some(3));
    let keeper = keepers(&store)[0];
    assert_eq!(open_files(keeper).iter().filter(|(number, _)| *number < 3).count(), 3);
    let program = fs::read_link(format!("/proc/{keeper}/exe")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    program
}

fn skip() -> bool {
    let missing = !fs::exists(SYSCTL).unwrap();
    if missing {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        eprintln!("SKIPPED: Linux {} has no {SYSCTL}, which came in 6.3", release.trim());
    }
    missing
}

#[test]
fn memory_files_that_are_executable_by_default_are_used() {
    if skip() {
        return;
    }
    Host::new().init().watched(
        || {
            let program = run_under("0");
            assert_eq!(program, Path::new("/memfd:skep-keeper (deleted)"));
        },
        |host| host.finish(),
    );
}

#[test]
fn memory_files_that_have_to_ask_for_it_are_used() {
    if skip() {
        return;
    }
    Host::new().init().watched(
        || {
            let program = run_under("1");
            assert_eq!(program, Path::new("/memfd:skep-keeper (deleted)"));
        },
        |host| host.finish(),
    );
}

#[test]
fn where_no_memory_file_is_executable_the_store_has_the_keeper() {
    if skip() {
        return;
    }
    Host::new().init().watched(
        || {
            let program = run_under("2");
            let store = host::directory().join("store").canonicalize().unwrap();
            assert!(program.starts_with(&store), "{program:?}");
            use std::os::unix::fs::MetadataExt;
            let file = fs::metadata(&program).unwrap();
            assert_eq!((file.mode() & 0o7777, file.uid()), (0o500, 0));
            // The next engine executes the same file.
            assert_eq!(run_under("2"), program);
        },
        |host| host.finish(),
    );
}

#[test]
fn a_host_killed_with_a_keeper_from_the_store_leaves_nothing() {
    if skip() {
        return;
    }
    Host::new().init().watched(
        || {
            fs::write(SYSCTL, "2").unwrap();
            let engine = host::engine();
            let _child = host::shell(&engine, "exec sleep 600").spawn().unwrap();
            host::say("ready");
            host::wait_to_be_killed();
        },
        |mut host| {
            host.await_line("ready");
            let belongings = Belongings::of(&host);
            assert_eq!(belongings.keepers.len(), 1);
            host.kill();
            belongings.await_swept();
        },
    );
}
