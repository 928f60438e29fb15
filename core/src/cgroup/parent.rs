//! The parent of one owner's groups, in every hierarchy at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::controllers::Controllers;
use super::file;
use super::group::Group;
use super::limits::Limits;
use super::mounts::Hierarchy;
use super::place::{Place, Refusal};
use super::settings::Version;
use super::{Cgroups, check_name};
use crate::sys::fork;
use crate::{Error, ErrorKind, Result};

/// Directories below which the groups of one owner are made; see [`Cgroups::parent`].
///
/// Cheap to clone. The directories are removed with the last clone and the last [`Group`] in them,
/// if they are empty.
#[derive(Debug, Clone)]
pub struct Parent {
    shared: Arc<Shared>,
}

/// What a [`Parent`] and its groups hold together.
#[derive(Debug)]
pub(super) struct Shared {
    components: Vec<String>,
    pub(super) places: Vec<Place>,
    refusals: Vec<Refusal>,
    /// Where v2 is mounted, for messages.
    v2: Option<PathBuf>,
    /// Whose handle it is: a forked copy must not remove the original's directories.
    host: fork::Process,
}

impl Parent {
    /// See [`Cgroups::parent`].
    pub(super) fn make(cgroups: &Cgroups, path: &str) -> Result<Self> {
        let components: Vec<String> = path.split('/').map(String::from).collect();
        for component in &components {
            check_name(component)?;
        }
        let mut shared = Shared {
            components,
            places: Vec::new(),
            refusals: Vec::new(),
            v2: None,
            host: fork::Process::current(),
        };
        for hierarchy in &cgroups.hierarchies {
            let (place, refusals) = match hierarchy.version {
                Version::V1 => Place::make(hierarchy, &shared.components),
                Version::V2 => {
                    shared.v2 = Some(hierarchy.path.clone());
                    make_v2(hierarchy, cgroups.own.as_deref(), &shared.components)
                }
            };
            shared.places.extend(place);
            shared.refusals.extend(refusals);
        }
        Ok(Parent { shared: Arc::new(shared) })
    }

    /// The absolute paths of the directories that [`make`](Self::make) uses some of.
    pub(super) fn candidates(cgroups: &Cgroups, path: &str) -> Vec<PathBuf> {
        let mut candidates = Vec::new();
        for hierarchy in &cgroups.hierarchies {
            candidates.push(hierarchy.path.join(path));
            if hierarchy.version == Version::V2 {
                let own = delegated(hierarchy, cgroups.own.as_deref());
                candidates.extend(own.map(|group| hierarchy.path.join(group).join(path)));
            }
        }
        candidates
    }

    /// Makes the group `name` with `limits`, ready to be [entered](Group::entry).
    ///
    /// It is made in the hierarchies that the limits need, and in those of memory and CPU time, so
    /// that there is something to report afterwards. Where these cannot be had and nothing is
    /// limited, it goes without; it may then exist in no hierarchy at all.
    ///
    /// On an error nothing is left behind.
    ///
    /// # Errors
    /// `Unsupported` if a needed controller, or swap accounting for a swap limit, is not there;
    /// `PermissionDenied` if it is there and may not be used; `AlreadyExists`; `InvalidInput` for a
    /// name that is no plain file name; `ResourceExhausted` if the kernel makes no more groups.
    pub fn create(&self, name: &str, limits: &Limits) -> Result<Group> {
        check_name(name)?;
        self.shared.check(name, limits)?;
        Group::create(Arc::clone(&self.shared), name, limits)
    }

    /// The absolute paths of the directories, to be recorded for [`sweep`](super::sweep).
    pub fn directories(&self) -> Vec<PathBuf> {
        let paths = self.shared.places.iter().map(|place| place.path.clone());
        paths.collect()
    }

    /// Removes the directories.
    ///
    /// Dropping the parent does the same without a word.
    ///
    /// # Errors
    /// `InUse` if there are groups left in them; the other directories are removed nevertheless.
    pub fn remove(self) -> Result<()> {
        self.shared.remove()
    }
}

impl Shared {
    /// The group handles are inert in a process that forked off the one that made them.
    pub(super) fn is_ours(&self) -> bool {
        self.host.is_current()
    }

