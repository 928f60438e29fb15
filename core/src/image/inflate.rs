//! A layer's archive, read, inflated and hashed in threads of its own, ahead of who unpacks it.
//!
//! ```text
//! blob --read, hash, inflate--> chunks --hash--> chunks --tar, write--> files
//!         skep-inflate                skep-hash            the caller
//! ```
//!
//! Chunks go round: the caller gives each back, and no more than [`CHUNKS`] are ever made, so that
//! memory is bounded by them whatever the image, and whoever is slowest sets the pace. What fails
//! reaches the caller as the error of a read, a panic too. Dropped early, the threads end at their
//! next chunk; they are joined in any case.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::arrival::Arriving;
use super::budget::Budget;
use super::compression::Decoder;
use super::digest::{Digest, HashReader, Hasher};
use crate::cancel::Cancel;
use crate::sys::thread::without_signals;

/// Bytes of a chunk: large enough that a file is mostly one write, and that handing it over costs
/// nothing beside filling it; several fit a processor's cache.
const CHUNK: usize = 256 << 10;

/// Chunks of a layer, 6 MiB.
const CHUNKS: usize = 24;

/// Where a layer's blob is read from.
pub(super) enum Source {
    /// A file of the store, which is hashed again: disks forget.
    Stored(HashReader<File>),
    /// One that is being fetched, and hashed by who fetches it.
    Arriving(Arriving),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Stored(file) => file.read(buffer),
            Source::Arriving(blob) => blob.read(buffer),
        }
    }
}

/// What a blob and its archive hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Of the archive.
    pub(super) diff_id: Digest,
    /// Of the blob, with its size; `None` if who fetched it has checked that.
    pub(super) blob: Option<(Digest, u64)>,
}

struct Chunk {
    bytes: Box<[u8]>,
    length: usize,
}

type Message = io::Result<Chunk>;

/// See the module.
pub(super) struct Inflated {
    chunks: Receiver<Message>,
    /// `None` to say that no chunk is wanted any more.
    used: Option<Sender<Chunk>>,
    current: Option<Chunk>,
    /// How much of it was read.
    at: usize,
    threads: Option<Threads>,
    found: Option<Found>,
    budget: Budget,
}

struct Threads {
    /// What the blob hashes to, and how much of the budget was taken.
    inflate: JoinHandle<(Option<(Digest, u64)>, u64)>,
    hash: JoinHandle<Digest>,
}

impl Inflated {
    /// Begins to read `source`, whose archive is taken from `budget`, and given back if it is not read
    /// to its end: it may be read again. `cancel` ends that with an error.
    ///
    /// # Errors
    /// That no thread could be started.
    pub(super) fn start(source: Source, budget: &Budget, cancel: &Cancel) -> io::Result<Self> {
        let (to_hash, from_inflate) = channel();
        let (to_caller, chunks) = channel();
        let (used, free) = channel();
        let (within, cancel) = (budget.clone(), cancel.clone());
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        // Both end by themselves if the second cannot be started: their channels are gone.
        let hash =
            without_signals(|| thread("skep-hash").spawn(move || hash(&from_inflate, &to_caller)))?;
        let inflate = without_signals(|| {
            thread("skep-inflate").spawn(move || {
                let chunks = Chunks { free, made: 0 };
                let mut taken = 0;
                let blob = inflate(source, &within, &cancel, chunks, &to_hash, &mut taken);
                let blob = blob.unwrap_or_else(|error| {
                    // Nobody reads any more, if this fails.
                    let _ = to_hash.send(Err(error));
                    None
                });
                (blob, taken)
            })
        });
        let inflate = match inflate {
            Ok(inflate) => inflate,
            Err(error) => {
                let _ = hash.join();
                return Err(error);
            }
        };
        let threads = Some(Threads { inflate, hash });
        let (used, budget) = (Some(used), budget.clone());
        Ok(Inflated { chunks, used, current: None, at: 0, threads, found: None, budget })
    }

