//! Asks a credential helper: a program that keeps a user's credentials, `docker-credential-NAME`.
//!
//! It is a child of init and no child of the host, which so sees no SIGCHLD of it; where the host is
//! init or a child subreaper, it is the host's, and the host reaps it as it reaps other orphans.
//!
//! Source: <https://github.com/docker/docker-credential-helpers>

use std::ffi::{CString, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde::Deserialize;

use super::credentials::Credentials;
use super::failure::{Failure, Outcome};
use crate::ErrorKind;
use crate::cancel::Cancel;
use crate::sys::{birth, sigpipe};

/// Far more than a name and a token.
const MAX_ANSWER: usize = 256 << 10;

/// What helpers say, in these words, when they have nothing.
const NOTHING: &str = "credentials not found in native keychain";

/// A helper's name for a user that is none: the secret is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// What the helper called `name` has for `server`, the key that docker keeps it under. It is looked
/// for in `path` and has `timeout` to answer.
///
/// # Errors
/// `InvalidData` if the name is no name or the answer no answer, `NotFound` without such a program,
/// `TimedOut`, what starting it says.
pub(super) fn ask(
    name: &str,
    server: &str,
    path: Option<OsString>,
    timeout: Duration,
    cancel: &Cancel,
) -> Outcome<Option<Credentials>> {
    let program = format!("docker-credential-{name}");
    let failed =
        |kind, cause: &str| Failure::new(kind, format!("credential helper {program}: {cause}"));
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(failed(ErrorKind::InvalidData, "it is no program's name"));
    }
    let file = find(&program, path).ok_or_else(|| {
        failed(ErrorKind::NotFound, "it is not in the PATH").fix("install it, or give credentials")
    })?;
    let answer =
        talk(file, &program, server, timeout, cancel).map_err(|error| match error.kind() {
            _ if cancel.is_cancelled() => Failure::cancelled(),
            io::ErrorKind::TimedOut => failed(ErrorKind::TimedOut, "it does not answer in time"),
            _ => failed(ErrorKind::Io, &error.to_string()),
        })?;
    if String::from_utf8_lossy(&answer).trim() == NOTHING {
        return Ok(None);
    }
    // Nothing of it is repeated: it may hold a secret.
    let answer: Answer = serde_json::from_slice(&answer)
        .map_err(|_| failed(ErrorKind::InvalidData, "its answer is malformed or an error"))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credentials::identity_token(answer.secret),
        user => Credentials::password(user, answer.secret),
    }))
}

/// The program in the first directory of `path` that has it. Relative ones are not looked in: they
/// depend on where the host happens to be.
fn find(program: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path?;
    let files = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    let mut files = files.map(|directory| directory.join(program));
    files.find(|file| {
        file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

fn talk(
    file: PathBuf,
    program: &str,
    server: &str,
    timeout: Duration,
    cancel: &Cancel,
) -> io::Result<Vec<u8>> {
    let (their_input, question) = pipe_with(PipeFlags::CLOEXEC)?;
    let (answer, their_output) = pipe_with(PipeFlags::CLOEXEC)?;
    let nowhere = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    let variable = |(key, value): (OsString, OsString)| {
        CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    let environment: Vec<CString> = std::env::vars_os().filter_map(variable).collect();
    let pidfd = birth::ask(
        &CString::new(file.into_os_string().into_vec())?,
        &[&CString::new(program)?, c"get"],
        &environment,
        [their_input.as_fd(), their_output.as_fd(), nowhere.as_fd()],
    )?;
    drop((their_input, their_output));
    let _running = Running(pidfd);
    // Shorter than a pipe's buffer, so that it does not block.
    match sigpipe::write(server.as_bytes(), |bytes| std::fs::File::from(question).write(bytes)) {
        // It may have answered without reading.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    read(&answer, timeout, cancel)
}

/// Reads to the end, within `timeout` in all.
fn read(answer: &OwnedFd, timeout: Duration, cancel: &Cancel) -> io::Result<Vec<u8>> {
    let until = Instant::now() + timeout;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 4096];
    let mut file = std::fs::File::from(answer.try_clone()?);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !cancel.poll(answer, PollFlags::IN, Some(left))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match file.read(&mut buffer)? {
            0 => return Ok(bytes),
            n => bytes.extend_from_slice(&buffer[..n]),
        }
        if bytes.len() > MAX_ANSWER {
            return Err(io::Error::other("its answer is too long"));
        }
    }
}

/// Ends the program, if it has not ended.
struct Running(OwnedFd);

impl Drop for Running {
    fn drop(&mut self) {
        // ESRCH: it has.
        let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with helpers that are shell scripts.
    fn helpers(scripts: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        for (name, script) in scripts {
            let path = directory.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    fn ask_in(directory: &tempfile::TempDir, name: &str) -> Result<Option<Credentials>, ErrorKind> {
        let path = Some(directory.path().as_os_str().to_owned());
        ask(name, "reg:5000", path, Duration::from_secs(30), &Cancel::never())
            .map_err(|failure| failure.kind)
    }

    #[test]
    fn a_helper_is_asked_and_the_host_has_no_child() {
        let directory = helpers(&[
            (
                "all",
                r#"read server || :; /bin/echo "{\"ServerURL\":\"$server\",\"Username\":\"$1\",\"Secret\":\"$server\"}""#,
            ),
            ("token", r#"/bin/echo '{"Username":"<token>","Secret":"s"}'"#),
            ("none", "/bin/echo 'credentials not found in native keychain'; exit 1"),
            ("broken", "/bin/echo no >&2; exit 1"),
            ("long", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
        ]);
        assert_eq!(ask_in(&directory, "all"), Ok(Some(Credentials::password("get", "reg:5000"))));
        assert_eq!(ask_in(&directory, "token"), Ok(Some(Credentials::identity_token("s"))));
        assert_eq!(ask_in(&directory, "none"), Ok(None));
        assert_eq!(ask_in(&directory, "broken"), Err(ErrorKind::InvalidData));
        assert_eq!(ask_in(&directory, "long"), Err(ErrorKind::Io));
        assert_eq!(ask_in(&directory, "missing"), Err(ErrorKind::NotFound));
        assert_eq!(ask_in(&directory, "../all"), Err(ErrorKind::InvalidData));
    }

    #[test]
    fn a_helper_has_default_signals_and_nothing_of_the_hosts() {
        let directory = helpers(&[(
            "state",
            r#"s=$(while read key value; do case $key in SigBlk:|SigIgn:) printf %s "$value";; esac; done </proc/self/status)
               fds=; for n in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$n ] && fds=$fds$n; done
               echo "{\"Username\":\"$s\",\"Secret\":\"$fds\"}""#,
        )]);
        let zeros = "0".repeat(32);
        // Shells have the script they read above 9.
        assert_eq!(ask_in(&directory, "state"), Ok(Some(Credentials::password(zeros, "012"))));
    }

    #[test]
    fn who_does_not_answer_is_ended() {
        let directory = helpers(&[("silent", "exec /bin/sleep 1000")]);
        let path = Some(directory.path().as_os_str().to_owned());
        let failure = ask("silent", "x", path.clone(), Duration::ZERO, &Cancel::new()).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::TimedOut);
        let cancel = Cancel::new();
        cancel.cancel();
        let failure = ask("silent", "x", path, Duration::from_secs(1000), &cancel).unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Cancelled);
    }
}
