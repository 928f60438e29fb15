//! Whole messages with file descriptors over `SOCK_SEQPACKET` socket pairs.
#![allow(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// Integers without padding: their bytes are their message.
///
/// # Safety
/// `repr(C)`, no padding, and valid for every bit pattern.
pub(crate) unsafe trait Message: Copy {}

// SAFETY: all of these are repr(C) with fields that leave no gap, integers only.
unsafe impl Message for crate::sys::protocol::Hello {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Start {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Channels {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Report {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Exit {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Signal {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Header {}
// SAFETY: as above.
unsafe impl Message for crate::sys::protocol::Call {}

/// The bytes of a message.
pub(crate) fn bytes_of<T: Message>(message: &T) -> &[u8] {
    // SAFETY: a Message has no padding, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(message).cast(), size_of::<T>()) }
}

/// Two connected sockets, close-on-exec.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)
}

/// Room for a control message of as many file descriptors as the kernel takes.
type Control = [MaybeUninit<u64>; ROOM];

const ROOM: usize = 1 + 2 + crate::sys::protocol::MAX_FDS.div_ceil(2);

/// Sends one message, waiting while the socket is full. Never raises SIGPIPE.
pub(crate) fn send<T: Message>(
    socket: impl AsFd,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut room: Control = [const { MaybeUninit::uninit() }; ROOM];
    // SAFETY: MaybeUninit bytes over MaybeUninit words of the same size.
    let room = unsafe {
        std::slice::from_raw_parts_mut(
            room.as_mut_ptr().cast::<MaybeUninit<u8>>(),
            size_of::<Control>(),
        )
    };
    let mut control = SendAncillaryBuffer::new(room);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    let parts = [IoSlice::new(bytes_of(message))];
    loop {
        match rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return result.map(|_| ()),
        }
    }
}

/// Receives one message, waiting for it. `None` at end of file or for a message of another size.
pub(crate) fn receive<T: Message>(socket: impl AsFd) -> Result<Option<T>, Errno> {
    receive_with(socket, RecvFlags::empty())
}

/// As [`receive`], and leaves the message where it is: any number of threads may wait for it.
pub(crate) fn peek<T: Message>(socket: impl AsFd) -> Result<Option<T>, Errno> {
    receive_with(socket, RecvFlags::PEEK)
}

/// As [`peek`]; EAGAIN if there is nothing yet.
pub(crate) fn try_peek<T: Message>(socket: impl AsFd) -> Result<Option<T>, Errno> {
    receive_with(socket, RecvFlags::PEEK | RecvFlags::DONTWAIT)
}

/// Receives one message with its file descriptors, two at most, waiting for it: fewer if they do not
/// fit this process's limit of open files. `None` at end of file or for a message of another size.
pub(crate) fn receive_with_fds<T: Message>(
    socket: impl AsFd,
) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut message = MaybeUninit::<T>::zeroed();
    // SAFETY: zeroed memory of exactly this size.
    let buffer = unsafe {
        std::slice::from_raw_parts_mut(message.as_mut_ptr().cast::<u8>(), size_of::<T>())
    };
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = loop {
        let parts = &mut [IoSliceMut::new(&mut *buffer)];
        match rustix::net::recvmsg(&socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            result => break result?,
        }
    };
    let mut fds = Vec::with_capacity(2);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    // SAFETY: a Message is valid for every bit pattern.
    Ok((received.bytes == size_of::<T>()).then(|| (unsafe { message.assume_init() }, fds)))
}

fn receive_with<T: Message>(socket: impl AsFd, flags: RecvFlags) -> Result<Option<T>, Errno> {
    let mut message = MaybeUninit::<T>::zeroed();
    // SAFETY: zeroed memory of exactly this size.
    let buffer = unsafe {
        std::slice::from_raw_parts_mut(message.as_mut_ptr().cast::<u8>(), size_of::<T>())
    };
    loop {
        match rustix::net::recv(&socket, &mut *buffer, flags) {
            Err(Errno::INTR) => {}
            // The other end was closed with a message of ours unread. This is said once, and before
            // the messages that it has sent, which are still there.
            Err(Errno::CONNRESET) => {}
            Err(errno) => return Err(errno),
            // SAFETY: a Message is valid for every bit pattern.
            Ok((size, _)) if size == size_of::<T>() => {
                // SAFETY: a Message is valid for every bit pattern.
                return Ok(Some(unsafe { message.assume_init() }));
            }
            Ok(_) => return Ok(None),
        }
    }
}
