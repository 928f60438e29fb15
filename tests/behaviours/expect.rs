//! Compares what came with what a case expects, and says what differs.

use std::fmt::Debug;

use skep::image::{DiskUsage, Pruned};
use skep::{Error, ExitReason, ExitStatus, Image, Output, Usage};

use super::cases::{Expect, Failure, Used};

/// Nothing, or what is wrong.
pub type Checked = Result<(), String>;

/// Bytes that repeat after no power of two: 0, 1, ... 250, 0, ...
pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = (0..251).collect::<Vec<u8>>().repeat(len / 251 + 1);
    bytes.truncate(len);
    bytes
}

/// What has come of a step.
pub enum Outcome {
    Nothing,
    Output(Output),
    /// `None`: it still runs.
    Status(Option<ExitStatus>),
    Usage(Usage),
    Image(Image),
    References(Vec<String>),
    Content(String),
    Changes(Vec<String>),
    History(Vec<String>),
    Pruned(Pruned),
    Disk(DiskUsage),
    Tags(Vec<String>),
    Referrers(usize),
    /// A digest, and the one that is expected.
    Digest(String, String),
}

impl Outcome {
    pub fn check(&self, expect: Option<Option<Expect>>) -> Checked {
        let expect = match (self, expect) {
            (_, None) => return Ok(()),
            (Outcome::Status(None), Some(None)) => return Ok(()),
            (Outcome::Status(None), Some(Some(_))) => return Err("it still runs".into()),
            (_, Some(None)) => return Err("it is over".into()),
            (_, Some(Some(expect))) => expect,
        };
        match self {
            Outcome::Output(output) => expect.check_output(output),
            Outcome::Status(Some(status)) => expect.check_status(status),
            Outcome::Usage(usage) => expect.check_usage(usage),
            Outcome::Image(image) => expect.check_image(image),
            Outcome::References(references) => expect.check_references(references.clone()),
            Outcome::Content(content) => same_if("content", content, &expect.content),
            Outcome::Changes(changes) => same_if("changes", changes, &expect.changes),
            Outcome::History(history) => same_if("history", history, &expect.history),
            Outcome::Pruned(pruned) => expect.check_pruned(pruned),
            Outcome::Disk(usage) => expect.check_disk(usage),
            Outcome::Tags(tags) => same_if("tags", tags, &expect.tags),
            Outcome::Referrers(number) => same_if("referrers", number, &expect.referrers),
            Outcome::Digest(found, expected) => same("digest", found, expected),
            Outcome::Nothing | Outcome::Status(None) => Err("nothing comes of this".into()),
        }
    }
}

impl Expect {
    fn check_output(&self, output: &Output) -> Checked {
        let streams = [
            ("stdout", &output.stdout, &self.stdout, &self.stdout_contains, self.stdout_pattern),
            ("stderr", &output.stderr, &self.stderr, &self.stderr_contains, self.stderr_pattern),
        ];
        for (name, bytes, whole, part, length) in streams {
            let text = String::from_utf8_lossy(bytes);
            if let Some(whole) = whole {
                same(name, &*text, whole)?;
            }
            if let Some(part) = part {
                ensure(text.contains(part), || format!("{name} {text:?} has no {part:?}"))?;
            }
            if let Some(length) = length {
                let same = *bytes == pattern(length);
                ensure(same, || format!("{name} is not the pattern: {} bytes", bytes.len()))?;
            }
        }
        self.check_status(&output.status)
    }

    fn check_status(&self, status: &ExitStatus) -> Checked {
        let reason = match status.reason() {
            ExitReason::Exited(code) => format!("exited:{code}"),
            ExitReason::Signaled(signal) => format!("signaled:{signal}"),
            ExitReason::OomKilled => "oom_killed".into(),
            ExitReason::TimedOut => "timed_out".into(),
            other => format!("{other:?}"),
        };
        same_if("reason", &reason, &self.reason)?;
        same_if("code", &status.code(), &self.code)?;
        same_if("signal", &status.signal(), &self.signal)?;
        same_if("success", &status.success(), &self.success)?;
        self.check_usage(&status.usage())
    }

