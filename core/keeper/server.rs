//! The keeper's loop: starts containers, watches them, ends with its host.

use core::mem::size_of;

use crate::child;
use crate::interpreter::Failure;
use crate::protocol::{
    ABANDONED, ATTACH, CHANNELS, CONTROL, Channels, DISCARD, Exit, Hello, INTO_CGROUP, MAGIC, ONE_SHOT,
    OP_CLONE, PARK, Report, Signal, Start, VERSION,
};
use crate::sys::{self, Event, Fds, Result, Waited, EAGAIN, EINVAL, EMFILE, SIGKILL};

/// As many as the kernel's default pid_max allows processes in one pid namespace.
const CONTAINERS: usize = 32_768;

/// `CLONE_NEWNET`.
pub const NEWNET: u64 = 0x4000_0000;

/// Tags of events. A container has its index times two, and one more for its pidfd.
const ON_CONTROL: u64 = u64::MAX;
const ON_HOST: u64 = u64::MAX - 1;
const ON_SIGNAL: u64 = u64::MAX - 2;

/// One container. All zero is a free place, so that the table costs no page until used.
#[derive(Clone, Copy)]
struct Container {
    /// 0 for a free place, [`ENDED`] for one whose end nobody has been told yet.
    pid: i32,
    pidfd: i32,
    /// 0 where the library has closed its end.
    reply: i32,
    timed_out: bool,
    /// The library has closed its end, or is about to, and comes back.
    parked: bool,
    /// In milliseconds of the monotonic clock; 0 for none.
    deadline: u64,
    token: u64,
    /// How it has [`ENDED`].
    exit: Exit,
}

const ENDED: i32 = -1;

const NO_EXIT: Exit =
    Exit { wait_status: 0, timed_out: 0, user_us: 0, system_us: 0, max_rss_kib: 0 };

const FREE: Container = Container {
    pid: 0,
    pidfd: 0,
    reply: 0,
    timed_out: false,
    parked: false,
    deadline: 0,
    token: 0,
    exit: NO_EXIT,
};

/// What comes on a reply channel.
enum Message {
    Signal(i32),
    End,
}

/// This side's ends of the channels for a start to come.
#[derive(Clone, Copy)]
struct Ends {
    status: i32,
    reply: i32,
}

/// When the next network namespace is to be made. Not at once after a start: its process would wait
/// for the processor meanwhile (measured: an eighth of a start).
#[derive(Clone, Copy, PartialEq)]
enum NextNetwork {
    /// There is one, or nobody has wanted any. Zero, as all of the keeper's static is.
    NotWanted,
    /// When the keeper has been idle for a moment.
    AfterStart,
    /// A container has ended: when there is nothing else to do.
    Now,
}

const LONGER_THAN_A_START_MS: i32 = 10;

/// Everything the keeper knows.
pub struct Keeper {
    epoll: i32,
    /// Readable when a child, or a thread that made the keeper its tracer, has changed.
    signals: i32,
    /// What went wrong before the first start; 0 for nothing.
    unfit: i32,
    hello: Hello,
    /// The directories of [`Hello::sweep`].
    sweep: Fds,
    channels: [Ends; CHANNELS],
    /// The keeper stands in a new network namespace that no container has: the next one inherits
    /// it. Made while nothing else is to be done, because it is the dearest part of a start.
    fresh_network: bool,
    next_network: NextNetwork,
    /// Places from here on have never been used.
    used: usize,
    containers: [Container; CONTAINERS],
}

static mut KEEPER: Keeper = Keeper {
    epoll: 0,
    signals: 0,
    unfit: 0,
    hello: Hello { magic: 0, version: 0, sweep: 0, owner: [0; 52] },
    sweep: Fds::none(),
    channels: [Ends { status: 0, reply: 0 }; CHANNELS],
    fresh_network: false,
    next_network: NextNetwork::NotWanted,
    used: 0,
    containers: [FREE; CONTAINERS],
};

/// Takes the host's [`Hello`], then serves until the host is gone. With an `unfit` errno it
/// answers every start with that, so that the library can say why.
pub fn serve(unfit: i32) -> ! {
    // SAFETY: called once, by the only thread of this process.
    let keeper = unsafe { &mut *(&raw mut KEEPER) };
    keeper.unfit = unfit;
    match keeper.greet() {
        Ok(()) => keeper.run(),
        Err(_) => sys::exit(1),
    }
}

