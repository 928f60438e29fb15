//! The store: one directory with everything skep keeps on disk, and its locks.
//!
//! ```text
//! store.json             its version
//! lock                   shared by those that add an owner, exclusive for a sweep
//! attached/<owner>/      what one keeper owns: gone with it
//!   lock                 locked while the keeper lives
//!   groups               its control groups, a path a line
//!   <container>/         upper/ and work/ of a container's root
//! ```
//!
//! Whether an owner lives is told by the lock its keeper holds, never by a pid: a killed keeper is
//! a released lock. Opening a store sweeps what dead owners left. Several processes may share one;
//! a network file system is refused, because its locks do not tell that much.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::path;
use crate::{Error, ErrorKind, Result};

/// The version of the layout on disk that this code reads and writes.
const VERSION: u32 = 1;

/// An opened store.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoreFile {
    version: u32,
    /// How overlay's marks are written: `trusted` or `user`.
    xattrs: String,
}

/// A directory that belongs to one keeper.
#[derive(Debug)]
pub(crate) struct Owned {
    /// Its name, and the name of the owner's control groups.
    pub(crate) owner: String,
    pub(crate) directory: PathBuf,
}

impl Store {
    /// Opens the store at `root`, which is made if it is not there.
    ///
    /// # Errors
    /// `Unsupported` for a network file system, `InvalidData` for a store of another version or a
    /// directory that holds something else, what the file system says otherwise.
    pub(crate) fn open(root: &Path) -> Result<Store> {
        let subject = || root.display().to_string();
        let failed = |error: io::Error| Error::os("open the store", subject(), error);
        make_directory(root).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => failed(error)
                .with_kind(ErrorKind::InvalidInput)
                .cause("it is, or is below, a file that is no directory")
                .fix("use another path"),
            _ => failed(error),
        })?;
        let root = root.canonicalize().map_err(failed)?;
        refuse_network(&root)?;
        let store = Store { root };
        store.check_version()?;
        make_directory(&store.root.join("attached")).map_err(failed)?;
        Ok(store)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a directory for a new owner. The lock is held by whoever holds the file descriptor.
    pub(crate) fn claim(&self) -> Result<(Owned, OwnedFd)> {
        let owner = crate::id::random();
        let directory = self.root.join("attached").join(&owner);
        let failed = |error: io::Error| {
            Error::os("make a directory in the store", self.root.display().to_string(), error)
        };
        // No sweep between the directory and its lock.
        let _adding = self.lock(FlockOperation::LockShared).map_err(failed)?;
        make_directory(&directory).map_err(failed)?;
        let owned = Owned { owner, directory };
        let lock = create_locked(&owned.directory.join("lock")).map_err(|error| {
            let _ = path::remove_path(&owned.directory);
            failed(error)
        })?;
        Ok((owned, lock))
    }

    /// Removes what dead owners left: their control groups through `remove_groups`, then their
    /// directories. One that cannot be removed now is left for the next sweep.
    pub(crate) fn sweep(&self, remove_groups: impl Fn(&[PathBuf]) -> Result<()>) -> Result<()> {
        let failed =
            |error: io::Error| Error::os("sweep the store", self.root.display().to_string(), error);
        let attached = self.root.join("attached");
        if fs::read_dir(&attached).map_err(failed)?.next().is_none() {
            return Ok(());
        }
        let _sweeping = self.lock(FlockOperation::LockExclusive).map_err(failed)?;
        for entry in fs::read_dir(&attached).map_err(failed)? {
            let directory = entry.map_err(failed)?.path();
            if lives(&directory) {
                continue;
            }
            let groups = match fs::read_to_string(directory.join("groups")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => continue,
                groups => groups.unwrap_or_default(),
            };
            let groups: Vec<PathBuf> = groups.lines().map(PathBuf::from).collect();
            if remove_groups(&groups).is_ok() {
                let _ = path::remove_path(&directory);
            }
        }
        Ok(())
    }

    fn lock(&self, operation: FlockOperation) -> io::Result<File> {
        let path = self.root.join("lock");
        let file = match File::options().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::options().create(true).truncate(false).write(true).open(path)?;
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                file
            }
            result => result?,
        };
        loop {
            match rustix::fs::flock(&file, operation) {
                Err(Errno::INTR) => {}
                result => return result.map(|()| file).map_err(Into::into),
            }
        }
    }

    fn check_version(&self) -> Result<()> {
        let path = self.root.join("store.json");
        let failed = |error: io::Error| Error::os("read", path.display().to_string(), error);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.write_version() {
                // Another process was quicker, and has made more than the version by now.
                Err(_) if path.exists() => fs::read(&path),
                result => return result,
            },
            result => result,
        };
        let bytes = bytes.map_err(failed)?;
        let subject = self.root.display().to_string();
        let invalid = Error::new(ErrorKind::InvalidData, "open the store", subject);
        match serde_json::from_slice::<StoreFile>(&bytes) {
            Ok(file) if file.version == VERSION && file.xattrs == "trusted" => Ok(()),
            Ok(file) => Err(invalid
                .cause(format!(
                    "it has version {} with {} xattrs, and this skep reads version {VERSION} with \
                     trusted ones",
                    file.version, file.xattrs
                ))
                .fix("use another directory, or the skep that made it")),
            Err(error) => Err(invalid.with_source(error).fix("use another directory")),
        }
    }

    fn write_version(&self) -> Result<()> {
        let failed = |error: io::Error| {
            Error::os("write", self.root.join("store.json").display().to_string(), error)
        };
        let empty = fs::read_dir(&self.root).map_err(failed)?.all(|entry| {
            // Another process may be at the same point.
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("store.json"))
        });
        if !empty {
            let subject = self.root.display().to_string();
            return Err(Error::new(ErrorKind::InvalidData, "open the store", subject)
                .cause("the directory is not empty and not a store of skep's")
                .fix("use another directory"));
        }
        let file = StoreFile { version: VERSION, xattrs: "trusted".into() };
        let text = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        let beside = self.root.join(format!("store.json.{}", crate::id::random()));
        let private = fs::Permissions::from_mode(0o600);
        let written = fs::write(&beside, text)
            .and_then(|()| fs::set_permissions(&beside, private))
            .and_then(|()| fs::rename(&beside, self.root.join("store.json")));
        written.map_err(|error| {
            let _ = fs::remove_file(&beside);
            failed(error)
        })
    }
}

