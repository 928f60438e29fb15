//! Limits and accounts for groups of processes: cgroup v1, v2, and both at once.
//!
//! In goes a [`Limits`], out comes a [`Group`]; a process gets into it through its [`Entry`], and
//! what it used is its [`Usage`]. Which hierarchy has which controller is found out once, by
//! [`Cgroups::detect`]; a [`Parent`] holds a directory open in each, so that making a group is a
//! handful of short system calls and no path is looked up twice.
//!
//! ```no_run
//! use skep::cgroup::{Bytes, Cgroups, Limits, Memory, MemorySwap};
//!
//! let parent = Cgroups::detect()?.parent("skep/8c1f")?;
//! let memory = Memory::new(Bytes::mib(64), MemorySwap::Disabled)?;
//! let limits = Limits { memory: Some(memory), ..Limits::default() };
//! let group = parent.create("web", &limits)?;
//! // ... start a process through group.entry()?, and wait for it ...
//! println!("{:?}", group.usage()?);
//! group.remove()?;
//! # Ok::<(), skep::Error>(())
//! ```
//!
//! A limit that cannot be enforced is an error that names the controller; where nothing is limited
//! nothing fails, even without any cgroups. This module starts and waits for no process, does not
//! mount anything, never moves the process it is in, and does not talk to systemd.
//!
//! Sources: <https://docs.kernel.org/admin-guide/cgroup-v2.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v1/index.html>

mod controllers;
mod file;
mod group;
mod limits;
mod mounts;
mod parent;
mod place;
mod settings;
mod sweep;
mod tree;
mod usage;

#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

pub use group::{Entry, Group};
pub use limits::{Bytes, Cpus, Limits, Memory, MemorySwap};
pub use parent::Parent;
pub use sweep::{remove, signal, sweep};
pub use usage::{CpuTime, Usage};

use crate::{Error, ErrorKind, Result};
use mounts::Hierarchy;
use settings::Version;

/// The component of a path that marks a directory as ours: to be swept, or removed when empty.
const MARK: &str = "skep";

/// The hierarchies of this machine, as they were mounted when it was made.
#[derive(Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// The v2 group this process is in, from the root of its cgroup namespace.
    own: Option<PathBuf>,
}

/// Which interfaces the [`Cgroups`] of this machine speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// No hierarchy is mounted: nothing can be limited.
    None,
    /// Hierarchies of their own for each controller.
    V1,
    /// One hierarchy for all controllers.
    V2,
    /// A v2 hierarchy beside those of v1, which have most or all controllers.
    Hybrid,
}

impl Cgroups {
    /// Finds the hierarchies, from `/proc/self/mountinfo` and `/proc/self/cgroup`.
    ///
    /// # Errors
    /// Only if `/proc` is not there. That there are no cgroups is no error here.
    pub fn detect() -> Result<Self> {
        let read = |path| std::fs::read(path).map_err(|error| Error::os("read", path, error));
        let mountinfo = read("/proc/self/mountinfo")?;
        // It exists only with cgroups.
        let own = read("/proc/self/cgroup").unwrap_or_default();
        Ok(Self::from_proc(&mountinfo, &own))
    }

    /// The same from given texts.
    fn from_proc(mountinfo: &[u8], own: &[u8]) -> Self {
        Cgroups { hierarchies: mounts::open_all(mountinfo), own: own_group(own) }
    }

    /// Which interfaces there are.
    pub fn layout(&self) -> Layout {
        let has = |version| self.hierarchies.iter().any(|one| one.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (false, false) => Layout::None,
            (true, false) => Layout::V1,
            (false, true) => Layout::V2,
            (true, true) => Layout::Hybrid,
        }
    }

    /// Makes the directories `path` (as in `skep/8c1f`), in every hierarchy of use, for groups to be
    /// made in; those that exist are used. Several threads and processes may do so at once.
    ///
    /// They stand below the top of each hierarchy as it is mounted here. On v2, where the top is not
    /// ours to use, they stand below the group this process is in or the one above it, whichever
    /// has been delegated.
    ///
    /// What cannot be made or switched on is remembered, and reported when a limit needs it.
    ///
    /// # Errors
    /// `InvalidInput` if `path` is not one or more plain file names with slashes between.
    pub fn parent(&self, path: &str) -> Result<Parent> {
        Parent::make(self, path)
    }

    /// Every directory that [`parent`](Self::parent) may make, as absolute paths: recorded for
    /// [`sweep`] before the first is made, so that a process killed meanwhile leaves none behind
    /// unknown.
    pub fn candidates(&self, path: &str) -> Vec<PathBuf> {
        Parent::candidates(self, path)
    }

    /// Makes one group at a path of somebody else's choosing, as the `cgroupsPath` of a runtime
    /// spec: exactly there below the top of each hierarchy, whether it begins with a slash or not.
    /// Directories above it that exist are used, and left as they are.
    ///
    /// # Errors
    /// As [`parent`](Self::parent) and [`Parent::create`].
    pub fn group_at(&self, path: &str, limits: &Limits) -> Result<Group> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        Parent::exact(self, above)?.create(name, limits)
    }
}

/// The v2 group in the text of `/proc/self/cgroup`.
fn own_group(text: &[u8]) -> Option<PathBuf> {
    let text = std::str::from_utf8(text).ok()?;
    let path = Path::new(text.lines().find_map(|line| line.strip_prefix("0::"))?);
    // A group outside of our cgroup namespace is shown with "..": it cannot be seen from here.
    let visible = path.components().all(|component| component != Component::ParentDir);
    visible.then(|| path.to_path_buf())
}

/// Names of groups must not lead out of their directory. (That of a control file is taken already.)
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
    {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "name a cgroup", format!("{name:?}"))
        .cause("it is not a plain name")
        .fix("use letters, digits, '-', '_' and '.', at most 255, a letter or digit first"))
}