    /// Reads what is left; what all of it hashes to.
    pub(super) fn finish(mut self) -> io::Result<Found> {
        loop {
            let left = self.fill_buf()?.len();
            match self.found {
                Some(found) if left == 0 => return Ok(found),
                _ => self.consume(left),
            }
        }
    }

    /// Ends the threads, unless all was read.
    fn stop(&mut self) {
        // Whoever sends, or waits for a free chunk, finds nobody there.
        self.used = None;
        self.chunks = channel().1;
        if let Some(Threads { inflate, hash }) = self.threads.take() {
            let (inflated, _) = (inflate.join(), hash.join());
            // A panic's is lost.
            self.budget.give_back(inflated.map_or(0, |(_, taken)| taken));
        }
    }

    /// The end of the stream, or of a thread.
    fn join(&mut self) -> io::Result<()> {
        let panicked = |_| io::Error::other("a thread that reads it panicked");
        if let Some(Threads { inflate, hash }) = self.threads.take() {
            let (blob, diff_id) = (inflate.join(), hash.join());
            let (blob, _) = blob.map_err(panicked)?;
            let found = Found { blob, diff_id: diff_id.map_err(panicked)? };
            self.found = Some(found);
        }
        match self.found {
            Some(_) => Ok(()),
            None => Err(io::Error::other("it is read on after an error")),
        }
    }
}

