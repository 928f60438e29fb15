//! The one thread that waits, for all engines and workers of the process, until containers have
//! said something or ended.
//!
//! It only waits and moves bytes. Taking a container apart may take a while: as long as there are
//! others, the [pool] does it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::error::Failure;
use crate::leash::Link;
use crate::pool;

/// A container that is waited for.
pub(crate) trait Task: Send {
    fn child(&self) -> &skep::Child;

    /// Readable when [`advance`](Self::advance) has something to do, if it ever has.
    fn pipes(&self) -> Option<BorrowedFd<'_>>;

    /// Does what can be done without waiting. Whether the task is over.
    fn advance(&mut self) -> bool;

    /// Called when the container has ended or the task is over, on a thread that may take its time.
    fn finish(self: Box<Self>);

    /// Called if the container cannot be waited for.
    fn fail(self: Box<Self>, failure: Failure);
}

struct Reactor {
    epoll: OwnedFd,
    /// By token; but for the one that the thread is at.
    tasks: Mutex<HashMap<u64, Watched>>,
}

struct Watched {
    link: Arc<Link>,
    task: Box<dyn Task>,
}

static REACTOR: OnceLock<Arc<Reactor>> = OnceLock::new();

/// Makes the reactor, if there is none.
pub(crate) fn ready() -> Result<(), Failure> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if REACTOR.get().is_some() {
        return Ok(());
    }
    let failed = |error: io::Error| Failure::scarce("start", "the thread that waits", error);
    let reactor = Arc::new(Reactor::new().map_err(|errno| failed(errno.into()))?);
    let working = Arc::clone(&reactor);
    thread::Builder::new()
        .name("skep-reactor".into())
        .spawn(move || working.work())
        .map_err(failed)?;
    REACTOR.get_or_init(|| reactor);
    Ok(())
}

/// Waits for `task`, whose container has `link`. There is a reactor: the container was started.
pub(crate) fn watch(link: Arc<Link>, task: Box<dyn Task>) {
    if let Some(reactor) = REACTOR.get() {
        reactor.watch(Watched { link, task });
    }
}

/// Kills the container of `token`, if it is waited for.
pub(crate) fn kill(token: u64) {
    let Some(reactor) = REACTOR.get() else { return };
    if let Some(watched) = reactor.lock().get(&token) {
        watched.kill();
    }
}

/// What an event is about: a token, and whether it is the container's end or its pipes.
#[derive(Clone, Copy)]
struct Source {
    token: u64,
    end: bool,
}

impl Source {
    fn data(self) -> EventData {
        EventData::new_u64(self.token << 1 | u64::from(self.end))
    }

    fn of(event: &epoll::Event) -> Source {
        let data = event.data.u64();
        Source { token: data >> 1, end: data & 1 == 1 }
    }
}

impl Reactor {
    fn new() -> Result<Reactor, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Reactor { epoll, tasks: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        // Nothing panics half way through a change of the map.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, watched: Watched) {
        let mut tasks = self.lock();
        // Under the lock, so that its first event finds it in the map.
        match self.add(&watched) {
            Ok(()) => self.keep(&mut tasks, watched),
            Err(failure) => {
                drop(tasks);
                self.remove(&*watched.task);
                watched.task.fail(failure);
            }
        }
    }

    /// Puts it into the map, and kills it if that was asked for while it was not there.
    fn keep(&self, tasks: &mut HashMap<u64, Watched>, watched: Watched) {
        if watched.link.killed() {
            watched.kill();
        }
        tasks.insert(watched.link.token, watched);
    }

    fn work(&self) {
        loop {
            // What a panic leaves undone, epoll tells of again; the promise in the middle of it is
            // rejected by being dropped.
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn()));
        }
    }

    fn turn(&self) {
        let mut events = Vec::with_capacity(64);
        // Interrupted at worst, and then there are none.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
        let (ends, pipes): (Vec<_>, Vec<_>) =
            events.iter().map(Source::of).partition(|source| source.end);
        // Ends first: of a container that has ended, what is left in its pipes is the pool's.
        ends.iter().for_each(|source| self.end(source.token));
        pipes.iter().for_each(|source| self.advance(source.token));
    }

    fn end(&self, token: u64) {
        let ended = self.lock().remove(&token);
        if let Some(watched) = ended {
            self.finish(watched.task);
        }
    }

    fn advance(&self, token: u64) {
        // Not under the lock: others want to start and to kill meanwhile.
        let taken = self.lock().remove(&token);
        let Some(mut watched) = taken else { return };
        if watched.task.advance() {
            self.finish(watched.task);
        } else {
            self.keep(&mut self.lock(), watched);
        }
    }

    fn finish(&self, task: Box<dyn Task>) {
        self.remove(&*task);
        if self.lock().is_empty() {
            // Nobody else would wait for it, and to wake another thread costs more than most ends.
            task.finish();
        } else {
            // There is a thread: that which started the container.
            let _ = pool::SHORT.submit(move || task.finish());
        }
    }

    fn add(&self, watched: &Watched) -> Result<(), Failure> {
        let (token, task) = (watched.link.token, &watched.task);
        let failed = |errno: Errno| Failure::scarce("wait for", "a container", errno);
        let (end, pipes) = (Source { token, end: true }, Source { token, end: false });
        epoll::add(&self.epoll, task.child().exit_fd()?, end.data(), EventFlags::IN)
            .map_err(failed)?;
        if let Some(fd) = task.pipes() {
            epoll::add(&self.epoll, fd, pipes.data(), EventFlags::IN).map_err(failed)?;
        }
        Ok(())
    }

    /// Closing alone would not do, where a forked copy of the process has the descriptors too.
    fn remove(&self, task: &dyn Task) {
        if let Ok(fd) = task.child().exit_fd() {
            let _ = epoll::delete(&self.epoll, fd);
        }
        if let Some(fd) = task.pipes() {
            let _ = epoll::delete(&self.epoll, fd);
        }
    }
}

impl Watched {
    /// There is nobody to tell of a failure; the container's end is waited for as before.
    fn kill(&self) {
        let _ = self.task.child().kill();
    }
}
