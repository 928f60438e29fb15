//! What a host has, as its test sees it, and whether all of it has gone.

use std::fs;
use std::path::{Path, PathBuf};

use skep::Engine;

use crate::host::Watched;
use crate::proc::{SOON, keepers, marked, runs, wait_until};

/// What there was of a host's at one moment.
#[derive(Debug)]
pub struct Belongings {
    /// Its keepers.
    pub keepers: Vec<i32>,
    /// Processes of its containers, seen from here.
    pub processes: Vec<i32>,
    /// The control groups of each keeper, which hold those of the containers.
    pub groups: Vec<PathBuf>,
    store: PathBuf,
    mark: String,
}

impl Belongings {
    /// What `host` has now.
    pub fn of(host: &Watched) -> Belongings {
        let (store, mark) = (host.store(), host.mark());
        Belongings {
            keepers: keepers(&store),
            processes: marked(&mark),
            groups: groups(&store),
            store,
            mark,
        }
    }

    /// Waits until its processes and control groups are gone.
    pub fn await_gone(&self) {
        self.await_dead();
        wait_until(&format!("no control group of {self:?}"), SOON, || {
            self.groups.iter().all(|group| !group.exists())
        });
    }

    /// The same where nobody was left to remove the control groups, nor the directories: the next
    /// one to open the store does.
    pub fn await_swept(&self) {
        self.await_dead();
        let engine = Engine::open(&self.store).expect("an engine on the store left behind");
        for group in &self.groups {
            assert!(!group.exists(), "{} is left", group.display());
        }
        assert_eq!(attached(&self.store), Vec::<PathBuf>::new());
        drop(engine);
    }

    fn await_dead(&self) {
        wait_until(&format!("no process of {self:?}"), SOON, || {
            let known = self.keepers.iter().chain(&self.processes);
            known.copied().all(|pid| !runs(pid)) && keepers(&self.store).is_empty()
        });
        assert_eq!(marked(&self.mark), Vec::<i32>::new());
    }
}

/// What keepers of this store own in it.
pub fn attached(store: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(store.join("attached")).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// The control groups that the store says its keepers have.
pub fn groups(store: &Path) -> Vec<PathBuf> {
    let lists = attached(store).into_iter();
    let lists = lists.filter_map(|owner| fs::read_to_string(owner.join("groups")).ok());
    let text: String = lists.collect();
    text.lines().map(PathBuf::from).collect()
}