impl Keeper {
    fn greet(&mut self) -> Result<()> {
        self.epoll = sys::epoll_create()?;
        sys::epoll_add(self.epoll, CONTROL, ON_CONTROL)?;
        sys::epoll_wait(self.epoll, &mut [Event { events: 0, data: 0 }], -1);
        let mut message = [0u8; size_of::<Hello>()];
        let received = sys::receive(CONTROL, &mut message, &mut self.sweep)?;
        // SAFETY: Hello is plain integers, valid for every bit pattern.
        self.hello = unsafe { message.as_ptr().cast::<Hello>().read_unaligned() };
        let complete = received == size_of::<Hello>() && self.sweep.len >= 2;
        if !complete || self.hello.magic != MAGIC || self.hello.version != VERSION {
            return Err(EINVAL);
        }
        // The second one is the lock that says this keeper lives: held open, never used.
        sys::epoll_add(self.epoll, self.sweep.list[0], ON_HOST)?;
        self.signals = sys::child_signals()?;
        sys::epoll_add(self.epoll, self.signals, ON_SIGNAL)?;
        (0..CHANNELS).try_for_each(|index| self.offer_channels(index))
    }

    /// Makes a pair of channels and sends the library its ends.
    fn offer_channels(&mut self, index: usize) -> Result<()> {
        let status = sys::socket_pair()?;
        let reply = sys::socket_pair()?;
        let message = Channels { index: index as u32 };
        let sent = sys::send_fds(CONTROL, bytes_of(&message), [status[0], reply[0]]);
        sys::close(status[0]);
        sys::close(reply[0]);
        self.channels[index] = Ends { status: status[1], reply: reply[1] };
        sent
    }

    fn run(&mut self) -> ! {
        let mut events = [Event { events: 0, data: 0 }; 64];
        let mut more = false;
        loop {
            let ready = self.next_events(&mut events, more);
            // Exits before hang-ups before starts: a container that ends in the same moment as its
            // deadline passes has ended by itself.
            let mut changed = more;
            for event in events.iter().take(ready) {
                match event.data {
                    ON_SIGNAL => changed = true,
                    ON_HOST => self.end(),
                    ON_CONTROL => self.on_control(),
                    tag => self.on_container(tag as usize / 2, tag % 2 == 1),
                }
            }
            // Not before: an event of this round may be of a container that this would reap.
            more = changed && self.take_changes();
            self.kill_overdue();
        }
    }

    /// Waits for events; not if there is `more` to do already. Time left over goes into a network
    /// namespace for the next start.
    fn next_events(&mut self, events: &mut [Event], more: bool) -> usize {
        if more {
            return sys::epoll_wait(self.epoll, events, 0);
        }
        let left = self.next_timeout();
        let patience = match self.next_network {
            NextNetwork::NotWanted => return sys::epoll_wait(self.epoll, events, left),
            NextNetwork::AfterStart if left < 0 || left > LONGER_THAN_A_START_MS => {
                LONGER_THAN_A_START_MS
            }
            NextNetwork::AfterStart => return sys::epoll_wait(self.epoll, events, left),
            NextNetwork::Now => 0,
        };
        let ready = sys::epoll_wait(self.epoll, events, patience);
        if ready == 0 {
            // Where it fails, starts try it themselves and say why.
            self.fresh_network = sys::new_network().is_ok();
            self.next_network = NextNetwork::NotWanted;
        }
        ready
    }

    /// A container's init may make its parent, the keeper, its tracer (PTRACE_TRACEME). Its dead
    /// threads then wait for their tracer, and it for them: it would survive SIGKILL as a zombie
    /// that nobody is told of. So they are taken, and what has stopped is let go.
    ///
    /// Not too many at once, so that one container cannot keep the keeper from the others; says
    /// whether there may be more.
    fn take_changes(&mut self) -> bool {
        sys::take_signal(self.signals);
        for _ in 0..64 {
            let Some(waited) = sys::next_change() else { return false };
            let place = self.containers.iter().take(self.used).position(|c| c.pid == waited.pid);
            match place {
                _ if waited.status & 0xff == 0x7f => sys::detach(waited.pid, waited.status),
                Some(index) => self.ended(index, &waited),
                None => {}
            }
        }
        true
    }

    /// Milliseconds to the nearest deadline, -1 for none.
    fn next_timeout(&self) -> i32 {
        let deadlines = self.live().map(|c| c.deadline).filter(|&d| d != 0);
        match deadlines.min() {
            None => -1,
            Some(deadline) => {
                let left = deadline.saturating_sub(sys::now_ms());
                if left > 1_000_000_000 { 1_000_000_000 } else { left as i32 }
            }
        }
    }

    fn live(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().take(self.used).filter(|c| c.pid > 0)
    }

    fn kill_overdue(&mut self) {
        if self.live().all(|c| c.deadline == 0) {
            return;
        }
        let now = sys::now_ms();
        for container in self.containers.iter_mut().take(self.used) {
            if container.pid > 0 && container.deadline != 0 && container.deadline <= now {
                container.deadline = 0;
                container.timed_out = true;
                sys::kill(container.pidfd, SIGKILL);
            }
        }
    }

