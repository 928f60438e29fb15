//! The three standard streams of a container.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::{Errno, FdFlags};
use rustix::pipe::PipeFlags;

use crate::sys::sigpipe;
use crate::{Error, Result};

/// What one of a container's standard streams is connected to.
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Null,
    Inherit,
    Piped,
    File(OwnedFd),
}

impl Stdio {
    /// `/dev/null`: reads nothing, takes everything.
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }

    /// The host's own stream.
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit)
    }

    /// A pipe, whose other end is the [`Child`](super::Child)'s field of that name.
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }

    /// An open file or socket. Each container gets a duplicate; the command keeps the file, so that
    /// the other end of a pipe sees its end only when the command is dropped too.
    pub fn file(file: impl Into<OwnedFd>) -> Stdio {
        Stdio(Kind::File(file.into()))
    }
}

impl From<File> for Stdio {
    fn from(file: File) -> Stdio {
        Stdio::file(file)
    }
}

/// The container's end of a stream, and the host's where it is a pipe.
pub(super) struct Ends {
    pub(super) theirs: OwnedFd,
    pub(super) ours: Option<OwnedFd>,
}

impl Stdio {
    /// Opens both ends of file descriptor `number` of the container.
    pub(super) fn open(&self, number: i32) -> Result<Ends> {
        let failed = |error: io::Error| {
            Error::os("connect", ["stdin", "stdout", "stderr"][number as usize], error)
        };
        let theirs = match &self.0 {
            Kind::File(file) => {
                refuse_directory(file).map_err(failed)?;
                file.try_clone().map_err(failed)?
            }
            Kind::Null if number == 0 => File::open("/dev/null").map_err(failed)?.into(),
            Kind::Null => File::options().write(true).open("/dev/null").map_err(failed)?.into(),
            Kind::Inherit => inherited(number).map_err(failed)?,
            Kind::Piped => {
                let pipe = rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
                let (read, write) = pipe.map_err(|errno| failed(errno.into()))?;
                let (theirs, ours) = if number == 0 { (read, write) } else { (write, read) };
                return Ok(Ends { theirs, ours: Some(ours) });
            }
        };
        Ok(Ends { theirs, ours: None })
    }
}

/// A directory would be a way out of the container.
fn refuse_directory(file: &OwnedFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if kind == FileType::Directory {
        return Err(io::Error::from_raw_os_error(nix::libc::EISDIR));
    }
    Ok(())
}

/// A duplicate of the host's stream; `/dev/null` where the host has closed it, so that no other
/// file of the container takes its number.
///
/// A number that is close-on-exec is as good as closed: in a host without standard streams the next
/// files opened have these numbers, ours among them (directories of control groups, sockets to the
/// keeper), and those are no container's.
fn inherited(number: i32) -> io::Result<OwnedFd> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let stream = match number {
        0 => stdin.as_fd(),
        1 => stdout.as_fd(),
        _ => stderr.as_fd(),
    };
    match rustix::io::fcntl_getfd(stream) {
        Ok(flags) if !flags.contains(FdFlags::CLOEXEC) => stream.try_clone_to_owned(),
        Ok(_) | Err(Errno::BADF) => {
            Ok(File::options().read(true).write(true).open("/dev/null")?.into())
        }
        Err(errno) => Err(errno.into()),
    }
}

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(pub(super) File);

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl From<$name> for OwnedFd {
            fn from(stream: $name) -> OwnedFd {
                stream.0.into()
            }
        }
    };
}

stream! {
    /// The pipe into a container's standard input. Dropping it is end of file there.
    ///
    /// A write after the container has closed its end is an error of kind `BrokenPipe`, and never a
    /// SIGPIPE, whatever the host does with that signal.
    ChildStdin
}
stream! {
    /// The pipe out of a container's standard output.
    ChildStdout
}
stream! {
    /// The pipe out of a container's standard error.
    ChildStderr
}

impl Write for ChildStdin {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sigpipe::write(bytes, |bytes| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for ChildStdout {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Read for ChildStderr {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
