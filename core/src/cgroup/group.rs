//! One group: a directory in each hierarchy that its limits and its account need.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{self, OFlags};
use rustix::io::Errno;

use super::controllers::Controllers;
use super::limits::Limits;
use super::parent::Shared;
use super::place::{MODE, Place};
use super::settings::Version;
use super::{file, tree};
use crate::{Error, Result};

/// How long [`Group::remove`] and [`Group::kill`] wait for processes that are on their way out.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for a drop, which cannot report anything and should not stall its thread.
const PATIENCE_OF_DROP: Duration = Duration::from_millis(50);

/// A cgroup with its limits; made by [`Parent::create`](super::Parent::create).
///
/// Holds no file descriptors of its own, so that a thousand groups do not need thousands of them.
/// Dropping it removes the group if no process is left in it, and kills nothing.
#[derive(Debug)]
pub struct Group {
    pub(super) shared: Arc<Shared>,
    pub(super) name: String,
    /// In which of the places it was made: a bit for each.
    made: u32,
}

/// The files through which one process gets into a [`Group`].
///
/// Keep it only until the process has been started.
#[derive(Debug)]
pub struct Entry {
    tasks: Vec<OwnedFd>,
    directory: Option<OwnedFd>,
}

impl Entry {
    /// Files into each of which the process itself writes `0`, by one write(2), while it has a
    /// single thread.
    ///
    /// They are v1's `tasks`: the kernel moves a thread that moves itself without its global lock.
    /// Through `cgroup.procs`, or for another process, the lock makes the writer wait for an RCU
    /// grace period: 8 ms, measured, where this takes 0.01 to 0.03.
    pub fn tasks(&self) -> &[OwnedFd] {
        &self.tasks
    }

    /// The v2 group's directory, for `clone3` with `CLONE_INTO_CGROUP`.
    ///
    /// Where that is not to be had (before Linux 5.7), write `0` into `cgroup.procs` below it.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(|directory| directory.as_fd())
    }
}

impl Group {
    /// See [`Parent::create`](super::Parent::create).
    pub(super) fn create(shared: Arc<Shared>, name: &str, limits: &Limits) -> Result<Self> {
        let needed = limits.controllers();
        let mut group = Group { shared: Arc::clone(&shared), name: name.to_owned(), made: 0 };
        for (index, place) in shared.places.iter().enumerate() {
            let required = place.controllers.meets(needed);
            if !required && !shared.accounts_in(place) {
                continue;
            }
            match fs::mkdirat(&place.directory, name, MODE) {
                Ok(()) => group.made |= 1 << index,
                Err(errno) if required || errno == Errno::EXIST => {
                    let subject = place.path.join(name).display().to_string();
                    return Err(Error::os("create cgroup", subject, errno));
                }
                // No limit was asked for here, so nothing is lost but a figure in the usage.
                Err(_) => continue,
            }
            group.apply(place, limits)?;
        }
        Ok(group)
    }

    fn apply(&self, place: &Place, limits: &Limits) -> Result<()> {
        for (file, value) in place.version.settings(limits, place.controllers, place.swap) {
            file::write(&place.directory, self.file(file), &value).map_err(|errno| {
                let operation = format!("write {value} into {file} of cgroup");
                Error::os(operation, self.name.as_str(), errno)
            })?;
        }
        Ok(())
    }

