//! Blobs on their way into the store: each fetched by one at a time, and further after a crash.
//!
//! A blob is fetched into `partial/<hex>`. Who writes holds an exclusive lock on the file; who needs
//! it waits for that one instead of fetching it again. When the file is whole and checked the lock
//! becomes a shared one, which all that need the blob hold until one of them has moved it into the
//! store together with the index. A dead owner's lock is a released one, and its file is where the
//! next goes on. A file that nobody has gone on with for a week is removed when the store is opened.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::{Digest, Hasher};
use super::layout::Layout;
use super::lock::Lock;
use super::manifest::Descriptor;
use crate::cancel::Cancel;
use crate::{Error, Result};

/// For how long what was fetched of a blob is kept when nobody goes on with it.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What the store has of a blob.
#[derive(Debug)]
pub(super) enum Blob {
    /// All of it, in its place.
    Stored,
    /// All of it, checked, and not in its place yet.
    Fetched(Partial),
    /// A part or nothing; nobody else fetches it meanwhile.
    Missing(Partial),
}

/// The file of a blob on its way. Holds its lock.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    cancel: Cancel,
}

impl Layout {
    /// What there is of a blob, once nobody else is fetching it.
    pub(super) fn partial(&self, blob: &Descriptor) -> Result<Blob> {
        let path = self.path("partial").join(blob.digest.hex());
        loop {
            if self.has_blob(&blob.digest) {
                return Ok(Blob::Stored);
            }
            let (file, cancel) = (open(&path)?, self.cancel.clone());
            let partial = Partial { file, path: path.clone(), cancel };
            Lock::share(&partial.file, &path, &self.cancel)?;
            if !partial.is_current()? {
                continue;
            }
            if partial.is_whole(blob)? {
                return Ok(Blob::Fetched(partial));
            }
            // Not atomic: another may have been quicker, and be done by now.
            Lock::exclude(&partial.file, &path, &self.cancel)?;
            if !partial.is_current()? || partial.is_whole(blob)? {
                continue;
            }
            // Stored since it was looked for, and so this file is a new one.
            if self.has_blob(&blob.digest) {
                self.remove(&format!("partial/{}", blob.digest.hex()))?;
                return Ok(Blob::Stored);
            }
            return Ok(Blob::Missing(partial));
        }
    }

