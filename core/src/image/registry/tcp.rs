//! Connections that a [`Cancel`] ends, and not only a registry's silence.
//!
//! In the place of ureq's own TCP, which waits in the kernel for an answer or a timeout: the socket does
//! not block, and is polled together with the eventfd of the cancel of whoever uses it. Connections
//! outlive an operation and serve another, so that it is not theirs: it is the one that the thread is
//! [`under`] while it sends a request or reads an answer. Ureq has no other way to tell them.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use crate::cancel::Cancel;

thread_local! {
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// Does `work`, which may wait for connections, until `cancel` says not to.
pub(super) fn under<T>(cancel: &Cancel, work: impl FnOnce() -> T) -> T {
    /// Puts the former one back, after a panic of `work`, too.
    struct Former(Option<Cancel>);
    impl Drop for Former {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _former = Former(CURRENT.replace(Some(cancel.clone())));
    work()
}

/// Connects, where nobody in the chain before it did.
#[derive(Debug)]
pub(super) struct TcpConnector;

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let stream = connect(details)?;
        stream.set_nodelay(details.config.no_delay())?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Tcp { stream, buffers })))
    }
}

/// Tries the addresses one by one; each has its share of the time that is left.
fn connect(details: &ConnectionDetails) -> Result<TcpStream, Error> {
    let begun = Instant::now();
    let mut last = Error::ConnectionFailed;
    for (i, address) in details.addrs.iter().enumerate() {
        let mut share = details.timeout;
        if let Some(all) = details.timeout.not_zero() {
            let left = all.saturating_sub(begun.elapsed());
            let others = u32::try_from(details.addrs.len() - i).unwrap_or(u32::MAX);
            // Half of it, if there are others: the first one is the likeliest.
            share.after = (if others > 1 { left / 2 } else { left }).into();
        }
        match connect_to(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
        check()?;
    }
    Err(last)
}

fn connect_to(address: &SocketAddr, timeout: NextTimeout) -> Result<TcpStream, Error> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let stream = TcpStream::from(
        socket_with(family, SocketType::STREAM, flags, None).map_err(io::Error::from)?,
    );
    match rustix::net::connect(&stream, address) {
        // It goes on by itself after a signal as well.
        Err(Errno::INPROGRESS | Errno::INTR) => {
            wait(&stream, PollFlags::OUT, timeout)?;
            let connected = sockopt::socket_error(&stream).and_then(|result| result);
            connected.map_err(io::Error::from)?;
        }
        connected => connected.map_err(io::Error::from)?,
    }
    Ok(stream)
}

fn check() -> io::Result<()> {
    CURRENT.with_borrow(|cancel| cancel.as_ref().map_or(Ok(()), Cancel::check_io))
}

fn wait(stream: &TcpStream, events: PollFlags, timeout: NextTimeout) -> Result<(), Error> {
    // A clone: nothing is borrowed while it waits.
    let cancel = CURRENT.with_borrow(Clone::clone).unwrap_or_else(Cancel::never);
    match cancel.poll(stream, events, timeout.not_zero().map(|timeout| *timeout))? {
        true => Ok(()),
        false => Err(Error::Timeout(timeout.reason)),
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let mut left = &self.buffers.output()[..amount];
        while !left.is_empty() {
            // A peer that always takes some more must not outlast a cancel.
            check()?;
            match (&self.stream).write(left) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.stream, PollFlags::OUT, timeout)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        loop {
            check()?;
            match (&self.stream).read(self.buffers.input_append_buf()) {
                Ok(n) => {
                    self.buffers.input_appended(n);
                    return Ok(n > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(&self.stream, PollFlags::IN, timeout)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether another request may be sent: nothing was said since the last answer, its end neither.
    fn is_open(&mut self) -> bool {
        self.stream.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