impl BufRead for Inflated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.at == chunk.length) {
            self.at = 0;
            if let (Some(chunk), Some(used)) = (self.current.take(), &self.used) {
                // All is read, if nobody wants it.
                let _ = used.send(chunk);
            }
            match self.chunks.recv() {
                Ok(Ok(chunk)) => self.current = Some(chunk),
                Ok(Err(error)) => {
                    self.stop();
                    return Err(error);
                }
                Err(_) => self.join()?,
            }
        }
        Ok(self.current.as_ref().map_or(&[], |chunk| &chunk.bytes[self.at..chunk.length]))
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Inflated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl Drop for Inflated {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Those that may be filled.
struct Chunks {
    free: Receiver<Chunk>,
    made: usize,
}

impl Chunks {
    /// One that was given back, a new one, or, if there are enough, one that is waited for; `None` when
    /// nobody wants any.
    fn next(&mut self) -> Option<Chunk> {
        if let Ok(chunk) = self.free.try_recv() {
            return Some(chunk);
        }
        if self.made < CHUNKS {
            self.made += 1;
            return Some(Chunk { bytes: vec![0; CHUNK].into(), length: 0 });
        }
        self.free.recv().ok()
    }
}

/// Reads all of `source`, and says how much it has `taken`; what its bytes hash to, unless others see to
/// that, or nobody reads on.
fn inflate(
    source: Source,
    budget: &Budget,
    cancel: &Cancel,
    chunks: Chunks,
    to: &Sender<Message>,
    taken: &mut u64,
) -> io::Result<Option<(Digest, u64)>> {
    let mut decoder = Decoder::new(source)?.within(budget);
    if !hand_over(&mut decoder, cancel, chunks, to, taken)? {
        return Ok(None);
    }
    let mut rest = decoder.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    Ok(match rest.into_inner() {
        Source::Stored(file) => Some(file.finish().1),
        Source::Arriving(_) => None,
    })
}

/// Whether all of it went; how many bytes were `taken` of it.
fn hand_over(
    decoder: &mut Decoder<Source>,
    cancel: &Cancel,
    mut chunks: Chunks,
    to: &Sender<Message>,
    taken: &mut u64,
) -> io::Result<bool> {
    while let Some(mut chunk) = chunks.next() {
        cancel.check_io()?;
        chunk.length = fill(decoder, &mut chunk.bytes, taken)?;
        if chunk.length == 0 {
            return Ok(true);
        }
        if to.send(Ok(chunk)).is_err() {
            break;
        }
    }
    Ok(false)
}

/// Reads until `buffer` is full or the end is there, and adds what it has `taken`.
fn fill(input: &mut impl Read, buffer: &mut [u8], taken: &mut u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => {
                filled += n;
                *taken += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn hash(from: &Receiver<Message>, to: &Sender<Message>) -> Digest {
    let mut hasher = Hasher::new();
    for message in from {
        if let Ok(chunk) = &message {
            hasher.update(&chunk.bytes[..chunk.length]);
        }
        if to.send(message).is_err() {
            break;
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::image::arrival::Arrival;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn stored(bytes: &[u8]) -> Source {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        Source::Stored(HashReader::new(file))
    }

    /// More than all chunks hold.
    fn much() -> Vec<u8> {
        (0..CHUNK * (CHUNKS + 2) + 7).map(|i| (i / 251) as u8).collect()
    }

    fn start(source: Source) -> Inflated {
        Inflated::start(source, &Budget::default(), &Cancel::never()).unwrap()
    }

    #[test]
    fn all_is_read_and_hashed() {
        for plain in [Vec::new(), b"few".to_vec(), much()] {
            for blob in [plain.clone(), gzip(&plain), [gzip(&plain), gzip(b"")].concat()] {
                let mut inflated = start(stored(&blob));
                let mut read = Vec::new();
                inflated.read_to_end(&mut read).unwrap();
                assert!(read == plain);
                let expected = Found {
                    diff_id: Digest::of(&plain),
                    blob: Some((Digest::of(&blob), blob.len() as u64)),
                };
                assert_eq!(inflated.finish().unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_is_truncated_fails_and_fails_again() {
        let blob = gzip(&much());
        let mut inflated = start(stored(&blob[..blob.len() - 9]));
        let error = io::copy(&mut inflated, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(inflated.fill_buf().is_err());
        assert!(inflated.finish().is_err());
    }

    #[test]
    fn who_reads_no_further_waits_for_nobody() {
        let mut inflated = start(stored(&gzip(&much())));
        inflated.read_exact(&mut [0; 1000]).unwrap();
        drop(inflated);
        drop(start(stored(&much())));
    }

    #[test]
    fn what_is_not_read_to_its_end_is_given_back() {
        let budget = Budget::new(Some(much().len() as u64), 0);
        let half = gzip(&much());
        let half = &half[..half.len() - 9];
        for blob in [half, &gzip(&much())] {
            let inflated = Inflated::start(stored(blob), &budget, &Cancel::never()).unwrap();
            assert_eq!(inflated.finish().is_ok(), blob.len() > half.len());
        }
        assert!(budget.take(1, "it").is_err());
    }

    #[test]
    fn it_ends_when_it_is_cancelled() {
        let cancel = Cancel::new();
        let mut inflated = Inflated::start(stored(&much()), &Budget::default(), &cancel).unwrap();
        inflated.read_exact(&mut [0; 1000]).unwrap();
        cancel.cancel();
        assert!(inflated.finish().is_err());
    }

    #[test]
    fn a_panic_is_an_error() {
        let arrival = Arc::new(Arrival::new(10));
        arrival.begin(tempfile::tempfile().unwrap());
        arrival.has(1);
        arrival.panics_when_read();
        let error = start(Source::Arriving(Arriving::of(&arrival))).finish().unwrap_err();
        assert_eq!(error.to_string(), "a thread that reads it panicked");
    }

    #[test]
    fn what_arrives_is_read_while_it_does_and_ends_when_it_is_checked() {
        let plain = much();
        let blob = gzip(&plain);
        let arrival = Arc::new(Arrival::new(blob.len() as u64));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        arrival.begin(file.reopen().unwrap());
        let mut inflated = start(Source::Arriving(Arriving::of(&arrival)));
        let (first, last) = blob.split_at(blob.len() / 2);
        file.write_all(first).unwrap();
        arrival.has(first.len() as u64);
        let mut start = vec![0; 1000];
        inflated.read_exact(&mut start).unwrap();
        assert!(plain.starts_with(&start));
        file.write_all(last).unwrap();
        arrival.has(blob.len() as u64);
        arrival.check();
        let found = inflated.finish().unwrap();
        assert_eq!(found, Found { diff_id: Digest::of(&plain), blob: None });
    }
}
