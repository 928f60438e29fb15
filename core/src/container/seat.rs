//! What an engine's containers share: a keeper, and the directories and groups it owns.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{Mode, OFlags};

use super::roots::Roots;
use crate::cgroup::{self, Cgroups};
use crate::image::{Digest, Image, Lease};
use crate::process::keeper::{Birth, Keeper};
use crate::store::{Owned, Store};
use crate::sys::{fork, path};
use crate::{Error, ErrorKind, Result};

/// What is shared by an engine and everything that it has made.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) cgroups: Cgroups,
    /// The host that opened the engine; in a forked copy of it nothing works.
    host: fork::Process,
    seat: Mutex<Option<Arc<Seat>>>,
}

/// A living keeper with what it owns. Dropping the last handle ends the keeper and removes the rest.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) groups: cgroup::Parent,
    pub(crate) owned: Owned,
    pub(super) roots: Roots,
    leases: Mutex<HashMap<Digest, Weak<Lease>>>,
    host: fork::Process,
}

impl Shared {
    pub(crate) fn new(store: Store, cgroups: Cgroups) -> Shared {
        Shared { store, cgroups, host: fork::Process::current(), seat: Mutex::new(None) }
    }

    /// Fails in a forked copy of the host.
    pub(crate) fn check_host(&self, operation: &'static str) -> Result<()> {
        if self.host.is_current() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidState, operation, "a container")
            .cause("this process is a forked copy of the one that opened the engine")
            .fix("open an engine in this process"))
    }

    /// The keeper, which is started if there is none.
    pub(crate) fn seat(&self) -> Result<Arc<Seat>> {
        let mut place = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seat) = &*place {
            return Ok(Arc::clone(seat));
        }
        let seat = Arc::new(Seat::new(&self.store, &self.cgroups, self.host)?);
        *place = Some(Arc::clone(&seat));
        Ok(seat)
    }

    /// Forgets a keeper that is gone, so that the next start makes another.
    pub(crate) fn forget(&self, lost: &Arc<Seat>) {
        let mut place = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|seat| Arc::ptr_eq(seat, lost)) {
            *place = None;
        }
    }
}

impl Seat {
    fn new(store: &Store, cgroups: &Cgroups, host: fork::Process) -> Result<Seat> {
        let (owned, lock) = store.claim()?;
        let directory = owned.directory.clone();
        Self::furnished(store, cgroups, host, owned, lock).inspect_err(|_| {
            let _ = path::remove_path(&directory);
        })
    }

    fn furnished(
        store: &Store,
        cgroups: &Cgroups,
        host: fork::Process,
        owned: Owned,
        lock: OwnedFd,
    ) -> Result<Seat> {
        // Before they are made: from here on a sweep finds what this leaves if it ends halfway.
        let path = format!("skep/{}", owned.owner);
        record(&owned, &cgroups.candidates(&path))?;
        let groups = cgroups.parent(&path)?;
        let directories = groups.directories();
        let above = parents(&directories)?;
        let above: Vec<_> = above.iter().map(AsFd::as_fd).collect();
        let birth = Birth { lock, owner: &owned.owner, sweep: &above, store: store.root() };
        let keeper = Arc::new(Keeper::birth(birth)?);
        let (roots, leases) = (Roots::default(), Mutex::default());
        Ok(Seat { keeper, groups, owned, roots, leases, host })
    }

    /// A lease of `image`, one for all of its containers here: each is an open file.
    pub(super) fn lease(&self, image: &Image) -> Result<Arc<Lease>> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = leases.get(image.id()).and_then(Weak::upgrade) {
            return Ok(lease);
        }
        leases.retain(|_, lease| lease.strong_count() > 0);
        let lease = Arc::new(image.lease()?);
        leases.insert(*image.id(), Arc::downgrade(&lease));
        Ok(lease)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.host.is_current() {
            self.keeper.end();
            // The groups are removed by their own drop.
            let _ = path::remove_path(&self.owned.directory);
        }
    }
}

/// Writes down which groups belong to the owner, for the sweep after a crash.
fn record(owned: &Owned, directories: &[PathBuf]) -> Result<()> {
    let lines: String = directories.iter().map(|path| format!("{}\n", path.display())).collect();
    let path = owned.directory.join("groups");
    std::fs::write(&path, lines)
        .map_err(|error| Error::os("write", path.display().to_string(), error))
}

/// The directories in which the owner's groups stand.
fn parents(directories: &[PathBuf]) -> Result<Vec<OwnedFd>> {
    let above = directories.iter().filter_map(|directory| directory.parent());
    above
        .map(|path| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| Error::os("open", path.display().to_string(), errno))
        })
        .collect()
}
