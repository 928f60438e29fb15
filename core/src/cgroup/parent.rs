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
    /// The path is somebody else's choice: what stood there before us stays.
    exact: bool,
    /// Whose handle it is: a forked copy must not remove the original's directories.
    host: fork::Process,
}

impl Parent {
    /// See [`Cgroups::parent`].
    pub(super) fn make(cgroups: &Cgroups, path: &str) -> Result<Self> {
        Self::make_at(cgroups, path.split('/').map(String::from).collect(), false)
    }

    /// See [`Cgroups::group_at`].
    pub(super) fn exact(cgroups: &Cgroups, path: &str) -> Result<Self> {
        let components = path.split('/').filter(|component| !component.is_empty());
        Self::make_at(cgroups, components.map(String::from).collect(), true)
    }

    fn make_at(cgroups: &Cgroups, components: Vec<String>, exact: bool) -> Result<Self> {
        for component in &components {
            check_name(component)?;
        }
        let mut shared = Shared {
            components,
            places: Vec::new(),
            refusals: Vec::new(),
            v2: None,
            exact,
            host: fork::Process::current(),
        };
        for hierarchy in &cgroups.hierarchies {
            let (place, refusals) = match hierarchy.version {
                Version::V1 => Place::make(hierarchy, &shared.components),
                Version::V2 if exact => {
                    shared.v2 = Some(hierarchy.path.clone());
                    Place::make(hierarchy, &shared.components)
                }
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
    /// Dropping the last handle does the same without a word.
    ///
    /// # Errors
    /// `InUse` if another clone of this handle or one of its groups is held: then nothing is
    /// removed yet. Also if somebody else made groups in them: then those that are empty are gone.
    pub fn remove(self) -> Result<()> {
        match Arc::try_unwrap(self.shared) {
            Ok(shared) => shared.remove(),
            Err(shared) => {
                let subject = shared.components.join("/");
                Err(Error::new(ErrorKind::InUse, "remove cgroup", subject)
                    .cause("its handle or groups in it are still held")
                    .fix("remove or drop them first"))
            }
        }
    }
}

impl Shared {
    /// The directories that lead from the top of a hierarchy to the groups.
    pub(super) fn depth(&self) -> usize {
        self.components.len()
    }

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
        let ours = |place: &&Place| !self.exact || place.is_new(&self.components);
        for place in self.places.iter().filter(ours) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::fs::{create_dir_all, write};

    /// A directory that looks like a v2 group. Without `writable` nothing can be switched on in it,
    /// not even by root: the file to do it with is a directory.
    fn fake_group(path: &Path, writable: bool) {
        create_dir_all(path).unwrap();
        write(path.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let control = path.join("cgroup.subtree_control");
        if writable { write(control, "").unwrap() } else { create_dir_all(control).unwrap() }
    }

    #[test]
    fn where_the_top_is_not_ours_the_delegated_group_is_used() {
        let top = tempfile::tempdir().unwrap();
        let own = top.path().join("user.slice/unit/main");
        let delegated = top.path().join("user.slice/unit");
        fake_group(top.path(), false);
        fake_group(&own, false);
        fake_group(&delegated, true);
        fake_group(&delegated.join("skep"), true);
        let hierarchy = Hierarchy {
            version: Version::V2,
            controllers: Controllers::V2,
            path: top.path().to_path_buf(),
            root: "/".into(),
            directory: file::open_directory(rustix::fs::CWD, top.path()).unwrap(),
        };
        let components = ["skep".to_string()];

        let seen = Path::new("/user.slice/unit/main");
        let (place, refusals) = make_v2(&hierarchy, Some(seen), &components);
        let place = place.unwrap();
        assert_eq!(place.path, delegated.join("skep"));
        assert_eq!(place.controllers, Controllers::V2);
        assert!(refusals.is_empty());
        assert!(!top.path().join("skep").exists());
        assert!(!own.join("skep").exists());

        let (place, refusals) = make_v2(&hierarchy, None, &components);
        assert_eq!(place.unwrap().controllers, Controllers::NONE);
        assert_eq!(refusals.len(), 3);
    }

    #[test]
    fn a_refusal_names_the_place_and_the_way_out() {
        let shared = |errno| Shared {
            components: vec!["skep".into()],
            places: Vec::new(),
            refusals: vec![Refusal { controllers: Controllers::V2, path: "/c/own".into(), errno }],
            v2: None,
            exact: false,
            host: fork::Process::current(),
        };
        let error = shared(Errno::BUSY).missing("web", "cpu", Controllers::CPU);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            "cannot limit cpus of web: the cgroup controller \"cpu\" cannot be used in /c/own: \
             Device or resource busy (os error 16); that group has processes of its own; start \
             this program in a subgroup of a delegated one (systemd: Delegate=yes, \
             DelegateSubgroup=)"
        );
        let error = shared(Errno::ACCESS).missing("web", "memory", Controllers::MEMORY);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(
            error.to_string().ends_with("subtree delegated to this user (systemd: Delegate=yes)")
        );
    }
}
