//! Looks at processes through `/proc`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// For what the kernel does soon; generous, because under emulation all is slow.
pub const SOON: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; panics if it does not within `patience`.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the process runs: it exists and is no zombie, which only waits for init.
pub fn runs(pid: i32) -> bool {
    let Some(state) = status_of(&pid.to_string(), "State") else { return false };
    !state.starts_with(['Z', 'X'])
}

/// A line of `/proc/WHO/status`.
pub fn status_of(who: &str, name: &str) -> Option<String> {
    status_line(&fs::read_to_string(format!("/proc/{who}/status")).ok()?, name)
}

/// The value of `name` in the text of a `/proc/PID/status`.
pub fn status_line(status: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
    status.lines().find_map(value)
}

/// Every running process.
pub fn all() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| runs(pid)).collect()
}

/// The keepers that hold a lock in `store`.
pub fn keepers(store: &Path) -> Vec<i32> {
    let store = store.canonicalize().unwrap_or_else(|_| store.to_path_buf());
    let named = |pid: &i32| status_of(&pid.to_string(), "Name").is_some_and(|n| n == "skep-keeper");
    let holds = |pid: &i32| open_files(*pid).iter().any(|(_, file)| file.starts_with(&store));
    all().into_iter().filter(named).filter(holds).collect()
}

/// Running processes that have `mark` in their environment: those of marked containers.
pub fn marked(mark: &str) -> Vec<i32> {
    let entry = format!("{}={mark}", crate::host::MARK);
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == entry.as_bytes())
    };
    all().into_iter().filter(has).collect()
}

/// Children of `parent`, with those that are zombies.
pub fn children_of(parent: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten();
    let lists = tasks.filter_map(Result::ok);
    let lists = lists.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let text: String = lists.collect();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The open file descriptors of `pid` and what they lead to.
pub fn open_files(pid: i32) -> Vec<(i32, std::path::PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let entries = entries.filter_map(Result::ok);
    // The one that lists them has gone by the time it is read.
    let open = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_link(entry.path()).ok()?))
    });
    open.collect()
}

/// Resident memory of `pid` in KiB.
pub fn resident_kib(pid: i32) -> u64 {
    let text = status_of(&pid.to_string(), "VmRSS").unwrap_or_default();
    text.trim_end_matches("kB").trim().parse().unwrap_or(0)
}
