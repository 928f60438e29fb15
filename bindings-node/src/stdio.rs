//! What a container's standard streams are connected to.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use napi::Either;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use skep::{Command, Stdio};

/// One stream as JavaScript has it: `"pipe"`, `"ignore"`, `"inherit"`, or a file descriptor. The
/// command's default without.
pub(crate) type Given = Option<Either<String, i32>>;

/// The three streams.
pub(crate) struct Streams([Option<Stdio>; 3]);

impl Streams {
    /// Duplicates what is given as a file descriptor: the caller may close it then.
    pub(crate) fn open(given: [Given; 3]) -> skep::Result<Streams> {
        let [stdin, stdout, stderr] = given;
        Ok(Streams([open(0, stdin)?, open(1, stdout)?, open(2, stderr)?]))
    }

    /// Gives them to `command`.
    pub(crate) fn connect(self, command: &mut Command) {
        let [stdin, stdout, stderr] = self.0;
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        if let Some(stdout) = stdout {
            command.stdout(stdout);
        }
        if let Some(stderr) = stderr {
            command.stderr(stderr);
        }
    }
}

fn open(number: i32, given: Given) -> skep::Result<Option<Stdio>> {
    let stdio = match given {
        None => return Ok(None),
        Some(Either::A(word)) => match word.as_str() {
            "pipe" => Stdio::piped(),
            // Node makes its own streams close-on-exec, which `Stdio::inherit` takes for closed.
            "inherit" => duplicate(number).unwrap_or_else(|_| Stdio::null()),
            _ => Stdio::null(),
        },
        Some(Either::B(fd)) => duplicate(fd).map_err(|error| {
            let subject = format!(
                "{} to file descriptor {fd}",
                ["stdin", "stdout", "stderr"][number as usize]
            );
            skep::Error::invalid_input("connect", subject)
                .cause(error.to_string())
                .fix("give an open one")
        })?,
    };
    Ok(Some(stdio))
}

#[allow(unsafe_code)]
fn duplicate(fd: i32) -> io::Result<Stdio> {
    if fd < 0 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: it is borrowed for this one call, which fails for a number that is not open; -1 is
    // none. Whose it is, is for the caller to know: so it is with each number in JavaScript.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let file = borrowed.try_clone_to_owned()?;
    make_blocking(&file)?;
    Ok(Stdio::file(file))
}

/// Node makes the pipes and sockets that it has as streams non-blocking, `process.stdout` too, and
/// the mode is the container's as well: its writes would fail when the reader is slow. Node's
/// child_process sets it back likewise.
fn make_blocking(file: &OwnedFd) -> io::Result<()> {
    let flags = fcntl_getfl(file)?;
    if flags.contains(OFlags::NONBLOCK) {
        fcntl_setfl(file, flags - OFlags::NONBLOCK)?;
    }
    Ok(())
}