/// Makes `path` for its owner alone, with the directories above it; one that is there is well.
///
/// The modes are set explicitly: the host's umask may take what the owner needs, and is not ours to
/// change.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Whether the keeper that owns `directory` still holds its lock.
fn lives(directory: &Path) -> bool {
    match File::open(directory.join("lock")) {
        Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
        // What cannot be looked at (no file descriptor, no memory) may well live.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn create_locked(path: &Path) -> io::Result<OwnedFd> {
    let file = File::create_new(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file.into())
}

fn refuse_network(root: &Path) -> Result<()> {
    let subject = root.display().to_string();
    let stat = rustix::fs::statfs(root)
        .map_err(|errno| Error::os("open the store", subject.clone(), errno))?;
    match network(stat.f_type as i64) {
        None => Ok(()),
        Some(name) => Err(Error::new(ErrorKind::Unsupported, "open the store", subject)
            .cause(format!("it is on {name}, whose locks and overlays do not serve"))
            .fix("use a directory on a local file system")),
    }
}

/// The name of the network file system whose number statfs(2) gives; `None` for any other.
fn network(magic: i64) -> Option<&'static str> {
    const NETWORKS: [(i64, &str); 6] = [
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x5346_414f, "AFS"),
        (0x00c3_6400, "Ceph"),
    ];
    // Sign-extended where the kernel's type is narrower.
    let magic = magic & 0xffff_ffff;
    NETWORKS.iter().find(|(known, _)| magic == *known).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_twice_and_refuses_another_version() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        Store::open(&root).unwrap();
        Store::open(&root).unwrap();
        fs::write(root.join("store.json"), r#"{"version":99,"xattrs":"trusted"}"#).unwrap();
        let error = Store::open(&root).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("version 99"), "{error}");
    }

    #[test]
    fn does_not_adopt_a_directory_with_something_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.txt"), "mine").unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let named = [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB")];
        for (magic, name) in named {
            assert_eq!(network(magic), Some(name));
            assert_eq!(network(i64::from(magic as u32 as i32)), Some(name), "sign-extended");
        }
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network(local), None);
        }
    }

    #[test]
    fn sweeps_the_dead_and_only_them() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let (living, _lock) = store.claim().unwrap();
        let (dead, lock) = store.claim().unwrap();
        fs::create_dir_all(dead.directory.join("c/upper/x")).unwrap();
        fs::write(dead.directory.join("groups"), "/a\n/b\n").unwrap();
        drop(lock);
        let seen = std::cell::RefCell::new(Vec::new());
        store
            .sweep(|groups| {
                seen.borrow_mut().extend_from_slice(groups);
                Ok(())
            })
            .unwrap();
        assert_eq!(*seen.borrow(), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(living.directory.exists());
        assert!(!dead.directory.exists());
    }

    #[test]
    fn an_owner_that_cannot_be_looked_at_lives() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let (owned, _lock) = store.claim().unwrap();
        // Fails to open, as it does without a free file descriptor, and is there.
        fs::remove_file(owned.directory.join("lock")).unwrap();
        std::os::unix::fs::symlink("lock", owned.directory.join("lock")).unwrap();
        store.sweep(|_| Ok(())).unwrap();
        assert!(owned.directory.exists());
    }
}
