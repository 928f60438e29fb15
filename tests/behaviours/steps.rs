//! Carries out the steps of a case.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio as ProgramStdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use std::{fs, thread};

use serde_json::Value;
use skep::image::{self, ArchiveFormat, Images, Prune};
use skep::{Bytes, Child, Command, Engine, Mount, Stdio};
use skep_tests::temporary;
use tempfile::TempDir;

use super::cases::{self, Case, Concurrent, Format, Options, Size, Step, Verb, What};
use super::expect::{Checked, Outcome, pattern, same};
use super::registry;

const IMAGE: &str = "localhost/skep-behaviours:1";

/// A store with the image that all cases run in.
pub struct Store {
    engine: Engine,
    rootfs: PathBuf,
    _directory: TempDir,
}

impl Store {
    pub fn new() -> Store {
        let directory = temporary("skep-behaviours-");
        let rootfs = match std::env::var_os("SKEP_TEST_ROOTFS") {
            Some(path) => path.into(),
            None => make_rootfs(&directory.path().join("root.tar")),
        };
        let engine = Engine::open(directory.path().join("store")).unwrap();
        engine.images().import(&rootfs, Some(IMAGE)).unwrap();
        Store { engine, rootfs, _directory: directory }
    }
}

/// By the script, which is embedded as the cases are.
fn make_rootfs(out: &Path) -> PathBuf {
    let mut shell = Program::new("sh");
    shell.args(["-s", "--"]).arg(out).stdin(ProgramStdio::piped());
    let mut shell = shell.spawn().unwrap();
    shell.stdin.take().unwrap().write_all(include_bytes!("rootfs.sh")).unwrap();
    assert!(shell.wait().unwrap().success(), "rootfs.sh");
    out.into()
}

/// Carries out `case`, once or many times at once.
pub fn carry_out(store: &Store, case: &Case) -> Checked {
    let own = case.own_store.then(Store::new);
    let store = own.as_ref().unwrap_or(store);
    let Some(Concurrent { threads, containers }) = case.concurrent else {
        return Run::new(store).carry_out(&case.steps, "0");
    };
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= containers {
                return Ok(());
            }
            Run::new(store)
                .carry_out(&case.steps, &number.to_string())
                .map_err(|error| format!("number {number}: {error}"))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })
}

/// One passage through a case's steps.
struct Run<'a> {
    store: &'a Store,
    directory: TempDir,
    child: Option<Child>,
}

