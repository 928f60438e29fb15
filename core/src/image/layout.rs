//! The store's files: an OCI image layout, unpacked layers, locks, and a place to prepare them.
//!
//! ```text
//! images/oci-layout, images/index.json, images/blobs/sha256/<hex>
//! layers/<chain id's hex>/fs and meta.json
//! locks/<image id's hex>       leases: shared while a container uses the image
//! staging/<random>/            what is being prepared; its owner holds a lock on it
//! partial/<hex>                a blob that is being fetched, or was when its owner died
//! images.reserve               room for a removal on a full disk
//! images.lock                  exclusive for what changes index.json or removes
//! ```
//!
//! Everything is prepared in a staging directory and renamed. One whose owner is dead is swept
//! when the store is opened, and with it what its owner had renamed but not yet put in the index.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::digest::{Digest, HashReader};
use super::lock::Lock;
use super::manifest::{Descriptor, Index, MAX_DOCUMENT, too_large};
use super::tar::read_error;
use crate::cancel::Cancel;
use crate::sys::path::remove_tree;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// The directories of a store that belong to images.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    dir: Arc<OwnedFd>,
    /// Ends what takes long: waits for locks, copies.
    pub(super) cancel: Cancel,
}

impl Layout {
    /// Opens the store in `root`, an existing directory, and makes what is missing.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::os("open store", root.display().to_string(), error);
        // Absolute, for the host may change its working directory.
        let path = std::path::absolute(root).map_err(failed)?;
        let dir = File::open(&path).map_err(failed)?;
        let layout = Layout { root: path, dir: Arc::new(dir.into()), cancel: Cancel::never() };
        for name in ["images/blobs/sha256", "layers", "locks", "staging", "partial"] {
            fs::create_dir_all(layout.root.join(name)).map_err(failed)?;
        }
        if !layout.path("images/oci-layout").exists() {
            let _lock = layout.lock_exclusive()?;
            if !layout.path("images/index.json").exists() {
                layout.write_index(&Index::empty())?;
            }
            // Last, for it says that the index is there, too.
            layout.write("images/oci-layout", OCI_LAYOUT.as_bytes())?;
        }
        Ok(layout)
    }

    /// The same, ended by `cancel`.
    pub(super) fn cancellable(&self, cancel: &Cancel) -> Self {
        Layout { root: self.root.clone(), dir: Arc::clone(&self.dir), cancel: cancel.clone() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(blob_name(digest))
    }

    pub(super) fn lease_path(&self, id: &Digest) -> PathBuf {
        self.root.join("locks").join(id.hex())
    }

    /// Where a layer is, once it is unpacked.
    pub(super) fn layer_path(&self, chain_id: &Digest) -> PathBuf {
        self.root.join("layers").join(chain_id.hex())
    }

    /// Keeps others from changing the index, publishing and removing.
    pub(super) fn lock_exclusive(&self) -> Result<Lock> {
        Lock::exclusive(&self.path("images.lock"), &self.cancel)
    }

    /// The names that the store has images under.
    pub(super) fn index(&self) -> Result<Index> {
        let path = self.path("images/index.json");
        let subject = path.display().to_string();
        let file = File::open(&path).map_err(|error| Error::os("open", &*subject, error))?;
        Index::parse(&read_bounded(file, &subject)?, &subject)
    }

    /// Replaces the index; the caller holds the exclusive lock.
    pub(super) fn write_index(&self, index: &Index) -> Result<()> {
        let json = serde_json::to_vec_pretty(index).map_err(|error| {
            Error::new(ErrorKind::InvalidData, "write", "images/index.json").with_source(error)
        })?;
        self.write("images/index.json", &json)
    }

    /// Writes beside, syncs and renames, and waits until a loss of power cannot undo it; the caller
    /// holds the exclusive lock, which makes the fixed name beside safe.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let beside = self.path("staging/.new");
        // The index, for whatever changes it.
        let written = sigpipe::without_file_size_signal(|| {
            let mut file = File::create(&beside)?;
            io::Write::write_all(&mut file, bytes)?;
            file.sync_all()?;
            fs::rename(&beside, self.path(name))
        });
        written
            .map_err(|error| Error::os("write", self.path(name).display().to_string(), error))?;
        let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
        // It is written all the same: a failure must not have the caller undo what it stands on.
        let _ = self.sync_names(directory);
        Ok(())
    }

    /// Waits until the names in a directory are on the disk. ext4 and xfs then have all that was
    /// renamed before, too; btrfs has what is in this directory.
    pub(super) fn sync_names(&self, directory: &str) -> Result<()> {
        let path = self.path(directory);
        let synced = File::open(&path).and_then(|directory| directory.sync_all());
        synced.map_err(|error| Error::os("sync", path.display().to_string(), error))
    }

    /// Whether the store has this blob.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// A manifest, index or config, checked against its digest and size.
    pub(super) fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let subject = descriptor.digest.to_string();
        let file = File::open(self.blob_path(&descriptor.digest))
            .map_err(|error| Error::os("open blob", &*subject, error))?;
        let bytes = read_bounded(file, &subject)?;
        check_blob(descriptor, Digest::of(&bytes), bytes.len() as u64)?;
        Ok(bytes)
    }

    /// Makes a staging directory.
    pub(super) fn stage(&self) -> Result<Staging<'_>> {
        // A sweep holds it exclusively, and so does not see the directory before it is locked.
        let _lock = Lock::shared(&self.path("images.lock"), &self.cancel)?;
        let name = format!("staging/{}", crate::id::random());
        let path = self.path(&name);
        let subject = || path.display().to_string();
        fs::create_dir(&path).map_err(|error| Error::os("create", subject(), error))?;
        let dir = File::open(&path).map_err(|error| Error::os("open", subject(), error))?;
        let lock = Lock::try_on(dir, &path)?
            .ok_or_else(|| Error::new(ErrorKind::InUse, "lock", subject()))?;
        Ok(Staging { layout: self, name, _lock: lock, blobs: std::cell::Cell::new(0) })
    }

    /// The staging directories of dead owners, with their locks. The caller holds the exclusive
    /// lock.
    pub(super) fn dead_staging(&self) -> Result<Vec<(String, Lock)>> {
        let mut dead = Vec::new();
        for name in self.names("staging")? {
            let path = self.path("staging").join(&name);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Error::os("open", path.display().to_string(), error));
                }
            };
            dead.extend(Lock::try_on(file, &path)?.map(|lock| (format!("staging/{name}"), lock)));
        }
        Ok(dead)
    }

    /// Whether a staging directory exists, of whomever.
    pub(super) fn has_staging(&self) -> Result<bool> {
        Ok(!self.names("staging")?.is_empty())
    }

    /// The names in a directory of the store.
    pub(super) fn names(&self, directory: &str) -> Result<Vec<String>> {
        let path = self.path(directory);
        let read = || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&path)? {
                // Other names than skep's own are not skep's to touch.
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        };
        read().map_err(|error: io::Error| Error::os("read", path.display().to_string(), error))
    }

    /// Removes a file or a tree of the store.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        use std::os::fd::AsFd;
        remove_tree(self.dir.as_fd(), name)
            .map_err(|errno| Error::os("remove", self.path(name).display().to_string(), errno))
    }
}