    fn check_usage(&self, usage: &Usage) -> Checked {
        let Some(used) = &self.usage else { return Ok(()) };
        let Used { memory_peak_min, memory_peak_max, .. } = used;
        let Used { cpu_ms_min, cpu_ms_max, oom_kills_min, oom_kills_max, pids_peak_max, .. } = used;
        let memory = usage.memory_peak.map(|bytes| bytes.get());
        let cpu = usage.cpu.map(|cpu| cpu.total.as_millis() as u64);
        within("memory_peak", memory, memory_peak_min, memory_peak_max)?;
        within("cpu_ms", cpu, cpu_ms_min, cpu_ms_max)?;
        within("oom_kills", usage.oom_kills, oom_kills_min, oom_kills_max)?;
        within("pids_peak", usage.pids_peak, &None, pids_peak_max)
    }

    fn check_image(&self, image: &Image) -> Checked {
        let mut references: Vec<String> =
            image.references().iter().map(ToString::to_string).collect();
        references.sort();
        same_if("references", &references, &self.references)?;
        let inspected = image.inspect();
        let os = inspected["config"]["os"].as_str().unwrap_or_default().to_owned();
        same_if("os", &os, &self.os)?;
        let cmd = serde_json::from_value(inspected["config"]["config"]["Cmd"].clone())
            .map_err(|error| error.to_string())?;
        same_if("cmd", &cmd, &self.cmd)
    }

    fn check_pruned(&self, pruned: &Pruned) -> Checked {
        let expected = self.pruned.as_ref().ok_or("this is a prune")?;
        same("images", &pruned.images.len(), &expected.images)?;
        same("layers", &pruned.layers, &expected.layers)
    }

    fn check_disk(&self, usage: &DiskUsage) -> Checked {
        let expected = self.disk.as_ref().ok_or("this is a disk's usage")?;
        same("images", &usage.images.len(), &expected.images)?;
        let in_use = usage.images.iter().filter(|image| image.in_use).count();
        same("in_use", &in_use, &expected.in_use)?;
        same("unneeded", &usage.unneeded, &expected.unneeded)
    }

    fn check_references(&self, mut references: Vec<String>) -> Checked {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        references.retain(|reference| reference.starts_with(prefix));
        references.sort();
        same_if("references", &references, &self.references)
    }
}

impl Failure {
    pub fn check(&self, error: &Error) -> Checked {
        let message = error.to_string();
        if let Some(expected) = &self.message {
            same("message", &*message, expected)?;
        }
        if let Some(start) = &self.message_starts {
            ensure(message.starts_with(start), || format!("message {message:?}"))?;
        }
        same("kind", error.kind().name(), &self.kind)
    }
}

/// Fails with what `message` says unless `condition` holds.
pub fn ensure(condition: bool, message: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { Err(message()) }
}

/// Fails unless both are the same.
pub fn same<T: PartialEq<U> + Debug + ?Sized, U: Debug + ?Sized>(
    what: &str,
    found: &T,
    expected: &U,
) -> Checked {
    ensure(found == expected, || format!("{what} is {found:?}, and not {expected:?}"))
}

fn same_if<T: PartialEq + Debug>(what: &str, found: &T, expected: &Option<T>) -> Checked {
    expected.as_ref().map_or(Ok(()), |expected| same(what, found, expected))
}

fn within(what: &str, found: Option<u64>, least: &Option<u64>, most: &Option<u64>) -> Checked {
    if least.is_none() && most.is_none() {
        return Ok(());
    }
    let found = found.ok_or_else(|| format!("{what} was not counted"))?;
    let range = least.unwrap_or(0)..=most.unwrap_or(u64::MAX);
    ensure(range.contains(&found), || format!("{what} is {found}, and not in {range:?}"))
}
