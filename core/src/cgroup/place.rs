//! One directory of a hierarchy below which groups are made.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;

use super::MARK;
use super::controllers::Controllers;
use super::file;
use super::mounts::Hierarchy;
use super::settings::Version;

/// A parent directory in one hierarchy, held open: groups are made relative to it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) version: Version,
    /// What groups below it can be limited by.
    pub(super) controllers: Controllers,
    /// Whether swap is accounted.
    pub(super) swap: bool,
    pub(super) path: PathBuf,
    pub(super) directory: OwnedFd,
    /// Index of the first component of the path that was made for us.
    first_made: usize,
}

/// Why controllers that the hierarchy has cannot be used.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) controllers: Controllers,
    pub(super) path: PathBuf,
    pub(super) errno: Errno,
}

/// How often [`Place::make`] starts again when another process removes the directory under it.
const ATTEMPTS: usize = 100;

impl Place {
    /// Makes the directories `components`, one in the other, below the top of `base`; those that
    /// exist already are used.
    ///
    /// On v2 switches on, in each of them, every controller it can. Those it cannot come back as
    /// refusals. Without any directory, the place is `None` and all its controllers are refused.
    pub(super) fn make(base: &Hierarchy, components: &[String]) -> (Option<Self>, Vec<Refusal>) {
        for _ in 1..ATTEMPTS {
            match Self::try_make(base, components) {
                // Another handle removed a directory between our mkdir and our open.
                Err(Refusal { errno: Errno::NOENT | Errno::NODEV, .. }) => {}
                Ok((place, refusals)) => return (Some(place), refusals),
                Err(refusal) => return (None, vec![refusal]),
            }
        }
        match Self::try_make(base, components) {
            Ok((place, refusals)) => (Some(place), refusals),
            Err(refusal) => (None, vec![refusal]),
        }
    }

    fn try_make(base: &Hierarchy, components: &[String]) -> Result<(Self, Vec<Refusal>), Refusal> {
        let mut refusals = Vec::new();
        let mut path = base.path.clone();
        let refusal = |path: &PathBuf, errno| Refusal {
            controllers: base.controllers,
            path: path.clone(),
            errno,
        };
        let mut directory =
            file::open_directory(&base.directory, ".").map_err(|errno| refusal(&path, errno))?;
        let mut controllers = base.enable(&directory, &path, &mut refusals);
        let mut first_made = components.len();
        for (index, component) in components.iter().enumerate() {
            path.push(component);
            match fs::mkdirat(&directory, component.as_str(), MODE) {
                Ok(()) => first_made = first_made.min(index),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(refusal(&path, errno)),
            }
            directory = file::open_directory(&directory, component.as_str())
                .map_err(|errno| refusal(&path, errno))?;
            controllers = base.enable(&directory, &path, &mut refusals);
        }
        let version = base.version;
        let swap = fs::statat(&directory, version.swap_file(), AtFlags::empty()).is_ok();
        Ok((Place { version, controllers, swap, path, directory, first_made }, refusals))
    }

    /// Whether the last directory was made for us.
    pub(super) fn is_new(&self, components: &[String]) -> bool {
        self.first_made < components.len()
    }

    /// Removes the last directory, and those above it as far as they are empty and ours: made by
    /// [`Place::make`], or called `skep`. Others may have been made by an administrator, with limits
    /// in them.
    pub(super) fn remove(&self, components: &[String]) -> Result<(), Errno> {
        let mut above = match file::open_directory(&self.directory, "..") {
            Err(Errno::NOENT) => return Ok(()), // removed before
            above => above?,
        };
        for (index, component) in components.iter().enumerate().rev() {
            let last = index + 1 == components.len();
            if !last && index < self.first_made && component != MARK {
                break;
            }
            match fs::unlinkat(&above, component.as_str(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) if last => return Err(errno),
                // Somebody else uses it: theirs to remove.
                Err(_) => break,
            }
            above = file::open_directory(&above, "..")?;
        }
        Ok(())
    }
}

/// Mode of every directory made; the umask takes its part.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o755);