    fn on_control(&mut self) {
        let mut message = [0u8; size_of::<Start>()];
        let mut fds = Fds::none();
        match sys::receive(CONTROL, &mut message, &mut fds) {
            Err(EAGAIN) => {}
            Ok(0) | Err(_) => self.end(),
            Ok(received) => {
                // SAFETY: Start is plain integers, valid for every bit pattern.
                let start = unsafe { message.as_ptr().cast::<Start>().read_unaligned() };
                let known = (start.channels as usize) < CHANNELS;
                if received == size_of::<Start>() && known {
                    self.start(&start, &mut fds);
                } else {
                    fds.close_all();
                }
            }
        }
    }

    /// Clones the container's first process. Whatever fails is reported on the status channel,
    /// which the library reads until its end.
    fn start(&mut self, start: &Start, fds: &mut Fds) {
        if start.flags & DISCARD != 0 {
            return self.discard(start.token);
        }
        let ends = self.channels[start.channels as usize];
        let outcome = match start.flags {
            flags if flags & ABANDONED != 0 => Err(0),
            flags if flags & ATTACH != 0 => self.attach(start.token, ends.reply),
            _ => self.try_start(start, fds.as_slice(), fds.truncated, ends),
        };
        if let Err(errno) = outcome {
            report(ends.status, Failure { op: OP_CLONE, errno }, 0);
            sys::close(ends.reply);
        }
        sys::close(ends.status);
        fds.close_all();
        if outcome.is_ok() && start.flags & ONE_SHOT != 0 {
            sys::exit(0);
        }
        if self.offer_channels(start.channels as usize).is_err() {
            // Without channels no start can be answered: better to end than to hang the host.
            self.end();
        }
    }

    fn try_start(&mut self, start: &Start, fds: &[i32], truncated: bool, ends: Ends) -> Result<()> {
        if self.unfit != 0 {
            return Err(self.unfit);
        }
        if truncated {
            return Err(EMFILE);
        }
        let into_cgroup = start.flags & INTO_CGROUP != 0;
        let first_slot = 1 + usize::from(into_cgroup);
        if fds.len() < first_slot {
            return Err(EINVAL);
        }
        let place = self.containers.iter().take(self.used).position(|c| c.pid == 0);
        let place = place.unwrap_or(self.used);
        if place >= CONTAINERS {
            return Err(EAGAIN);
        }
        let cgroup = into_cgroup.then(|| fds[1]);
        let (pid, pidfd) = sys::clone(start.clone_flags & !NEWNET, cgroup)?;
        if pid == 0 {
            child::run(start, fds, first_slot, ends.status, self.fresh_network);
        }
        if start.clone_flags & NEWNET != 0 {
            self.fresh_network = false;
            self.next_network = NextNetwork::AfterStart;
        }
        if start.flags & ONE_SHOT != 0 {
            report(ends.reply, Failure { op: OP_CLONE, errno: 0 }, pid);
            return Ok(());
        }
        let deadline = match start.timeout_ms {
            0 => 0,
            timeout => sys::now_ms().saturating_add(timeout).saturating_add(1),
        };
        let (reply, token) = (ends.reply, start.token);
        self.watch(place, Container { pid, pidfd, reply, deadline, token, ..FREE })
    }

    /// The place of a parked container. That it is parked may still have to be read: it was said on
    /// another channel than what is being answered.
    fn find_parked(&mut self, token: u64) -> Option<usize> {
        let found = |c: &Container| c.pid != 0 && c.token == token;
        let place = self.containers.iter().take(self.used).position(found)?;
        if !self.containers[place].parked {
            self.on_container(place, false);
        }
        self.containers[place].parked.then_some(place)
    }

    /// Gives a parked container a reply channel again, and says there how it has ended if it has.
    fn attach(&mut self, token: u64, reply: i32) -> Result<()> {
        let place = self.find_parked(token).ok_or(EINVAL)?;
        // For the channels that replace these: without any the keeper would have to end.
        sys::check_room()?;
        let container = self.containers[place];
        if container.pid == ENDED {
            sys::send(reply, bytes_of(&container.exit));
            sys::close(reply);
            self.containers[place] = FREE;
            return Ok(());
        }
        sys::epoll_add(self.epoll, reply, place as u64 * 2)?;
        self.close_reply(place);
        self.containers[place].reply = reply;
        self.containers[place].parked = false;
        Ok(())
    }

    /// Kills a parked container, whose end nobody is going to ask for.
    fn discard(&mut self, token: u64) {
        let Some(place) = self.find_parked(token) else { return };
        let container = &mut self.containers[place];
        container.parked = false;
        if container.pid == ENDED {
            *container = FREE;
        } else {
            sys::kill(container.pidfd, SIGKILL);
        }
    }

