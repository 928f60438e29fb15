//! The command line. Options may stand before or after the command and the identifier, as podman,
//! conmon and containerd write them.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::Result;
use crate::log::{Format, Log};

/// All of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub(crate) global: Global,
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Global {
    /// Where the states of containers are: a directory on tmpfs.
    pub(crate) root: PathBuf,
    pub(crate) log: Log,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Create { id: String, new: New },
    Start { id: String },
    State { id: String },
    Kill { id: String, signal: String, all: bool },
    Delete { id: String, force: bool },
    Run { id: String, new: New, detach: bool },
    Version,
}

/// How a container is made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct New {
    pub(crate) bundle: PathBuf,
    pub(crate) pid_file: Option<PathBuf>,
}

/// Options as they come, before it is known which command they are for.
#[derive(Default)]
struct Found {
    words: Vec<String>,
    bundle: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    root: Option<PathBuf>,
    log: Log,
    version: bool,
    all: bool,
    force: bool,
    detach: bool,
}

/// Parses the arguments, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments> {
    let mut parser = Parser::from_iter(arguments);
    let mut found = Found::default();
    while let Some(argument) = parser.next()? {
        // Owned, as what it borrows from is asked for its value next.
        let name = match argument {
            Arg::Value(word) => {
                found.words.push(word.string()?);
                continue;
            }
            Arg::Short(letter) => letter.to_string(),
            Arg::Long(name) => name.to_owned(),
        };
        found.option(&name, &mut parser)?;
    }
    let root = found.root.take().unwrap_or_else(|| "/run/skep-oci".into());
    let global = Global { root, log: found.log.clone() };
    Ok(Arguments { global, command: found.command()? })
}

impl Found {
    fn option(&mut self, name: &str, parser: &mut Parser) -> Result<()> {
        match name {
            "b" | "bundle" => self.bundle = Some(parser.value()?.into()),
            "pid-file" => self.pid_file = Some(parser.value()?.into()),
            "root" => self.root = Some(parser.value()?.into()),
            "log" => self.log.path = Some(parser.value()?.into()),
            "log-format" => self.log.format = Format::parse(&parser.value()?.string()?)?,
            "v" | "version" => self.version = true,
            "a" | "all" => self.all = true,
            "f" | "force" => self.force = true,
            "d" | "detach" => self.detach = true,
            // There is nothing more to say, and paths for systemd are refused where they are met.
            "debug" | "systemd-cgroup" => {}
            "preserve-fds" => match parser.value()?.string()?.as_str() {
                "0" => {}
                _ => return Err(refused("--preserve-fds")),
            },
            "console-socket" | "no-pivot" | "no-new-keyring" | "criu" | "rootless" => {
                return Err(refused(&format!("--{name}")));
            }
            _ => return Err(format!("unknown option {name}").into()),
        }
        Ok(())
    }

    fn command(self) -> Result<Command> {
        if self.version {
            return Ok(Command::Version);
        }
        let mut words = self.words.into_iter();
        let command = words.next().ok_or(USAGE)?;
        let id = words.next().ok_or_else(|| format!("{command} needs a container's name"))?;
        let bundle = self.bundle.unwrap_or_else(|| ".".into());
        let new = New { bundle, pid_file: self.pid_file };
        let parsed = match command.as_str() {
            "create" => Command::Create { id, new },
            "start" => Command::Start { id },
            "state" => Command::State { id },
            "kill" => {
                let signal = words.next().unwrap_or_else(|| "SIGTERM".into());
                Command::Kill { id, signal, all: self.all }
            }
            "delete" => Command::Delete { id, force: self.force },
            "run" => Command::Run { id, new, detach: self.detach },
            other => return Err(format!("unknown command {other}; {USAGE}").into()),
        };
        match words.next() {
            None => Ok(parsed),
            Some(word) => Err(format!("unexpected argument {word:?}").into()),
        }
    }
}

const USAGE: &str = "usage: skep-oci [--root DIR] [--log FILE] [--log-format text|json] \
                     create|start|state|kill|delete|run ID";

fn refused(option: &str) -> crate::Error {
    format!("{option} is not implemented yet; leave it out").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments> {
        let words = std::iter::once("skep-oci").chain(line.split_whitespace());
        parse(words.map(OsString::from))
    }

    #[test]
    fn as_conmon_writes_it() {
        let line =
            "--systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p c1";
        let arguments = parsed(line).unwrap();
        let new = New { bundle: "/b".into(), pid_file: Some("/p".into()) };
        assert_eq!(arguments.command, Command::Create { id: "c1".into(), new });
        let log = Log { path: Some("/l".into()), format: Format::Json };
        assert_eq!(arguments.global, Global { root: "/run/skep-oci".into(), log });
    }

    #[test]
    fn options_may_follow() {
        let command = |line| parsed(line).unwrap().command;
        let kill =
            |signal: &str, all| Command::Kill { id: "c1".into(), signal: signal.into(), all };
        assert_eq!(command("kill --all c1 9"), kill("9", true));
        assert_eq!(command("--root /r kill c1 KILL -a"), kill("KILL", true));
        assert_eq!(command("kill c1"), kill("SIGTERM", false));
        assert_eq!(command("delete c1 --force"), Command::Delete { id: "c1".into(), force: true });
        assert_eq!(command("--version"), Command::Version);
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let error = |line| parsed(line).unwrap_err().to_string();
        let text = "--no-pivot is not implemented yet; leave it out";
        assert_eq!(error("create --no-pivot c1"), text);
        assert_eq!(error("run --preserve-fds 2 c1").split(' ').next(), Some("--preserve-fds"));
        assert!(parsed("run --preserve-fds 0 c1").is_ok());
        assert_eq!(error("start"), "start needs a container's name");
        assert_eq!(error("state c1 c2"), "unexpected argument \"c2\"");
        assert_eq!(error("--log-format xml state c1"), "unknown log format \"xml\"");
    }
}