    /// Fails if `limits` cannot be enforced here.
    fn check(&self, name: &str, limits: &Limits) -> Result<()> {
        let usable = |set, place: &Place| set | place.controllers;
        let usable = self.places.iter().fold(Controllers::NONE, usable);
        if let Some((word, controller)) = (limits.controllers() - usable).iter().next() {
            return Err(self.missing(name, word, controller));
        }
        let swapless = |place: &Place| place.controllers.meets(Controllers::MEMORY) && !place.swap;
        let names_swap = limits.memory.is_some_and(|memory| memory.names_swap_limit());
        if names_swap && self.places.iter().any(swapless) {
            return Err(Error::new(ErrorKind::Unsupported, "limit swap of", name)
                .cause("this kernel does not account swap to cgroups")
                .fix("boot with swapaccount=1, or give no swap limit"));
        }
        Ok(())
    }

    fn missing(&self, name: &str, word: &str, controller: Controllers) -> Error {
        let operation = format!("limit {} of", if word == "cpu" { "cpus" } else { word });
        let refusal = self.refusals.iter().find(|refusal| refusal.controllers.meets(controller));
        if let Some(Refusal { path, errno, .. }) = refusal {
            let error = Error::os(operation, name, *errno).cause(format!(
                "the cgroup controller {word:?} cannot be used in {}: {errno}",
                path.display()
            ));
            return explain(error, *errno);
        }
        let error = Error::new(ErrorKind::Unsupported, operation, name);
        match &self.v2 {
            Some(path) => error
                .cause(format!(
                    "the cgroup controller {word:?} is neither mounted nor in {}",
                    path.join("cgroup.controllers").display()
                ))
                .fix(format!(
                    "have it delegated (cgroup.subtree_control of the group above), or boot with \
                     cgroup_enable={word}"
                )),
            None => error
                .cause(format!("the cgroup controller {word:?} is not mounted"))
                .fix("mount cgroup2 on /sys/fs/cgroup"),
        }
    }

    fn remove(&self) -> Result<()> {
        let mut outcome = Ok(());
        for place in &self.places {
            if let Err(errno) = place.remove(&self.components) {
                let subject = place.path.display().to_string();
                outcome = outcome.and(Err(Error::os("remove cgroup", subject, errno)));
            }
        }
        outcome
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = self.remove(); // What is still in use is swept by the next owner.
        }
    }
}

/// The first of the groups we might use below which every controller can be had; else the one with
/// most. The top comes first (root on a host), then our own group and the one above it (delegated
/// by systemd, which with `DelegateSubgroup=` puts us one below the delegated one).
fn make_v2(
    top: &Hierarchy,
    own: Option<&Path>,
    components: &[String],
) -> (Option<Place>, Vec<Refusal>) {
    let (mut best, mut refusals) = Place::make(top, components);
    for group in delegated(top, own) {
        if best.is_some() && refusals.is_empty() {
            break;
        }
        let Some(base) = top.at(group) else { continue };
        let (place, other_refusals) = Place::make(&base, components);
        if count(&place) > count(&best) {
            remove(best, components);
            (best, refusals) = (place, other_refusals);
        } else {
            remove(place, components);
        }
    }
    (best, refusals)
}

/// Our own group and the one above it, relative to the top.
fn delegated<'a>(top: &Hierarchy, own: Option<&'a Path>) -> impl Iterator<Item = &'a Path> {
    let relative = own.and_then(|own| own.strip_prefix(&top.root).ok());
    relative.into_iter().flat_map(|own| own.ancestors().take(2))
}

/// A place without controllers is still more than none: it counts CPU time and kills.
fn count(place: &Option<Place>) -> usize {
    place.as_ref().map_or(0, |place| 1 + place.controllers.iter().count())
}

fn remove(place: Option<Place>, components: &[String]) {
    if let Some(place) = place {
        let _ = place.remove(components); // Another process may be trying the same.
    }
}

impl Hierarchy {
    /// The group at `relative` as a base of its own.
    fn at(&self, relative: &Path) -> Option<Hierarchy> {
        if relative.as_os_str().is_empty() {
            return None; // the top itself
        }
        let directory = file::open_directory(&self.directory, relative).ok()?;
        let list = file::read(&directory, "cgroup.controllers").ok()??;
        Some(Hierarchy {
            version: self.version,
            controllers: Controllers::parse(&list),
            path: self.path.join(relative),
            root: self.root.join(relative),
            directory,
        })
    }
}

fn explain(error: Error, errno: rustix::io::Errno) -> Error {
    use rustix::io::Errno;
    match errno {
        Errno::BUSY => error.with_kind(ErrorKind::Unsupported).fix(
            "that group has processes of its own; start this program in a subgroup of a \
             delegated one (systemd: Delegate=yes, DelegateSubgroup=)",
        ),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => error.fix(
            "run as root, or have a cgroup v2 subtree delegated to this user (systemd: \
             Delegate=yes)",
        ),
        _ => error,
    }
}
