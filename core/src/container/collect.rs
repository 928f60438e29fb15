//! Feeds and reads a container's pipes at once, without threads.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::child::Child;
use super::command::Output;
use super::stdio::ChildStdin;
use crate::{Error, ErrorKind, Result};

/// How much is read or written at a time.
const CHUNK: usize = 64 * 1024;

/// Chunks that one [`Collector::advance`] moves through each pipe at most, for an event loop to get
/// its turn: 1 MiB, as much as a pipe can be made to hold without privilege.
const CHUNKS: usize = 16;

/// A running container whose input is being written and whose output is being read, for a program
/// that has an event loop: [`Command::output`](super::Command::output) in steps.
///
/// Its file descriptor is readable whenever [`advance`](Self::advance) has something to do. Dropping
/// it kills the container, as dropping a [`Child`] does.
///
/// ```no_run
/// use skep::{Engine, Root};
///
/// let engine = Engine::open_default()?;
/// let mut first = engine.command(Root::host()).args(["echo", "1"]).collect()?;
/// let mut second = engine.command(Root::host()).args(["echo", "2"]).collect()?;
/// let mut outputs = [None, None];
/// while outputs.iter().any(Option::is_none) {
///     // Here an event loop would wait for both file descriptors.
///     for (output, collector) in outputs.iter_mut().zip([&mut first, &mut second]) {
///         if output.is_none() {
///             *output = collector.advance()?;
///         }
///     }
/// }
/// # Ok::<(), skep::Error>(())
/// ```
pub struct Collector {
    child: Child,
    watched: Watched,
    input: Feed,
    sinks: [Sink; 2],
    taken: bool,
}

impl Collector {
    /// `watched` is made before the container, so that want of descriptors is found first.
    pub(super) fn new(
        mut child: Child,
        watched: Watched,
        input: Option<Arc<Vec<u8>>>,
    ) -> Result<Collector> {
        let input = Feed { pipe: child.stdin.take(), bytes: input.unwrap_or_default(), done: 0 };
        let sinks = [Sink::new(child.stdout.take()), Sink::new(child.stderr.take())];
        watched.add(child.exit_fd()?, Event::Ended).map_err(failed)?;
        if let Some(pipe) = &input.pipe {
            watched.add_pipe(pipe, Event::Input)?;
        }
        for (sink, event) in sinks.iter().zip(SINKS) {
            if let Some(pipe) = &sink.pipe {
                watched.add_pipe(pipe, event)?;
            }
        }
        Ok(Collector { child, watched, input, sinks, taken: false })
    }

    /// The container, to be signalled and measured. Its end is better found by
    /// [`advance`](Self::advance): a wait for it here would leave its pipes full.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Does what can be done without waiting: at most 1 MiB through each pipe. When the container
    /// has ended, what it said and how it ended.
    ///
    /// The end is that of the container, not end of file: a forked copy of the host may hold the
    /// other end of a pipe for as long as it likes.
    ///
    /// # Errors
    /// As [`Child::wait`]; `InvalidState` once the output has been given.
    pub fn advance(&mut self) -> Result<Option<Output>> {
        self.step(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Waits for the end, and gives what the container has said.
    ///
    /// # Errors
    /// As [`advance`](Self::advance).
    pub fn wait(mut self) -> Result<Output> {
        loop {
            if let Some(output) = self.step(None)? {
                return Ok(output);
            }
        }
    }

    fn step(&mut self, timeout: Option<&Timespec>) -> Result<Option<Output>> {
        self.child.check_host("collect the output of")?;
        if self.taken {
            let subject = format!("container {}", self.child.id());
            return Err(Error::new(ErrorKind::InvalidState, "collect the output of", subject)
                .cause("it has been given"));
        }
        let ready = self.watched.wait(timeout).map_err(failed)?;
        if ready.has(Event::Input) {
            self.input.write(&self.watched).map_err(read_failed)?;
        }
        let ended = ready.has(Event::Ended);
        for (sink, event) in self.sinks.iter_mut().zip(SINKS) {
            if ended || ready.has(event) {
                // At the end nobody is left to write; but a pipe's end can have been sent away.
                let chunks = if ended { 4 * CHUNKS } else { CHUNKS };
                sink.read(&self.watched, chunks).map_err(read_failed)?;
            }
        }
        if !ended {
            return Ok(None);
        }
        let status = self.child.wait()?;
        self.taken = true;
        let [stdout, stderr] = self.sinks.each_mut().map(|sink| std::mem::take(&mut sink.bytes));
        Ok(Some(Output { status, stdout, stderr }))
    }
}

impl AsFd for Collector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watched.0.as_fd()
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("child", &self.child).finish_non_exhaustive()
    }
}