    /// Opens the ways into the group, for one process or several.
    ///
    /// # Errors
    /// `NotFound` if somebody else removed the group; `ResourceExhausted` without a free descriptor.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry { tasks: Vec::with_capacity(4), directory: None };
        for place in self.places() {
            let opened = match place.version {
                Version::V1 => file::open(&place.directory, self.file("tasks"), OFlags::WRONLY)
                    .map(|tasks| entry.tasks.push(tasks)),
                Version::V2 => file::open_directory(&place.directory, self.name.as_str())
                    .map(|directory| entry.directory = Some(directory)),
            };
            opened.map_err(|errno| Error::os("enter cgroup", self.name.as_str(), errno))?;
        }
        Ok(entry)
    }

    /// Kills every process in the group, and in groups made inside it, and waits until they are
    /// gone: two seconds at most.
    ///
    /// v2 does it at one stroke (`cgroup.kill`, since Linux 5.14). Otherwise processes are killed
    /// until none is left; so that they do not fork faster than that, a v1 group with a limit of
    /// pids takes no new ones from then on. A group that exists in no hierarchy knows no processes.
    ///
    /// # Errors
    /// `TimedOut` if processes are left: in uninterruptible sleep, or invisible from this pid
    /// namespace.
    pub fn kill(&self) -> Result<()> {
        let error = |errno| Error::os("kill processes of cgroup", self.name.as_str(), errno);
        let deadline = Instant::now() + PATIENCE;
        for place in self.places() {
            if place.version == Version::V1 && place.controllers.meets(Controllers::PIDS) {
                let _ = file::write(&place.directory, self.file("pids.max"), "0");
            }
        }
        // One hierarchy is enough: all have the same processes. v2 first, for its single stroke.
        let place = self.places().max_by_key(|place| place.version == Version::V2);
        let Some(place) = place else { return Ok(()) };
        tree::kill(&place.directory, &self.name, deadline).map_err(error)
    }

    /// Removes the group, and groups made inside it, from every hierarchy.
    ///
    /// Processes that are just exiting are waited for: two seconds at most. A group that somebody
    /// else removed counts as removed.
    ///
    /// # Errors
    /// `InUse` if processes are left in it. The other hierarchies are cleared nevertheless.
    pub fn remove(mut self) -> Result<()> {
        self.remove_within(PATIENCE)
    }

    pub(super) fn remove_within(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut outcome = Ok(());
        for place in self.places() {
            if let Err(errno) = tree::remove(&place.directory, &self.name, deadline) {
                let error = Error::os("remove cgroup", self.name.as_str(), errno);
                outcome = outcome.and(Err(match errno {
                    Errno::BUSY => error
                        .cause(format!("processes are left in {}", place.path.display()))
                        .fix("kill them first"),
                    _ => error,
                }));
            }
        }
        self.made = 0;
        outcome
    }

    /// Leaves the group where it is: returns its directories, for [`remove`](super::remove) by
    /// whoever comes after. The directories above it stay for good, as runc leaves them.
    pub fn keep(mut self) -> Vec<PathBuf> {
        let directories = self.directories();
        self.made = 0;
        directories
    }

    /// The absolute paths of its directories.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.places().map(|place| place.path.join(&self.name)).collect()
    }

    /// The v1 hierarchies in which the group exists, by their customary names: `cpu,cpuacct`.
    pub(crate) fn v1_hierarchies(&self) -> Vec<String> {
        let name = |place: &Place| {
            let top = place.path.ancestors().nth(self.shared.depth())?;
            Some(top.file_name()?.to_str()?.to_owned())
        };
        let v1 = self.places().filter(|place| place.version == Version::V1);
        // One mounted somewhere unusual is not shown.
        v1.filter_map(name).filter(|name| !Controllers::parse(name).is_empty()).collect()
    }

    /// The places in which the group exists.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        let places = self.shared.places.iter().enumerate();
        places.filter(|(index, _)| self.made & (1 << index) != 0).map(|(_, place)| place)
    }

    /// The group's control file `name`, relative to a place.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.made != 0 && self.shared.is_ours() {
            let _ = self.remove_within(PATIENCE_OF_DROP); // What is left is swept later.
        }
    }
}

impl Shared {
    /// Whether a group is made in `place` even without limits, for the sake of its figures.
    ///
    /// Measured on v1, a group costs 15-60 us in each hierarchy (mkdir, open, attach, rmdir) of a
    /// start of 2 ms. So there is one for memory and one for CPU time, and `pids` and `cpu` only
    /// with a limit. CPU time could come from wait4(2) for nothing, but without the children that
    /// nobody waited for, and only at the end.
    fn accounts_in(&self, place: &Place) -> bool {
        let accounts = |place: &Place| place.controllers.meets(Controllers::CPUACCT);
        match place.version {
            Version::V1 => accounts(place) || place.controllers.meets(Controllers::MEMORY),
            // Every v2 group counts CPU time; on a hybrid system v1 has done that already.
            Version::V2 => {
                place.controllers.meets(Controllers::MEMORY) || !self.places.iter().any(accounts)
            }
        }
    }
}