/// Where a blob is below the store's root.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("images/blobs/sha256/{}", digest.hex())
}

/// A directory to prepare files in; goes when it is dropped, or swept if its owner dies.
pub(super) struct Staging<'a> {
    layout: &'a Layout,
    name: String,
    _lock: Lock,
    blobs: std::cell::Cell<u64>,
}

/// A blob in a staging directory.
#[derive(Debug, Clone)]
pub(super) struct StagedBlob {
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Staging<'_> {
    pub(super) fn path(&self) -> PathBuf {
        self.layout.path(&self.name)
    }

    /// Creates a file for a blob.
    pub(super) fn create(&self) -> Result<(PathBuf, File)> {
        let number = self.blobs.get();
        self.blobs.set(number + 1);
        let path = self.path().join(format!("blob-{number}"));
        match File::create_new(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(Error::os("write", path.display().to_string(), error)),
        }
    }

    /// Copies `input` into a file and hashes it on the way; `subject` names it in errors.
    pub(super) fn blob(&self, input: impl Read, subject: &str) -> Result<StagedBlob> {
        let (path, mut file) = self.create()?;
        let failed = |error| Error::os("write", path.display().to_string(), error);
        let mut input = HashReader::new(self.layout.cancel.watch(input));
        let mut buffer = vec![0; 128 << 10];
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_error(error, subject)),
            };
            io::Write::write_all(&mut file, &buffer[..n]).map_err(failed)?;
        }
        let (_, (digest, size)) = input.finish();
        Ok(StagedBlob { path, digest, size })
    }

    /// Makes all that was staged survive a loss of power, at the price of one syncfs(2).
    pub(super) fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&*self.layout.dir)
            .map_err(|errno| Error::os("sync", self.layout.root.display().to_string(), errno))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What stays is swept when the store is opened again.
        let _ = self.layout.remove(&self.name);
    }
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes.
pub(super) fn read_bounded(input: impl Read, subject: &str) -> Result<Vec<u8>> {
    // Most are smaller, and are read by one call and another that finds their end.
    let mut bytes = Vec::with_capacity(8 << 10);
    let read = input.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
    read.map_err(|error| read_error(error, subject))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_large(subject));
    }
    Ok(bytes)
}

/// Checks a blob against what was announced.
pub(super) fn check_blob(descriptor: &Descriptor, digest: Digest, size: u64) -> Result<()> {
    let mismatch = |cause: String| {
        let subject = format!("blob {}", descriptor.digest);
        Err(Error::new(ErrorKind::DigestMismatch, "verify", subject).cause(cause))
    };
    if size != descriptor.size {
        return mismatch(format!("it has {size} bytes, {} were announced", descriptor.size));
    }
    if digest != descriptor.digest {
        return mismatch(format!("it hashes to {digest}"));
    }
    Ok(())
}