fn failed(errno: Errno) -> Error {
    read_failed(errno.into())
}

fn read_failed(error: io::Error) -> Error {
    Error::os("talk to", "a container", error)
}

/// What a [`Watched`] tells of.
#[derive(Clone, Copy)]
enum Event {
    Ended,
    Input,
    Stdout,
    Stderr,
}

const SINKS: [Event; 2] = [Event::Stdout, Event::Stderr];

/// The events that have happened, a bit each.
#[derive(Clone, Copy)]
struct Ready(u32);

impl Ready {
    fn has(self, event: Event) -> bool {
        self.0 & 1 << event as u32 != 0
    }
}

/// An epoll instance, which is itself pollable: one descriptor for four.
#[derive(Debug)]
pub(super) struct Watched(OwnedFd);

impl Watched {
    pub(super) fn new() -> Result<Watched> {
        Ok(Watched(epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?))
    }

    fn add(&self, fd: impl AsFd, event: Event) -> Result<(), Errno> {
        let flags = match event {
            Event::Input => epoll::EventFlags::OUT,
            _ => epoll::EventFlags::IN,
        };
        epoll::add(&self.0, fd, epoll::EventData::new_u64(event as u64), flags)
    }

    fn add_pipe(&self, pipe: impl AsFd, event: Event) -> Result<()> {
        rustix::io::ioctl_fionbio(&pipe, true).map_err(failed)?;
        self.add(pipe, event).map_err(failed)
    }

    /// Closing alone would not do: as long as a forked copy of the host has the pipe too, epoll
    /// would go on telling of it.
    fn close(&self, pipe: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, pipe)?)
    }

    /// Waits until something has happened.
    fn wait(&self, timeout: Option<&Timespec>) -> Result<Ready, Errno> {
        let mut events = Vec::with_capacity(4);
        while let Err(errno) = epoll::wait(&self.0, spare_capacity(&mut events), timeout) {
            if errno != Errno::INTR {
                return Err(errno);
            }
        }
        let bits = events.iter().map(|event: &epoll::Event| 1 << event.data.u64());
        Ok(Ready(bits.fold(0, |all, bit: u32| all | bit)))
    }
}

/// What is still to be written; the pipe is closed when all of it is.
struct Feed {
    pipe: Option<ChildStdin>,
    bytes: Arc<Vec<u8>>,
    done: usize,
}

impl Feed {
    fn write(&mut self, watched: &Watched) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        for _ in 0..CHUNKS {
            let left = &self.bytes[self.done..];
            if left.is_empty() {
                break;
            }
            match pipe.write(&left[..left.len().min(CHUNK)]) {
                Ok(written) => self.done += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It does not want to read all of it, which is its right.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.done = self.bytes.len();
                }
                Err(error) => return Err(error),
            }
        }
        if self.done == self.bytes.len() {
            watched.close(&*pipe)?;
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
    fn new(pipe: Option<impl Into<OwnedFd>>) -> Sink {
        Sink { pipe: pipe.map(|pipe| pipe.into().into()), bytes: Vec::new() }
    }

    /// Reads what is there, in at most `chunks`; closes the pipe at its end.
    fn read(&mut self, watched: &Watched, chunks: usize) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        for _ in 0..chunks {
            let len = self.bytes.len();
            self.bytes.resize(len + CHUNK, 0);
            let result = pipe.read(&mut self.bytes[len..]);
            self.bytes.truncate(len + *result.as_ref().unwrap_or(&0));
            match result {
                Ok(0) => {
                    watched.close(&*pipe)?;
                    self.pipe = None;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
