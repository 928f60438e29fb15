//! Feeds and reads a container's pipes at once, without threads.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::child::Child;
use super::command::Output;
use super::stdio::ChildStdin;
use crate::{Error, Result};

const CHUNK: usize = 64 * 1024;

/// Writes `input` to the container and reads what it says until it has ended.
///
/// The end is that of the container, not end of file: a forked copy of the host may hold the other
/// end of a pipe for as long as it likes.
pub(super) fn output(mut child: Child, input: &[u8]) -> Result<Output> {
    let failed = |error: io::Error| Error::os("talk to", "a container", error);
    let mut input = Feed { pipe: child.stdin.take(), left: input };
    input.pipe.iter().try_for_each(non_blocking).map_err(failed)?;
    let mut sinks = [Sink::new(child.stdout.take()), Sink::new(child.stderr.take())];
    for pipe in sinks.iter().filter_map(|sink| sink.pipe.as_ref()) {
        non_blocking(pipe).map_err(failed)?;
    }
    let mut ended = false;
    while !ended {
        let end = child.exit_fd()?;
        let ready = wait(end, &input, &sinks).map_err(|errno| failed(errno.into()))?;
        ended = ready.ended;
        if ready.input {
            input.write().map_err(failed)?;
        }
        for (sink, ready) in sinks.iter_mut().zip(ready.sinks) {
            if ready || ended {
                sink.read().map_err(failed)?;
            }
        }
    }
    let status = child.wait()?;
    let [stdout, stderr] = sinks.map(|sink| sink.bytes);
    Ok(Output { status, stdout, stderr })
}

struct Ready {
    ended: bool,
    input: bool,
    sinks: [bool; 2],
}

/// Waits for the container's end, or for a pipe to be ready.
fn wait(end: BorrowedFd<'_>, input: &Feed<'_>, sinks: &[Sink; 2]) -> Result<Ready, Errno> {
    let writes = input.pipe.as_ref().map(AsFd::as_fd);
    let reads = sinks.each_ref().map(|sink| sink.pipe.as_ref().map(AsFd::as_fd));
    let mut fds = [
        PollFd::from_borrowed_fd(end, PollFlags::IN),
        poll_for(writes, PollFlags::OUT, end),
        poll_for(reads[0], PollFlags::IN, end),
        poll_for(reads[1], PollFlags::IN, end),
    ];
    loop {
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            result => {
                result?;
                break;
            }
        };
    }
    let ready = |index: usize| !fds[index].revents().is_empty();
    Ok(Ready {
        ended: ready(0),
        input: input.pipe.is_some() && ready(1),
        sinks: [sinks[0].pipe.is_some() && ready(2), sinks[1].pipe.is_some() && ready(3)],
    })
}

/// A pipe that is done with is polled for nothing, with `end` in its place.
fn poll_for<'a>(pipe: Option<BorrowedFd<'a>>, flags: PollFlags, end: BorrowedFd<'a>) -> PollFd<'a> {
    match pipe {
        Some(pipe) => PollFd::from_borrowed_fd(pipe, flags),
        None => PollFd::from_borrowed_fd(end, PollFlags::empty()),
    }
}

/// What is still to be written; the pipe is closed when all of it is.
struct Feed<'a> {
    pipe: Option<ChildStdin>,
    left: &'a [u8],
}

impl Feed<'_> {
    fn write(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        if !self.left.is_empty() {
            match pipe.write(&self.left[..self.left.len().min(CHUNK)]) {
                Ok(written) => self.left = &self.left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It does not want to read all of it, which is its right.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.left = &[],
                Err(error) => return Err(error),
            }
        }
        if self.left.is_empty() {
            self.pipe = None;
        }
        Ok(())
    }
}

struct Sink {
    pipe: Option<std::fs::File>,
    bytes: Vec<u8>,
}

impl Sink {
    fn new(pipe: Option<impl Into<std::os::fd::OwnedFd>>) -> Sink {
        Sink { pipe: pipe.map(|pipe| pipe.into().into()), bytes: Vec::new() }
    }

    /// Reads what is there; closes the pipe at its end.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        loop {
            let len = self.bytes.len();
            self.bytes.resize(len + CHUNK, 0);
            let result = pipe.read(&mut self.bytes[len..]);
            self.bytes.truncate(len + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => {
                    self.pipe = None;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn non_blocking(pipe: &impl AsFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(pipe, true).map_err(Into::into)
}
