//! Blobs on their way into the store: each fetched by one at a time, and further after a crash.
//!
//! A blob is fetched into `partial/<hex>`. Who writes holds an exclusive lock on the file; who needs
//! it waits for that one instead of fetching it again. When the file is whole and checked the lock
//! becomes a shared one, which all that need the blob hold until one of them has moved it into the
//! store together with the index. A dead owner's lock is a released one, and its file is where the
//! next goes on. A file that nobody has gone on with for a week is removed when the store is opened,
//! and one that nobody is at by a prune.
//!
//! A blob that was moved into the store by one who died before the index was written goes back: its
//! owner had [noted](Staging::note_fetched) that it was fetched.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::digest::{Digest, Hasher};
use super::layout::{Layout, Staging, blob_name};
use super::lock::Lock;
use super::manifest::Descriptor;
use crate::cancel::Cancel;
use crate::{Error, Result};

/// For how long what was fetched of a blob is kept when nobody goes on with it.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The file of a staging directory that lists what was fetched.
const FETCHED: &str = "fetched";

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
    /// Where the next bytes go: behind those that were written or hashed, and not where the file's
    /// own position is, which a write that failed has moved.
    end: u64,
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
            let partial = Partial { file, end: 0, path: path.clone(), cancel };
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
        self.idle_partials("sweep", |path, metadata| {
            // A time in the future is no age.
            match metadata.modified()?.elapsed() {
                Ok(age) if age > KEPT => std::fs::remove_file(path),
                _ => Ok(()),
            }
        })
    }

    /// Removes what nobody is at; the number of files and their bytes on the disk.
    pub(super) fn remove_partials(&self) -> Result<(u64, u64)> {
        let mut removed = (0, 0);
        self.idle_partials("remove", |path, metadata| {
            removed = (removed.0 + 1, removed.1 + metadata.blocks() * 512);
            std::fs::remove_file(path)
        })?;
        Ok(removed)
    }

    /// The bytes on the disk of all that is on its way, and of what nobody is at.
    pub(super) fn measure_partials(&self) -> Result<(u64, u64)> {
        let (mut all, mut idle) = (0, 0);
        for name in self.names("partial")? {
            let file = std::fs::symlink_metadata(self.path("partial").join(&name));
            all += file.map_or(0, |file| file.blocks() * 512);
        }
        self.idle_partials("read", |_, metadata| {
            idle += metadata.blocks() * 512;
            Ok(())
        })?;
        Ok((all, idle.min(all)))
    }

    /// Does `act` to each file that nobody fetches or uses, and keeps others from it meanwhile.
    fn idle_partials(
        &self,
        operation: &'static str,
        mut act: impl FnMut(&Path, &Metadata) -> io::Result<()>,
    ) -> Result<()> {
        for name in self.names("partial")? {
            // Other names than skep's own are not skep's to touch.
            if Digest::from_hex(&name).is_none() {
                continue;
            }
            let path = self.path("partial").join(&name);
            let failed = |error| Error::os(operation, path.display().to_string(), error);
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(failed)?,
            };
            let metadata = file.metadata().map_err(failed)?;
            let Some(_unused) = Lock::try_on(file, &path)? else { continue };
            // It may have been stored in the meantime, and be another one's by now.
            if is_named(&metadata, &path).map_err(failed)? {
                act(&path, &metadata).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The blobs that the owner of a staging directory had noted.
    pub(super) fn fetched(&self, staging: &str) -> HashSet<Digest> {
        let noted = std::fs::read_to_string(self.path(staging).join(FETCHED));
        noted.unwrap_or_default().lines().filter_map(Digest::from_hex).collect()
    }

    /// Takes a blob that no image has out of the store again, to where a pull goes on with it.
    pub(super) fn take_back(&self, blob: &Digest) -> Result<()> {
        let place = self.path("partial").join(blob.hex());
        let stored = self.blob_path(blob);
        match rustix::fs::renameat_with(CWD, &stored, CWD, &place, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            // Another is fetching it, or the file system cannot do this.
            Err(Errno::EXIST | Errno::INVAL) => self.remove(&blob_name(blob)),
            Err(errno) => Err(Error::os("sweep", stored.display().to_string(), errno)),
        }
    }
}

impl Staging<'_> {
    /// Notes that these blobs, which are about to be stored, were fetched.
    pub(super) fn note_fetched<'a>(&self, blobs: impl Iterator<Item = &'a Digest>) -> Result<()> {
        let lines: String = blobs.map(|blob| blob.hex() + "\n").collect();
        let path = self.path().join(FETCHED);
        std::fs::write(&path, lines)
            .map_err(|error| Error::os("write", path.display().to_string(), error))
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|error| Error::os("open", path.display().to_string(), error))
}

/// Whether `path` names the file whose metadata this is.
fn is_named(file: &Metadata, path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (file.dev(), file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Partial {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Hashes what there is, at most `most` bytes: what is beyond goes.
    pub(super) fn hash(&mut self, most: u64) -> Result<(Hasher, u64)> {
        self.read_hash(most).map_err(|error| self.failed("read", error))
    }

    /// Adds bytes to its end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, self.end);
        written.map_err(|error| self.failed("write", error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what there is.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(|error| self.failed("truncate", error))?;
        self.end = 0;
        Ok(())
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
        self.end = have;
        Ok((hasher, have))
    }

    /// Whether it still is the file of that name: it goes when its blob is stored.
    fn is_current(&self) -> Result<bool> {
        let named = self.file.metadata().and_then(|ours| is_named(&ours, &self.path));
        named.map_err(|error| self.failed("read", error))
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
    use std::io::Write;

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
    fn what_a_failed_write_left_is_written_over() {
        let store = Store::new();
        let layout = &store.images.layout;
        let Blob::Missing(mut partial) = layout.partial(&blob()).unwrap() else { panic!() };
        partial.append(&BYTES[..2]).unwrap();
        // As a full disk leaves it: a part of what was to be written, and an error.
        partial.file.seek(io::SeekFrom::End(0)).unwrap();
        partial.file.write_all(&BYTES[2..4]).unwrap();
        // Room was made, and the next registry goes on.
        partial.append(&BYTES[2..]).unwrap();
        assert_eq!(std::fs::read(partial.path()).unwrap(), BYTES);
        partial.clear().unwrap();
        partial.append(BYTES).unwrap();
        partial.hash(3).unwrap();
        partial.append(&BYTES[3..]).unwrap();
        assert_eq!(std::fs::read(partial.path()).unwrap(), BYTES);
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

    #[test]
    fn a_prune_takes_what_nobody_is_at() {
        let store = Store::new();
        let layout = &store.images.layout;
        let make = |bytes: &[u8]| match layout.partial(&Descriptor::of("", bytes)).unwrap() {
            Blob::Missing(mut partial) => {
                partial.append(bytes).unwrap();
                partial
            }
            _ => panic!(),
        };
        let used = make(&[b'u'; 5000]);
        drop(make(&[b'i'; 9000]));
        let usage = store.images.disk_usage().unwrap();
        assert!(usage.unneeded >= 9000 && usage.blobs >= usage.unneeded + 5000, "{usage:?}");
        let pruned = store.images.prune(crate::image::Prune::Files).unwrap();
        assert_eq!((pruned.blobs, pruned.bytes), (1, usage.unneeded));
        assert_eq!(layout.names("partial").unwrap(), [Digest::of(&[b'u'; 5000]).hex()]);
        drop(used);
        assert_eq!(store.images.prune(crate::image::Prune::Files).unwrap().blobs, 1);
        assert_eq!(store.images.disk_usage().unwrap(), Default::default());
    }
}