impl Hierarchy {
    /// The controllers that groups inside `directory` have, after switching on all that can be.
    ///
    /// v1 has nothing to switch: a hierarchy's controllers are those of each of its groups.
    fn enable(
        &self,
        directory: impl AsFd,
        path: &Path,
        refusals: &mut Vec<Refusal>,
    ) -> Controllers {
        if self.version == Version::V1 {
            return self.controllers;
        }
        let list = |name| match file::read(&directory, name) {
            Ok(Some(list)) => Controllers::parse(&list) & Controllers::V2,
            Ok(None) | Err(_) => Controllers::NONE,
        };
        let mut on = list("cgroup.subtree_control");
        let missing = list("cgroup.controllers") - on;
        // All at once first: each write that changes something may wait for an RCU grace period.
        if missing.is_empty() || switch_on(&directory, missing).is_ok() {
            return on | missing;
        }
        for (_, controllers) in missing.iter() {
            match switch_on(&directory, controllers) {
                Ok(()) => on |= controllers,
                Err(errno) => {
                    refusals.push(Refusal { controllers, path: path.to_path_buf(), errno });
                }
            }
        }
        on
    }
}

fn switch_on(directory: impl AsFd, controllers: Controllers) -> Result<(), Errno> {
    let words: Vec<String> = controllers.iter().map(|(name, _)| format!("+{name}")).collect();
    file::write(directory, "cgroup.subtree_control", &words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, read_to_string, write};

    /// A directory that looks like a v2 group: what is written into a file stays readable there.
    fn fake_group(path: &Path, offered: &str, on: &str) {
        let _ = create_dir(path);
        write(path.join("cgroup.controllers"), offered).unwrap();
        write(path.join("cgroup.subtree_control"), on).unwrap();
    }

    fn fake_hierarchy(path: &Path) -> Hierarchy {
        Hierarchy {
            version: Version::V2,
            controllers: Controllers::V2,
            path: path.to_path_buf(),
            root: "/".into(),
            directory: file::open_directory(fs::CWD, path).unwrap(),
        }
    }

    #[test]
    fn v2_switches_on_what_is_missing_in_every_directory_above_the_groups() {
        let top = tempfile::tempdir().unwrap();
        let (skep, owner) = (top.path().join("skep"), top.path().join("skep/owner"));
        fake_group(top.path(), "cpuset cpu io memory hugetlb pids\n", "memory pids\n");
        fake_group(&skep, "memory pids\n", "\n");
        fake_group(&owner, "memory pids\n", "memory pids\n");
        let hierarchy = fake_hierarchy(top.path());

        let components = ["skep".to_string(), "owner".to_string()];
        let (place, refusals) = Place::make(&hierarchy, &components);
        let place = place.unwrap();
        assert_eq!(place.controllers, Controllers::MEMORY | Controllers::PIDS);
        assert_eq!(place.path, owner);
        assert!(!place.swap);
        assert_eq!(refusals.len(), 0);

        let written = |path: &Path| read_to_string(path.join("cgroup.subtree_control")).unwrap();
        // A real file replaces its content; this one keeps the tail of what stood there.
        assert!(written(top.path()).starts_with("+cpu"));
        assert!(written(&skep).starts_with("+memory +pids"));
        assert_eq!(written(&owner), "memory pids\n");
    }

    #[test]
    fn a_refused_controller_is_remembered_with_its_place() {
        let top = tempfile::tempdir().unwrap();
        fake_group(top.path(), "memory\n", "\n");
        // A directory in place of the file: writing fails, also for root.
        let control = top.path().join("cgroup.subtree_control");
        std::fs::remove_file(&control).unwrap();
        create_dir(&control).unwrap();

        let hierarchy = fake_hierarchy(top.path());
        let (place, refusals) = Place::make(&hierarchy, &["skep".to_string()]);
        assert_eq!(place.unwrap().controllers, Controllers::NONE);
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].controllers, Controllers::MEMORY);
        assert_eq!(refusals[0].errno, Errno::ISDIR);
        assert_eq!(refusals[0].path, top.path());
    }

    #[test]
    fn only_what_was_made_is_removed_above_the_last_component() {
        let top = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy { version: Version::V1, ..fake_hierarchy(top.path()) };
        create_dir(top.path().join("a")).unwrap();
        let components = ["a", "b", "c"].map(String::from);
        let (place, _) = Place::make(&hierarchy, &components);
        let place = place.unwrap();
        assert_eq!(place.path, top.path().join("a/b/c"));
        place.remove(&components).unwrap();
        assert!(top.path().join("a").exists());
        assert!(!top.path().join("a/b").exists());
    }
}