impl Run<'_> {
    fn new(store: &Store) -> Run<'_> {
        Run { store, directory: temporary("skep-behaviour-"), child: None }
    }

    fn carry_out(&mut self, steps: &Value, number: &str) -> Checked {
        for (index, step) in steps.as_array().ok_or("steps are a list")?.iter().enumerate() {
            self.step(self.replaced(step, number))
                .map_err(|error| format!("step {}: {error}", index + 1))?;
        }
        Ok(())
    }

    fn step(&mut self, step: Value) -> Checked {
        let Step { verb, expect, error } = Step::parse(step)?;
        let digest_of = expect.as_ref().and_then(|expect| expect.as_ref()?.digest_of.clone());
        match (self.perform(verb, digest_of), error) {
            (Ok(outcome), None) => outcome.check(expect),
            (Ok(_), Some(expected)) => Err(format!("no error, where {expected:?} is expected")),
            (Err(Failed::Skep(error)), Some(expected)) => expected.check(&error),
            (Err(Failed::Skep(error)), None) => Err(error.to_string()),
            (Err(Failed::Case(error)), _) => Err(error),
        }
    }

    /// `value` with the placeholders in its strings replaced.
    fn replaced(&self, value: &Value, number: &str) -> Value {
        match value {
            Value::String(text) => {
                let id = self.child.as_ref().map_or("", |child| &child.id()[..12]);
                let text = text
                    .replace("${DIR}", &self.directory.path().to_string_lossy())
                    .replace("${ROOTFS}", &self.store.rootfs.to_string_lossy())
                    .replace("${IMAGE}", IMAGE)
                    .replace("${ID}", id)
                    .replace("${REGISTRY}", &variable("SKEP_TEST_REGISTRY"))
                    .replace("${CLOSED}", &variable("SKEP_TEST_REGISTRY_CLOSED"))
                    .replace("${CA}", &variable("SKEP_TEST_REGISTRY_CA"))
                    .replace("${N}", number);
                text.into()
            }
            Value::Array(values) => {
                values.iter().map(|value| self.replaced(value, number)).collect()
            }
            Value::Object(fields) => {
                fields.iter().map(|(k, v)| (k.clone(), self.replaced(v, number))).collect()
            }
            other => other.clone(),
        }
    }

    fn perform(&mut self, verb: Verb, digest_of: Option<String>) -> Result<Outcome, Failed> {
        let engine = &self.store.engine;
        let images = engine.images();
        match verb {
            Verb::Run(options) => Ok(Outcome::Output(command(engine, options)?.output()?)),
            Verb::Spawn(options) => {
                let mut command = command(engine, options)?;
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                self.child = Some(command.spawn()?);
                Ok(Outcome::Nothing)
            }
            Verb::Open(path) => Ok(Engine::open(path).map(|_| Outcome::Nothing)?),
            Verb::ImageImport(import) => {
                let bounded = import.max_size.map(|bytes| images.max_size(bytes));
                let images = bounded.as_ref().unwrap_or(images);
                Ok(Outcome::Image(images.import(import.tar, Some(&import.name))?))
            }
            Verb::ImageLoad(path) => Ok(Outcome::Image(images.load(path)?)),
            Verb::ImageFind(name) => Ok(Outcome::Image(images.find(&name)?)),
            Verb::ImageTag(tag) => {
                Ok(images.tag(&tag.image, &tag.name).map(|()| Outcome::Nothing)?)
            }
            Verb::ImageRemove(name) => Ok(images.remove(&name).map(|()| Outcome::Nothing)?),
            Verb::ImageList(_) => {
                let list = images.list()?;
                let names = list.iter().flat_map(|image| &image.references);
                Ok(Outcome::References(names.map(ToString::to_string).collect()))
            }
            Verb::HostWrite(file) => {
                Ok(fs::write(file.path, file.content).map(|()| Outcome::Nothing)?)
            }
            Verb::HostRead(path) => Ok(Outcome::Content(fs::read_to_string(path)?)),
            Verb::Commit(_) | Verb::Diff(_) | Verb::Export(_) => self.perform_on_files(verb),
            of_image @ (Verb::ImageSave(_)
            | Verb::ImageExport(_)
            | Verb::ImageDiff(_)
            | Verb::ImageHistory(_)
            | Verb::ImageSquash(_)
            | Verb::Prune(_)
            | Verb::DiskUsage(_)) => Ok(perform_on_images(images, of_image)?),
            of_registry @ (Verb::ImagePull(_)
            | Verb::ImagePush(_)
            | Verb::RegistryPing(_)
            | Verb::RegistryResolve(_)
            | Verb::RegistryTags(_)
            | Verb::RegistryReferrers(_)) => registry::perform(images, of_registry, digest_of),
            of_child => self.perform_on_child(of_child),
        }
    }

    fn perform_on_files(&mut self, verb: Verb) -> Result<Outcome, Failed> {
        let child = self.child.as_mut().ok_or("nothing was spawned")?;
        match verb {
            Verb::Commit(commit) => Ok(Outcome::Image(child.commit(&commit_of(commit))?)),
            Verb::Diff(_) => {
                let changes = child.diff()?;
                Ok(Outcome::Changes(changes.iter().map(ToString::to_string).collect()))
            }
            Verb::Export(path) => Ok(child.export(path).map(|()| Outcome::Nothing)?),
            other => Err(format!("{other:?} is for no files").into()),
        }
    }

    fn perform_on_child(&mut self, verb: Verb) -> Result<Outcome, Failed> {
        let child = self.child.as_mut().ok_or("nothing was spawned")?;
        let status = |status| Ok(Outcome::Status(status));
        match verb {
            Verb::Write(text) => {
                child.stdin.as_mut().ok_or("stdin is closed")?.write_all(text.as_bytes())?;
            }
            Verb::CloseStdin(_) => child.stdin = None,
            Verb::ReadLine(expected) => same("line", &line(&mut child.stdout)?, &expected)?,
            Verb::ReadStdout(expected) => same("stdout", &rest(&mut child.stdout)?, &expected)?,
            Verb::ReadStderr(expected) => same("stderr", &rest(&mut child.stderr)?, &expected)?,
            Verb::Signal(signal) => child.signal(signal)?,
            Verb::Kill(_) => child.kill()?,
            Verb::StopMs(grace) => return status(Some(child.stop(Duration::from_millis(grace))?)),
            Verb::Wait(_) => return status(Some(child.wait()?)),
            Verb::WaitTimeoutMs(time) => {
                return status(child.wait_timeout(Duration::from_millis(time))?);
            }
            Verb::TryWait(_) => return status(child.try_wait()?),
            Verb::Usage(_) => return Ok(Outcome::Usage(child.usage()?)),
            Verb::Drop(_) => self.child = None,
            other => return Err(format!("{other:?} is for no container").into()),
        }
        Ok(Outcome::Nothing)
    }
}

