//! What happens on the machine: processes found by a marker, and private copies of the mounts.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// No healthy kernel is slower than that, also under emulation.
const PATIENCE: Duration = Duration::from_secs(20);

/// A word that no other process has among its arguments.
pub fn marker(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("skep-marker-{name}-{}-{count}", process::id())
}

/// The pids of the processes that have `marker` among their arguments. Zombies have none.
pub fn processes(marker: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc");
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has_argument(*pid, marker)).collect()
}

fn has_argument(pid: u32, marker: &str) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
}

/// Waits until `condition` holds. Panics, naming `what`, if it never does.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

const INSIDE: &str = "SKEP_TEST_PRIVATE_HOST";

/// Runs `body` in a process of its own, in a copy of the mount namespace whose mounts do not travel
/// to the host's; to be called first and alone by the test `name`.
pub fn with_private_mounts(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut test = process::Command::new(std::env::current_exe().expect("the test program"));
    test.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    // SAFETY: two system calls on constants; nothing is allocated between fork and exec.
    unsafe {
        test.pre_exec(|| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            Ok(())
        });
    }
    let output = test.output().expect("the test program");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "no test is called {name}: {stdout}");
    // What it skipped is not to be lost.
    eprint!("{stderr}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
