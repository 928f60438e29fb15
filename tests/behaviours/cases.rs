//! The files of this directory as Rust types, which refuse what they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// They are embedded, for the guest's sake, which has this program alone.
const FILES: [(&str, &str); 9] = [
    ("configuration", include_str!("configuration.json")),
    ("errors", include_str!("errors.json")),
    ("exit", include_str!("exit.json")),
    ("images", include_str!("images.json")),
    ("limits", include_str!("limits.json")),
    ("many", include_str!("many.json")),
    ("mounts", include_str!("mounts.json")),
    ("registry", include_str!("registry.json")),
    ("streams", include_str!("streams.json")),
];

/// All cases of all files.
pub fn all() -> Vec<Case> {
    let parse = |(name, text): (&str, &str)| -> Vec<Case> {
        let cases: Vec<Case> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
        for case in &cases {
            assert_eq!(case.name.split('/').next(), Some(name), "{}", case.name);
        }
        cases
    };
    FILES.into_iter().flat_map(parse).collect()
}

/// Fails if a file of this directory is not among [`FILES`]; silent where there is no directory.
pub fn assert_complete() {
    let Ok(entries) = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/behaviours")) else {
        return;
    };
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    found.sort();
    assert_eq!(found, FILES.map(|(name, _)| name));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    #[serde(rename = "why")]
    pub _why: Option<String>,
    pub concurrent: Option<Concurrent>,
    #[serde(default)]
    pub own_store: bool,
    /// As text, in which placeholders are still to be replaced.
    pub steps: Value,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concurrent {
    pub threads: usize,
    pub containers: usize,
}

/// One step: what is done, and what comes of it.
#[derive(Debug)]
pub struct Step {
    pub verb: Verb,
    /// `Some(None)`: it is expected that there is nothing yet.
    pub expect: Option<Option<Expect>>,
    pub error: Option<Failure>,
}

impl Step {
    pub fn parse(mut value: Value) -> Result<Step, String> {
        let fields = value.as_object_mut().ok_or("a step is an object")?;
        let (expect, error) = (fields.remove("expect"), fields.remove("error"));
        let parsed = || -> serde_json::Result<Step> {
            Ok(Step {
                verb: serde_json::from_value(value)?,
                expect: expect.map(serde_json::from_value).transpose()?,
                error: error.map(serde_json::from_value).transpose()?,
            })
        };
        parsed().map_err(|error| error.to_string())
    }
}

/// What a step does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Run(Options),
    Spawn(Options),
    Write(String),
    CloseStdin(True),
    ReadLine(String),
    ReadStdout(String),
    ReadStderr(String),
    Signal(i32),
    Kill(True),
    StopMs(u64),
    Wait(True),
    WaitTimeoutMs(u64),
    TryWait(True),
    Usage(True),
    Drop(True),
    Open(String),
    ImageImport(Import),
    ImageLoad(String),
    ImageFind(String),
    ImageTag(Tag),
    ImageRemove(String),
    ImageList(True),
    ImageSave(Save),
    ImageExport(Export),
    ImageDiff(Diff),
    ImageHistory(String),
    ImageSquash(Squash),
    ImagePull(Pull),
    ImagePush(Push),
    Prune(What),
    DiskUsage(True),
    RegistryPing(Ping),
    RegistryResolve(Question),
    RegistryTags(Repository),
    RegistryReferrers(Question),
    Commit(Commit),
    Diff(True),
    Export(String),
    HostWrite(HostFile),
    HostRead(String),
}

/// The value of a verb that needs none.
#[derive(Debug, Deserialize)]
#[serde(try_from = "bool")]
pub struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<True, Self::Error> {
        if value { Ok(True) } else { Err("only true makes sense here") }
    }
}

