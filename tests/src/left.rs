//! What a host has, as its test sees it, and whether all of it has gone.

use std::ffi::{OsStr, OsString};
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
    /// The names of its keepers, in the store and among the control groups.
    owners: Vec<OsString>,
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
            owners: attached(&store)
                .iter()
                .filter_map(|path| Some(path.file_name()?.into()))
                .collect(),
            store,
            mark,
        }
    }

    /// Waits until its processes and control groups are gone.
    pub fn await_gone(&self) {
        self.await_dead();
        wait_until(&format!("no control group of {self:?}"), SOON, || {
            self.owners.iter().all(|owner| groups_called(owner).is_empty())
        });
    }

    /// The same where nobody was left to remove the control groups, nor the directories: the next
    /// one to open the store does.
    pub fn await_swept(&self) {
        self.await_dead();
        let engine = Engine::open(&self.store).expect("an engine on the store left behind");
        for owner in &self.owners {
            assert_eq!(groups_called(owner), Vec::<PathBuf>::new());
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

/// The control groups of `owner` in any hierarchy, whether or not the store knows of them.
fn groups_called(owner: &OsStr) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc/self/mountinfo");
    let is_cgroup = |line: &&str| line.contains(" - cgroup");
    let tops = table.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4));
    let groups = tops.map(|top| Path::new(top).join("skep").join(owner));
    groups.filter(|group| group.exists()).collect()
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
