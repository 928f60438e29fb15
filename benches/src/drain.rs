//! Waiting until the kernel has destroyed the network namespaces that died.
//!
//! It does so later, in one worker, tens of milliseconds a batch; undrained, one contender would pay
//! for another's. How it is noticed is described in `limit/limit.c`, whose `-d` this drives.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `limit -d`.
pub(crate) struct Drain {
    child: Child,
}

impl Drain {
    /// Starts the helper.
    pub(crate) fn start(limit: &Path) -> io::Result<Self> {
        let child =
            Command::new(limit).arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Drain { child })
    }

    /// Returns once every network namespace that was dead at the call is destroyed.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        let (Some(stdin), Some(stdout)) = (&mut self.child.stdin, &mut self.child.stdout) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        stdin.write_all(b"\n")?;
        stdout.read_exact(&mut [0])
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.child.stdin = None; // it ends at end of file
        let _ = self.child.wait();
    }
}