fn perform_on_images(images: &Images, verb: Verb) -> skep::Result<Outcome> {
    match verb {
        Verb::ImageSave(save) => {
            let format = match save.format {
                Format::Docker => ArchiveFormat::Docker,
                Format::Oci => ArchiveFormat::Oci,
            };
            images.save(&save.images, save.to, format).map(|()| Outcome::Nothing)
        }
        Verb::ImageExport(export) => {
            images.find(&export.image)?.export(export.to).map(|()| Outcome::Nothing)
        }
        Verb::ImageDiff(diff) => {
            let changes = images.find(&diff.image)?.diff(&images.find(&diff.base)?)?;
            Ok(Outcome::Changes(changes.iter().map(ToString::to_string).collect()))
        }
        Verb::ImageHistory(name) => {
            let steps = images.find(&name)?.history();
            let text = |step: image::Step| {
                let said = [step.history.created_by, step.history.comment];
                said.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or_default()
            };
            Ok(Outcome::History(steps.into_iter().map(text).collect()))
        }
        Verb::ImageSquash(squash) => {
            let image = images.find(&squash.image)?;
            image.squash(&commit_of(squash.commit)).map(Outcome::Image)
        }
        Verb::Prune(what) => {
            let what = match what {
                What::Files => Prune::Files,
                What::Nameless => Prune::Nameless,
                What::Unused => Prune::Unused,
            };
            images.prune(what).map(Outcome::Pruned)
        }
        _ => images.disk_usage().map(Outcome::Disk),
    }
}

fn commit_of(given: cases::Commit) -> image::Commit {
    let cases::Commit { name, author, comment, created_by, time, max_size } = given;
    let mut commit = image::Commit::new();
    if let Some(value) = name {
        commit = commit.reference(value);
    }
    if let Some(value) = author {
        commit = commit.author(value);
    }
    if let Some(value) = comment {
        commit = commit.comment(value);
    }
    if let Some(value) = created_by {
        commit = commit.created_by(value);
    }
    if let Some(value) = time {
        commit = commit.time(UNIX_EPOCH + Duration::from_secs(value));
    }
    if let Some(value) = max_size {
        commit = commit.max_size(value);
    }
    commit
}

/// What `tests/registry/run` says; nothing without it, and then no case that needs it is run.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Why a step failed: by skep, which may be expected, or by itself.
pub enum Failed {
    Skep(skep::Error),
    Case(String),
}

impl From<skep::Error> for Failed {
    fn from(error: skep::Error) -> Failed {
        Failed::Skep(error)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        Failed::Case(error.to_string())
    }
}

impl From<String> for Failed {
    fn from(error: String) -> Failed {
        Failed::Case(error)
    }
}

impl From<&str> for Failed {
    fn from(error: &str) -> Failed {
        Failed::Case(error.into())
    }
}

fn command(engine: &Engine, options: Options) -> skep::Result<Command> {
    let image = engine.images().find(options.image.as_deref().unwrap_or(IMAGE))?;
    let mut command = engine.command(&image);
    command.args(options.args).envs(options.env);
    command.keep_files(options.keep_files);
    command.read_only(options.read_only).allow_new_privileges(options.allow_new_privileges);
    options.entrypoint.map(|value| command.entrypoint(value));
    options.working_dir.map(|value| command.working_dir(value));
    options.user.map(|value| command.user(value));
    options.hostname.map(|value| command.hostname(value));
    options.cpus.map(|value| command.cpus(value));
    options.pids.map(|value| command.pids(value));
    options.timeout_ms.map(|value| command.timeout(Duration::from_millis(value)));
    options.input.map(|value| command.input(value));
    options.input_pattern.map(|value| command.input(pattern(value)));
    for (name, (soft, hard)) in options.rlimits {
        command.rlimit(skep::rlimit_resource(&name)?, soft, hard);
    }
    match options.memory {
        Some(Size::Number(bytes)) => _ = command.memory(Bytes::new(bytes)),
        Some(Size::Text(text)) => _ = command.memory(text.parse()?),
        None => {}
    }
    if let Some(swap) = options.memory_swap {
        command.memory_swap(swap.parse()?);
    }
    for mount in options.mounts {
        command.mount(mount_of(mount));
    }
    Ok(command)
}

fn mount_of(mount: cases::Mount) -> Mount {
    let made = match (mount.bind, mount.to, mount.tmpfs, mount.size) {
        (Some(source), Some(target), None, None) => Mount::bind(source, target),
        (None, None, Some(target), None) => Mount::tmpfs(target),
        (None, None, Some(target), Some(size)) => Mount::tmpfs(target).size(size),
        other => panic!("a mount is a bind or a tmpfs, and not {other:?}"),
    };
    if mount.read_only { made.read_only() } else { made }
}

/// A line of `stream`, without reading beyond it.
fn line(stream: &mut Option<impl Read>) -> Result<String, Failed> {
    let stream = stream.as_mut().ok_or("stdout is closed")?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte)? {
            1 if byte[0] != b'\n' => line.push(byte[0]),
            _ => return Ok(String::from_utf8_lossy(&line).into_owned()),
        }
    }
}

fn rest(stream: &mut Option<impl Read>) -> Result<String, Failed> {
    let mut text = String::new();
    stream.as_mut().ok_or("the stream is closed")?.read_to_string(&mut text)?;
    Ok(text)
}