    /// Removes what nobody has gone on with for a week.
    pub(super) fn sweep_partials(&self) -> Result<()> {
        for name in self.names("partial")? {
            // Other names than skep's own are not skep's to touch.
            if Digest::from_hex(&name).is_some() {
                let path = self.path("partial").join(&name);
                sweep(&path)
                    .map_err(|error| Error::os("sweep", path.display().to_string(), error))?;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| Error::os("open", path.display().to_string(), error))
}

fn sweep(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let age = file.metadata()?.modified()?.elapsed();
    // A time in the future is no age.
    if age.is_ok_and(|age| age > KEPT)
        && let Ok(Some(_unused)) = Lock::try_on(file, path)
    {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

impl Partial {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The same file, for who reads at offsets of its own.
    pub(super) fn reader(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Hashes what there is, at most `most` bytes: what is beyond goes.
    pub(super) fn hash(&mut self, most: u64) -> Result<(Hasher, u64)> {
        self.read_hash(most).map_err(|error| self.failed("read", error))
    }

    /// Adds bytes to its end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| self.failed("write", error))
    }

    /// Forgets what there is.
    pub(super) fn clear(&mut self) -> Result<()> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(|error| self.failed("truncate", error))
    }

    /// Says that it is whole and checked: whoever waits may use it.
    pub(super) fn share(&self) -> Result<()> {
        Lock::share(&self.file, &self.path, &self.cancel)
    }

    fn read_hash(&mut self, most: u64) -> io::Result<(Hasher, u64)> {
        let mut hasher = Hasher::new();
        let mut have = 0;
        let mut buffer = vec![0; 128 << 10];
        self.file.rewind()?;
        let mut rest = self.cancel.watch((&self.file).take(most));
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    have += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file.set_len(have)?;
        self.file.seek(SeekFrom::Start(have))?;
        Ok((hasher, have))
    }

    /// Whether it still is the file of that name: it goes when its blob is stored.
    fn is_current(&self) -> Result<bool> {
        let ours = self.file.metadata().map_err(|error| self.failed("read", error))?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Whether it is the blob, by its digest: a loss of power may have left other bytes.
    fn is_whole(&self, blob: &Descriptor) -> Result<bool> {
        let failed = |error| self.failed("read", error);
        if self.file.metadata().map_err(failed)?.len() != blob.size {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 128 << 10];
        let mut at = 0;
        while at < blob.size {
            self.cancel.check_io().map_err(failed)?;
            // At an offset: the file's own position is not moved by who only looks.
            match std::os::unix::fs::FileExt::read_at(&self.file, &mut buffer, at) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    at += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(hasher.finish() == blob.digest)
    }

    fn failed(&self, operation: &'static str, error: io::Error) -> Error {
        Error::os(operation, self.path.display().to_string(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::Store;

    const BYTES: &[u8] = b"a blob";

    fn blob() -> Descriptor {
        Descriptor::of("", BYTES)
    }

    #[test]
    fn what_was_fetched_is_gone_on_with() {
        let store = Store::new();
        let layout = &store.images.layout;
        let Blob::Missing(mut partial) = layout.partial(&blob()).unwrap() else { panic!() };
        assert_eq!(partial.hash(blob().size).unwrap().1, 0);
        partial.append(&BYTES[..2]).unwrap();
        drop(partial);
        let Blob::Missing(mut partial) = layout.partial(&blob()).unwrap() else { panic!() };
        let (mut hasher, have) = partial.hash(blob().size).unwrap();
        assert_eq!(have, 2);
        partial.append(&BYTES[2..]).unwrap();
        hasher.update(&BYTES[2..]);
        assert_eq!(hasher.finish(), blob().digest);
        partial.share().unwrap();
        let Blob::Fetched(other) = layout.partial(&blob()).unwrap() else { panic!() };
        std::fs::rename(other.path(), layout.blob_path(&blob().digest)).unwrap();
        assert!(matches!(layout.partial(&blob()).unwrap(), Blob::Stored));
    }

    #[test]
    fn other_bytes_of_the_right_length_are_not_the_blob() {
        let store = Store::new();
        let layout = &store.images.layout;
        std::fs::write(layout.path("partial").join(blob().digest.hex()), b"b blob").unwrap();
        let Blob::Missing(mut partial) = layout.partial(&blob()).unwrap() else { panic!() };
        partial.clear().unwrap();
        assert_eq!(partial.hash(blob().size).unwrap().1, 0);
    }

    #[test]
    fn who_waits_for_a_blob_gets_it_from_who_fetches_it() {
        let store = Store::new();
        let layout = &store.images.layout;
        let fetched = std::sync::atomic::AtomicU32::new(0);
        let fetch = || match layout.partial(&blob()).unwrap() {
            Blob::Missing(mut partial) => {
                fetched.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                partial.append(BYTES).unwrap();
                partial.share().unwrap();
                Some(partial)
            }
            Blob::Fetched(partial) => Some(partial),
            Blob::Stored => None,
        };
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    if let Some(partial) = fetch() {
                        // Some of them find it moved by now.
                        let _ = std::fs::rename(partial.path(), layout.blob_path(&blob().digest));
                    }
                });
            }
        });
        assert_eq!(fetched.into_inner(), 1);
        assert_eq!(std::fs::read(layout.blob_path(&blob().digest)).unwrap(), BYTES);
        assert_eq!(layout.names("partial").unwrap(), [""; 0]);
    }

    #[test]
    fn only_what_is_old_and_unused_is_swept() {
        let store = Store::new();
        let layout = &store.images.layout;
        let old = std::time::SystemTime::now() - KEPT - Duration::from_secs(60);
        let make = |bytes: &[u8]| match layout.partial(&Descriptor::of("", bytes)).unwrap() {
            Blob::Missing(partial) => partial,
            _ => panic!(),
        };
        drop(make(b"new"));
        let used = make(b"used");
        let unused = make(b"unused");
        used.file.set_modified(old).unwrap();
        unused.file.set_modified(old).unwrap();
        drop(unused);
        layout.sweep_partials().unwrap();
        let mut left = layout.names("partial").unwrap();
        left.sort();
        let mut expected = [Digest::of(b"new").hex(), Digest::of(b"used").hex()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