    fn close_reply(&mut self, place: usize) {
        let reply = self.containers[place].reply;
        if reply != 0 {
            sys::epoll_remove(self.epoll, reply);
            sys::close(reply);
            self.containers[place].reply = 0;
        }
    }

    /// Enters a container into the table. Not to be watched is not to be run.
    fn watch(&mut self, place: usize, container: Container) -> Result<()> {
        let tag = place as u64 * 2;
        let watched = sys::epoll_add(self.epoll, container.reply, tag)
            .and_then(|()| sys::epoll_add(self.epoll, container.pidfd, tag + 1));
        if let Err(errno) = watched {
            sys::kill(container.pidfd, SIGKILL);
            sys::wait(container.pid);
            sys::epoll_remove(self.epoll, container.reply);
            sys::close(container.pidfd);
            return Err(errno);
        }
        self.containers[place] = container;
        self.used = if place == self.used { place + 1 } else { self.used };
        Ok(())
    }

    fn on_container(&mut self, index: usize, ended: bool) {
        let Some(&container) = self.containers.get(index) else { return };
        // An event of a container that ended earlier in this round.
        if container.pid == 0 {
            return;
        }
        if ended {
            self.reap(index);
            return;
        }
        while let Some(message) = self.next_message(index) {
            match message {
                Message::Signal(PARK) => self.containers[index].parked = true,
                Message::Signal(signal) => sys::kill(container.pidfd, signal),
                // The library has parked the container, or dropped it.
                Message::End => {
                    if !self.containers[index].parked {
                        sys::kill(container.pidfd, SIGKILL);
                    }
                    self.close_reply(index);
                }
            }
        }
    }

    /// What the library has said about a container, if anything.
    fn next_message(&self, index: usize) -> Option<Message> {
        let reply = self.containers[index].reply;
        if reply == 0 {
            return None;
        }
        let mut message = [0u8; size_of::<Signal>()];
        match sys::receive_bytes(reply, &mut message) {
            Err(EAGAIN) => None,
            Ok(received) if received == size_of::<Signal>() => {
                Some(Message::Signal(i32::from_ne_bytes(message)))
            }
            _ => Some(Message::End),
        }
    }

    fn reap(&mut self, index: usize) {
        if let Some(waited) = sys::wait(self.containers[index].pid) {
            self.ended(index, &waited);
        }
    }

    /// Reports a container's end and frees its place.
    fn ended(&mut self, index: usize, waited: &Waited) {
        let container = self.containers[index];
        if self.next_network == NextNetwork::AfterStart {
            self.next_network = NextNetwork::Now;
        }
        // Removed by name: a child that has not yet reached its exec may hold a copy of the file
        // descriptor, and closing ours alone would leave the event.
        sys::epoll_remove(self.epoll, container.pidfd);
        sys::close(container.pidfd);
        let exit = Exit {
            wait_status: waited.status,
            timed_out: u32::from(container.timed_out),
            user_us: waited.user_us,
            system_us: waited.system_us,
            max_rss_kib: waited.max_rss_kib,
        };
        if self.is_parked_at_last(index) {
            self.close_reply(index);
            self.containers[index] =
                Container { pid: ENDED, parked: true, token: container.token, exit, ..FREE };
            return;
        }
        if container.reply != 0 {
            sys::send(container.reply, bytes_of(&exit));
            self.close_reply(index);
        }
        self.containers[index] = FREE;
    }

    /// Whether a container is parked, now that nothing more can be heard of it: what the library
    /// sends from here on fails there, so that it finds the exit on the channel instead.
    fn is_parked_at_last(&mut self, index: usize) -> bool {
        let reply = self.containers[index].reply;
        if reply != 0 {
            sys::refuse_more(reply);
            // A signal left unread would make the library's next receive fail.
            while let Some(Message::Signal(signal)) = self.next_message(index) {
                self.containers[index].parked |= signal == PARK;
            }
        }
        self.containers[index].parked
    }

    /// The host is gone: ends every container, removes their control groups, and exits.
    fn end(&mut self) -> ! {
        for container in self.live() {
            sys::kill(container.pidfd, SIGKILL);
        }
        // Any, for the sake of traced threads.
        while sys::wait(-1).is_some() {}
        let owner = &self.hello.owner;
        for &dir in self.sweep.as_slice().iter().skip(2) {
            crate::sweep::remove(dir, owner);
        }
        sys::exit(0)
    }
}

pub fn report(status: i32, failure: Failure, pid: i32) {
    let report = Report { op: failure.op, errno: failure.errno, pid };
    sys::send(status, bytes_of(&report));
}

/// The bytes of a message.
fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: used with the protocol's messages only, which have no padding.
    unsafe { core::slice::from_raw_parts((value as *const T).cast(), size_of::<T>()) }
}
