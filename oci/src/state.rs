//! What is remembered of a container: a directory below `--root`, `state.json` and a FIFO in it.
//!
//! Whoever looks at a container or changes it holds a flock on the directory. The state is written
//! beside and renamed; the FIFO `go` is there from the creation to the start.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::process::Process;

/// The contents of `state.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    pub(crate) oci_version: String,
    /// The first process, once it stands.
    pub(crate) init: Option<Process>,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    pub(crate) annotations: HashMap<String, String>,
    /// The control groups, to be removed with the container.
    pub(crate) groups: Vec<PathBuf>,
}

impl State {
    /// A handle of the first process, if there is one that has not ended.
    pub(crate) fn open(&self) -> Result<Option<OwnedFd>> {
        self.init.map_or(Ok(None), Process::open)
    }
}

/// The words of the OCI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Whoever was making it was killed: as long as it is being made, its directory is locked.
    Creating,
    Created,
    Running,
    Stopped,
}

/// A container's directory, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Entry {
    /// Makes the directory of a new container.
    pub(crate) fn make(root: &Path, id: &str) -> Result<Entry> {
        let path = path(root, id)?;
        DirBuilder::new().recursive(true).mode(0o711).create(root)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(format!("container with given ID already exists: {id}").into());
            }
            made => made?,
        }
        Self::lock(path)?.ok_or_else(|| format!("container {id} has been deleted").into())
    }

    /// Opens the directory of container `id`.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Entry> {
        Self::find(root, id)?.ok_or_else(|| format!("container does not exist: {id}").into())
    }

    /// As [`open`](Self::open); `None` if there is none.
    pub(crate) fn find(root: &Path, id: &str) -> Result<Option<Entry>> {
        Self::lock(path(root, id)?)
    }

    fn lock(path: PathBuf) -> Result<Option<Entry>> {
        let lock = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        rustix::io::retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))?;
        // Deleted while we waited; there may be another one with the name already.
        let same = fs::metadata(&path).is_ok_and(|now| {
            lock.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (now.dev(), now.ino()))
        });
        Ok(same.then_some(Entry { path, _lock: lock }))
    }

    /// Makes the FIFO, and opens it for both directions: so it is never at its end.
    pub(crate) fn make_go(&self) -> Result<OwnedFd> {
        let path = self.go();
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Sends the byte that starts the command.
    pub(crate) fn give_go(&self) -> Result<()> {
        // Without a reader, the container has ended, and opening fails.
        let flags = OFlags::NONBLOCK.bits() as i32;
        let fifo = OpenOptions::new().write(true).custom_flags(flags).open(self.go());
        let mut fifo = fifo.map_err(|_| "cannot start a container that has stopped")?;
        fifo.write_all(&[0])?;
        fs::remove_file(self.go())?;
        Ok(())
    }

    pub(crate) fn save(&self, state: &State) -> Result<()> {
        let beside = self.path.join("state.json.new");
        fs::write(&beside, serde_json::to_vec(state)?)?;
        fs::rename(&beside, self.path.join("state.json"))?;
        Ok(())
    }

    /// The state, unless whoever was to write it was killed before.
    pub(crate) fn load(&self) -> Result<Option<State>> {
        match fs::read(self.path.join("state.json")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => Ok(Some(serde_json::from_slice(&text?)?)),
        }
    }

    pub(crate) fn status(&self, state: Option<&State>) -> Result<Status> {
        let Some(state) = state.filter(|state| state.init.is_some()) else {
            return Ok(Status::Creating);
        };
        Ok(match state.open()? {
            None => Status::Stopped,
            Some(_) if self.go().exists() => Status::Created,
            Some(_) => Status::Running,
        })
    }

    pub(crate) fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.path)?)
    }

    fn go(&self) -> PathBuf {
        self.path.join("go")
    }
}

/// An identifier is a file name, and looks like one of runc's.
fn path(root: &Path, id: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(plain) {
        return Err(format!("invalid container ID format: {id:?}").into());
    }
    Ok(root.join(id))
}
