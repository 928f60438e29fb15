//! A blob that is read while it is still being fetched.
//!
//! Who fetches it writes to a file and says here how much is there; who reads follows in the same
//! file, whose pages are in memory, and waits for more. The end is reached only when the blob was
//! checked. If it is fetched anew from its beginning, or not at all, reading fails: whoever reads
//! then begins again later, with the whole blob.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What both sides know of a blob.
#[derive(Debug)]
pub(super) struct Arrival {
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<File>>,
    have: u64,
    checked: bool,
    failed: bool,
    #[cfg(test)]
    panics: bool,
}

impl Arrival {
    /// A blob of `size` bytes, of which none is there.
    pub(super) fn new(size: u64) -> Self {
        Arrival { size, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Its bytes are, or will be, in `file`.
    pub(super) fn begin(&self, file: File) {
        self.change(|state| state.file = Some(Arc::new(file)));
    }

    /// So many bytes are there. Fewer than before: they are others.
    pub(super) fn has(&self, bytes: u64) {
        self.change(|state| {
            state.failed |= bytes < state.have;
            state.have = bytes;
        });
    }

    /// All is there, and is what was announced.
    pub(super) fn check(&self) {
        self.change(|state| {
            state.have = self.size;
            state.checked = true;
        });
    }

    /// Nothing more will come, or nobody needs it any more: whoever waits or reads is not to go on.
    pub(super) fn close(&self) {
        self.change(|state| state.failed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn panics_when_read(&self) {
        self.change(|state| state.panics = true);
    }

    /// Waits until more than `at` bytes are there, or all of them were checked. The file and the number
    /// of bytes beyond `at`; none at the end.
    fn beyond(&self, at: u64) -> io::Result<(Option<Arc<File>>, u64)> {
        let waits = |state: &mut State| {
            let more = state.file.is_some() && state.have > at;
            !(more || state.checked || state.failed)
        };
        let state = self.changed.wait_while(self.lock(), waits);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        #[cfg(test)]
        assert!(!state.panics, "as it was told to");
        if state.failed {
            return Err(io::Error::other("it is not fetched in one go"));
        }
        Ok((state.file.clone(), state.have.saturating_sub(at)))
    }
}

/// Reads a blob that arrives.
pub(super) struct Arriving {
    arrival: Arc<Arrival>,
    at: u64,
}

impl Arriving {
    /// From its beginning.
    pub(super) fn of(arrival: &Arc<Arrival>) -> Self {
        Arriving { arrival: Arc::clone(arrival), at: 0 }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (file, available) = self.arrival.beyond(self.at)?;
        let most = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        match file.read_at(&mut buffer[..most], self.at)? {
            // It was cut off since.
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.at += n as u64;
                Ok(n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn arrival(bytes: &[u8]) -> Arc<Arrival> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let arrival = Arc::new(Arrival::new(6));
        arrival.begin(file);
        arrival.has(bytes.len() as u64);
        arrival
    }

    #[test]
    fn nothing_is_read_twice_and_the_end_is_checked() {
        let arrival = arrival(b"abcdef");
        let mut arriving = Arriving::of(&arrival);
        let mut read = [0; 6];
        arriving.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"abcdef");
        std::thread::scope(|scope| {
            let end = scope.spawn(move || arriving.read(&mut [0]).unwrap());
            arrival.check();
            assert_eq!(end.join().unwrap(), 0);
        });
        assert_eq!(Arriving::of(&arrival).read_to_end(&mut Vec::new()).unwrap(), 6);
    }

    #[test]
    fn what_comes_anew_or_not_at_all_is_not_read_on() {
        for ends in [Arrival::close, |arrival: &Arrival| arrival.has(1)] {
            let arrival = arrival(b"abc");
            let mut arriving = Arriving::of(&arrival);
            arriving.read_exact(&mut [0; 3]).unwrap();
            std::thread::scope(|scope| {
                let waits = scope.spawn(move || arriving.read(&mut [0]));
                ends(&arrival);
                assert!(waits.join().unwrap().is_err());
            });
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_was_said_is_an_error() {
        let arrival = arrival(b"abc");
        arrival.has(5);
        let mut arriving = Arriving::of(&arrival);
        arriving.read_exact(&mut [0; 3]).unwrap();
        assert_eq!(arriving.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_of_no_use_any_more_is_not_read_on() {
        let arrival = arrival(b"abcdef");
        arrival.check();
        let mut arriving = Arriving::of(&arrival);
        arriving.read_exact(&mut [0; 3]).unwrap();
        arrival.close();
        assert!(arriving.read(&mut [0]).is_err());
    }
}
