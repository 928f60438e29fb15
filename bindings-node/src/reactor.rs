//! The one thread that waits, for all engines and workers of the process, until containers have
//! said something or ended.
//!
//! It only waits and moves bytes. Taking a container apart may take a while: as long as there are
//! others, the [pool] does it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
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

enum Order {
    Watch(Arc<Link>, Box<dyn Task>),
    Kill(u64),
}

struct Reactor {
    epoll: OwnedFd,
    /// An eventfd: readable when there are orders.
    wake: OwnedFd,
    orders: Mutex<Vec<Order>>,
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

/// Waits for `task`, whose container has `link`.
pub(crate) fn watch(link: Arc<Link>, task: Box<dyn Task>) {
    order(Order::Watch(link, task));
}

/// Kills the container of that token, if it is waited for.
pub(crate) fn kill(token: u64) {
    order(Order::Kill(token));
}

/// Without a reactor no container has been started.
fn order(order: Order) {
    if let Some(reactor) = REACTOR.get() {
        reactor.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        // Full only after 2^64 wakings that went unheard.
        let _ = rustix::io::write(&reactor.wake, &1u64.to_ne_bytes());
    }
}

/// What an event is about: a token, and whether it is the container's end or its pipes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Source {
    token: u64,
    end: bool,
}

/// The reactor's own.
const WAKE: Source = Source { token: 0, end: false };

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
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &wake, WAKE.data(), EventFlags::IN)?;
        Ok(Reactor { epoll, wake, orders: Mutex::default() })
    }

    fn work(&self) {
        let mut tasks = HashMap::new();
        loop {
            let sources = self.wait();
            // Ends first: a container that has ended is the pool's, with what is left in its pipes.
            for source in sources.iter().filter(|source| source.end) {
                self.finish(&mut tasks, source.token);
            }
            for source in sources.iter().filter(|source| !source.end && **source != WAKE) {
                let over = |task: &mut Box<dyn Task>| task.advance();
                if tasks.get_mut(&source.token).is_some_and(over) {
                    self.finish(&mut tasks, source.token);
                }
            }
            if sources.contains(&WAKE) {
                self.obey(&mut tasks);
            }
        }
    }

    fn wait(&self) -> Vec<Source> {
        let mut events = Vec::with_capacity(64);
        // Interrupted at worst, and then there are none.
        let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
        events.iter().map(Source::of).collect()
    }

    fn obey(&self, tasks: &mut HashMap<u64, Box<dyn Task>>) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        let orders =
            std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        for order in orders {
            match order {
                Order::Watch(link, task) => {
                    if let Err(failure) = self.add(link.token, &*task) {
                        self.remove(&*task);
                        let _ = pool::submit(move || task.fail(failure));
                        continue;
                    }
                    if link.killed() {
                        kill_now(&*task);
                    }
                    tasks.insert(link.token, task);
                }
                Order::Kill(token) => {
                    if let Some(task) = tasks.get(&token) {
                        kill_now(&**task);
                    }
                }
            }
        }
    }

    fn add(&self, token: u64, task: &dyn Task) -> Result<(), Failure> {
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

    fn finish(&self, tasks: &mut HashMap<u64, Box<dyn Task>>, token: u64) {
        if let Some(task) = tasks.remove(&token) {
            self.remove(&*task);
            if tasks.is_empty() {
                // Nobody else would wait for it, and to wake another thread costs more than most
                // ends do.
                task.finish();
            } else {
                // There is a thread: that which started the container.
                let _ = pool::submit(move || task.finish());
            }
        }
    }
}

/// There is nobody to tell of a failure; the container's end is waited for as before.
fn kill_now(task: &dyn Task) {
    let _ = task.child().kill();
}
