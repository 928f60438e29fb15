//! Where skep's time goes, by the kernel's own tracer.
//!
//! Every system call of one start is recorded with its time: the host's, the keeper's and the
//! container's first process's. The tracer (tracefs, in a mount namespace of a copy of this program)
//! costs about half a microsecond a call, a tenth of the sum; strace costs twenty a call.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::drain::Drain;
use crate::limit::Limit;
use crate::own::{IMAGE, Own};
use crate::stats::percentile;
use crate::table;

/// The tables of the start from the root called `name`, made by a copy of this program.
pub(crate) fn tables(
    name: &str,
    rounds: usize,
    store: &Path,
    tar: &Path,
    root: &Path,
    limit: &Limit,
) -> io::Result<String> {
    let script = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(std::env::current_exe()?);
    command
        .args(["traced", name, &rounds.to_string()])
        .arg(store)
        .arg(tar)
        .arg(root)
        .arg(limit.program());
    let output = command.output()?;
    if output.status.success() {
        return String::from_utf8(output.stdout).map_err(io::Error::other);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(format!("### Where skep's time goes ({name})\n\nNot measured: {}\n", said.trim()))
}

/// The copy's part; `words` is what follows `traced`.
pub(crate) fn serve(words: &[String]) -> io::Result<()> {
    let [name, rounds, store, tar, root, limit] = words else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let rounds: usize = rounds.parse().map_err(io::Error::other)?;
    let own = Own::open(Path::new(store), Path::new(tar), Path::new(root))?;
    let host = std::process::id() as i32;
    let tracer = Tracer::start(&[host, own.keeper()])?;
    let mut drain = Drain::start(Path::new(limit))?;
    let mut starts = Vec::new();
    for round in 0..rounds + 1 {
        drain.wait()?;
        let text = tracer.record(|| own.threads(name).run())?;
        // The first one loads what tracing needs.
        if round > 0 {
            starts.push(Start::of(&text, host, own.keeper())?);
        }
    }
    drop(tracer);
    print!("{}", print(name, &starts));
    Ok(())
}

fn print(name: &str, starts: &[Start]) -> String {
    let mut rows = Vec::new();
    let mut sum = 0.0;
    for (index, stage) in STAGES.iter().enumerate() {
        let us = median(starts.iter().map(|start| start.stages[index]));
        sum += us;
        let last_of_directory = index + 1 == STAGES.len() && name != IMAGE;
        let stage = if last_of_directory { LAST_OF_DIRECTORY } else { stage };
        rows.push((stage.to_owned(), vec![format!("{us:.0}")]));
    }
    rows.push(("sum of medians".to_owned(), vec![format!("{sum:.0}")]));
    let title = format!("Where skep's time goes ({name})");
    let stages = table::plain(&title, &["µs".to_owned()], &rows);
    let head = ["times".to_owned(), "µs".to_owned()];
    let title = format!("The dearest calls of a start ({name})");
    format!("{stages}\n{}", table::plain(&title, &head, &dearest(starts)))
}

/// Rows of the calls that take longest.
fn dearest(starts: &[Start]) -> Vec<(String, Vec<String>)> {
    let mut costs: BTreeMap<&Call, Vec<(usize, f64)>> = BTreeMap::new();
    for start in starts {
        for (call, cost) in &start.calls {
            costs.entry(call).or_default().push(*cost);
        }
    }
    let mut calls: Vec<_> = costs
        .into_iter()
        .map(|(call, costs)| {
            let times = median(costs.iter().map(|cost| cost.0 as f64));
            (call, times, median(costs.iter().map(|cost| cost.1)))
        })
        .collect();
    calls.sort_by(|a, b| b.2.total_cmp(&a.2));
    let row = |((who, call), times, us): &(&Call, f64, f64)| {
        (format!("{who}: {call}"), vec![format!("{times:.0}"), format!("{us:.0}")])
    };
    calls.iter().take(SHOWN).map(row).collect()
}

fn median(us: impl Iterator<Item = f64>) -> f64 {
    percentile(&us.collect::<Vec<_>>(), 50).unwrap_or(0.0)
}

/// Contiguous, so that their sum is the start.
const STAGES: [&str; 10] = [
    "host: groups and limits, root, plan",
    "keeper: receives it and clones",
    "container: joins its groups, new namespaces",
    "container: root, mounts, devices, masks",
    "container: rlimits, session, streams, capabilities",
    "container: seccomp filter",
    "container: exec",
    "the command runs",
    "its end reaches the host",
    "host: usage, groups removed, root kept",
];
const LAST_OF_DIRECTORY: &str = "host: usage, groups removed, root removed";
const SHOWN: usize = 24;
/// Calls that wait for somebody else.
const WAITS: [&str; 4] = ["epoll_pwait", "recvfrom", "exit_group", "poll"];
const BETWEEN: &str = "(between calls)";

/// Who makes it, and its name.
type Call = (&'static str, String);

/// One start, taken apart.
struct Start {
    stages: [f64; STAGES.len()],
    /// How often, and the microseconds of all.
    calls: BTreeMap<Call, (usize, f64)>,
}

impl Start {
    fn of(text: &str, host: i32, keeper: i32) -> io::Result<Start> {
        let events: Vec<Event<'_>> = text.lines().filter_map(Event::parse).collect();
        let mark = |name| events.iter().position(|event| event.what == Happening::Mark(name));
        let bounds = mark("begin").zip(mark("end"));
        let taken = bounds.and_then(|(begin, end)| {
            let (begun, ended) = (events[begin].us, events[end].us);
            let events = &events[begin + 1..end];
            let stages = stages(events, begun, ended, host, keeper)?;
            Some(Start { stages, calls: calls(events, begun, host, keeper) })
        });
        taken.ok_or_else(|| io::Error::other("a call that every start makes is not in the trace"))
    }
}

/// `None` if a call is missing that parts two stages.
fn stages(
    events: &[Event<'_>],
    begun: f64,
    ended: f64,
    host: i32,
    keeper: i32,
) -> Option<[f64; STAGES.len()]> {
    let inside = |event: &Event<'_>| event.pid != host && event.pid != keeper;
    let sent = events.iter().position(|e| e.pid == host && e.enters("sendmsg"))?;
    let mut cuts = vec![begun, events[sent].us];
    // The container's calls, each looked for behind the one before.
    let mut calls = events.iter().skip(sent).filter(|event| inside(event));
    cuts.push(calls.next()?.us);
    cuts.push(calls.find(|e| e.enters("pivot_root"))?.us);
    cuts.push(calls.find(|e| e.enters("prlimit64"))?.us);
    cuts.push(calls.find(|e| e.enters("seccomp"))?.us);
    cuts.push(calls.find(|e| e.leaves("seccomp"))?.us);
    cuts.push(calls.find(|e| e.leaves("execve"))?.us);
    cuts.push(calls.find(|e| e.enters("exit_group"))?.us);
    cuts.push(events.iter().rfind(|e| e.pid == host && e.leaves("recvfrom"))?.us);
    cuts.push(ended);
    let mut stages = [0.0; STAGES.len()];
    for (stage, cut) in stages.iter_mut().zip(cuts.windows(2)) {
        *stage = cut[1] - cut[0];
    }
    Some(stages)
}

fn calls(events: &[Event<'_>], begun: f64, host: i32, keeper: i32) -> BTreeMap<Call, (usize, f64)> {
    let mut calls: BTreeMap<Call, (usize, f64)> = BTreeMap::new();
    // For each process: when it entered a call, or left the last one.
    let mut entered: BTreeMap<i32, f64> = BTreeMap::new();
    let mut left: BTreeMap<i32, f64> = BTreeMap::from([(host, begun)]);
    for event in events {
        let who = match event.pid {
            pid if pid == host => "host",
            pid if pid == keeper => "keeper",
            _ => "container",
        };
        let mut add = |name: &str, us: f64| {
            let cost = calls.entry((who, name.to_owned())).or_default();
            *cost = (cost.0 + 1, cost.1 + us);
        };
        match event.what {
            Happening::Enter(_) => {
                entered.insert(event.pid, event.us);
                if let Some(before) = left.remove(&event.pid) {
                    add(BETWEEN, event.us - before);
                }
            }
            Happening::Leave(name) => {
                if let Some(before) = entered.remove(&event.pid)
                    && !WAITS.contains(&name)
                {
                    add(name, event.us - before);
                }
                left.insert(event.pid, event.us);
            }
            Happening::Mark(_) => {}
        }
    }
    calls
}

/// One line of the trace.
struct Event<'a> {
    pid: i32,
    us: f64,
    what: Happening<'a>,
}

#[derive(PartialEq)]
enum Happening<'a> {
    Enter(&'a str),
    Leave(&'a str),
    Mark(&'a str),
}

impl<'a> Event<'a> {
    /// `COMM-PID [CPU] FLAGS SECONDS: sys_NAME(ARGUMENTS)` or `... sys_NAME -> RESULT`.
    fn parse(line: &'a str) -> Option<Event<'a>> {
        let (process, rest) = line.split_once(" [")?;
        let pid = process.trim().rsplit_once('-')?.1.parse().ok()?;
        let (_flags, rest) = rest.split_once("] ")?.1.split_once(' ')?;
        let (seconds, rest) = rest.trim_start().split_once(": ")?;
        let us = seconds.parse::<f64>().ok()? * 1e6;
        if let Some(mark) = rest.strip_prefix("tracing_mark_write: ") {
            return Some(Event { pid, us, what: Happening::Mark(mark.trim_end()) });
        }
        let call = rest.strip_prefix("sys_")?;
        let name = call.split(['(', ' ']).next()?;
        let entering = call[name.len()..].starts_with('(');
        let what = if entering { Happening::Enter(name) } else { Happening::Leave(name) };
        Some(Event { pid, us, what })
    }

    fn enters(&self, name: &str) -> bool {
        self.what == Happening::Enter(name)
    }

    fn leaves(&self, name: &str) -> bool {
        self.what == Happening::Leave(name)
    }
}

/// An instance of the kernel's tracer, of the bench's own, removed with this.
struct Tracer {
    instance: PathBuf,
}

impl Tracer {
    /// Traces the system calls of `processes` and of those that they start.
    fn start(processes: &[i32]) -> io::Result<Tracer> {
        let name = format!("skep-bench-{}", std::process::id());
        let instance = Path::new("/sys/kernel/tracing/instances").join(name);
        fs::create_dir(&instance)?;
        let tracer = Tracer { instance };
        let processes: Vec<String> = processes.iter().map(i32::to_string).collect();
        tracer.set("trace_clock", "mono")?;
        tracer.set("buffer_size_kb", "2048")?;
        tracer.set("options/event-fork", "1")?;
        tracer.set("set_event_pid", &processes.join(" "))?;
        tracer.set("events/syscalls/enable", "1")?;
        Ok(tracer)
    }

    /// What was recorded while `work` ran, between marks at its begin and end.
    fn record(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<String> {
        self.set("trace", "\n")?;
        self.set("tracing_on", "1")?;
        self.set("trace_marker", "begin")?;
        work()?;
        self.set("trace_marker", "end")?;
        // Reading would be recorded too, and never come to its end.
        self.set("tracing_on", "0")?;
        fs::read_to_string(self.instance.join("trace"))
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.instance.join(file), value)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.set("events/syscalls/enable", "0");
        let _ = fs::remove_dir(&self.instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_trace() {
        let line = " skep-bench-12   [001] ..... 5.000001: sys_close(fd: 3)";
        let event = Event::parse(line).unwrap();
        assert!(event.pid == 12 && event.enters("close"));
        assert_eq!(event.us.round(), 5_000_001.0);
        assert!(
            Event::parse(" true-13 [000] ..... 5.5: sys_close -> 0x0").unwrap().leaves("close")
        );
        let mark = Event::parse(" a b-7 [000] ..... 5.5: tracing_mark_write: end").unwrap();
        assert!(mark.what == Happening::Mark("end"));
        assert!(Event::parse("# tracer: nop").is_none());
    }
}