/// Tells `null` from nothing.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub image: Option<String>,
    pub args: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub env: BTreeMap<String, String>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub hostname: Option<String>,
    pub keep_files: bool,
    pub mounts: Vec<Mount>,
    pub read_only: bool,
    pub allow_new_privileges: bool,
    pub rlimits: BTreeMap<String, (u64, u64)>,
    pub memory: Option<Size>,
    pub memory_swap: Option<String>,
    pub cpus: Option<f64>,
    pub pids: Option<u32>,
    pub timeout_ms: Option<u64>,
    pub input: Option<String>,
    pub input_pattern: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Size {
    Number(u64),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    pub bind: Option<String>,
    pub to: Option<String>,
    pub tmpfs: Option<String>,
    pub size: Option<u64>,
    pub read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    pub tar: String,
    pub max_size: Option<u64>,
    #[serde(rename = "as")]
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tag {
    pub image: String,
    #[serde(rename = "as")]
    pub name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Save {
    pub images: Vec<String>,
    pub to: String,
    pub format: Format,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Docker,
    Oci,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    pub image: String,
    pub to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    pub image: String,
    pub base: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Commit {
    #[serde(rename = "as")]
    pub name: Option<String>,
    pub author: Option<String>,
    pub comment: Option<String>,
    pub created_by: Option<String>,
    pub time: Option<u64>,
    pub max_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Squash {
    pub image: String,
    #[serde(flatten)]
    pub commit: Commit,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Files,
    Nameless,
    Unused,
}

/// How one registry is reached.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    pub registry: String,
    pub plain_http: bool,
    pub mirrors: Vec<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub ca: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pull {
    pub reference: String,
    pub registries: Vec<Registry>,
    pub platform: Option<String>,
    pub parallel: Option<usize>,
    pub unpack: Option<bool>,
    pub progress: bool,
    pub max_size: Option<u64>,
    pub policy: Option<Policy>,
}

/// Which signatures a pull requires.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub default: Requirement,
    pub prefixes: Vec<Prefix>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    pub prefix: String,
    pub require: Requirement,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    Accept,
    Reject,
    #[serde(untagged)]
    Signed(Signed),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    pub keys: Vec<String>,
    pub at_least: Option<usize>,
    pub identity: Option<Identity>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    SignedTag,
    Exact,
    Repository,
    Named(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    pub image: String,
    #[serde(rename = "as")]
    pub name: String,
    pub registries: Vec<Registry>,
    pub parallel: Option<usize>,
    pub chunk: Option<u64>,
    pub mount_from: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    pub registry: String,
    pub registries: Vec<Registry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub reference: String,
    pub registries: Vec<Registry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    pub repository: String,
    pub registries: Vec<Registry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    pub path: String,
    pub content: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    pub reason: Option<String>,
    #[serde(deserialize_with = "given")]
    pub code: Option<Option<i32>>,
    #[serde(deserialize_with = "given")]
    pub signal: Option<Option<i32>>,
    pub success: Option<bool>,
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    pub stdout_contains: Option<String>,
    pub stderr_contains: Option<String>,
    pub stdout_pattern: Option<usize>,
    pub stderr_pattern: Option<usize>,
    pub usage: Option<Used>,
    pub prefix: Option<String>,
    pub references: Option<Vec<String>>,
    pub os: Option<String>,
    #[serde(deserialize_with = "given")]
    pub cmd: Option<Option<Vec<String>>>,
    pub content: Option<String>,
    pub changes: Option<Vec<String>>,
    pub history: Option<Vec<String>>,
    pub pruned: Option<Gone>,
    pub disk: Option<Disk>,
    pub tags: Option<Vec<String>>,
    pub referrers: Option<usize>,
    pub digest_of: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    pub images: usize,
    pub layers: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    pub images: usize,
    pub in_use: usize,
    pub unneeded: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Used {
    pub memory_peak_min: Option<u64>,
    pub memory_peak_max: Option<u64>,
    pub cpu_ms_min: Option<u64>,
    pub cpu_ms_max: Option<u64>,
    pub oom_kills_min: Option<u64>,
    pub oom_kills_max: Option<u64>,
    pub pids_peak_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Failure {
    pub kind: String,
    pub message: Option<String>,
    pub message_starts: Option<String>,
}
