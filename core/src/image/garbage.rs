//! Images that go, and files that no image needs.
//!
//! What is needed is found by following the index, under the exclusive lock, in which everybody
//! publishes. The index is written before anything is removed: whoever is killed in between leaves
//! files that the next [`open`](Images::open) sweeps, because a staging directory of a dead owner
//! tells it to, and never an image without its files.

use std::collections::{HashMap, HashSet};
use std::io;

use super::config::ImageConfig;
use super::digest::Digest;
use super::layers::TURN;
use super::layout::{Staging, blob_name};
use super::lock::{Lock, holders};
use super::manifest::{Descriptor, Index, resolve};
use super::platform::Platform;
use super::store::{Entry, Images, choose, has_name, unless_damaged};
use super::tree::disk_usage;
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// What [`Images::prune`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prune {
    /// Files that no image needs, and what was fetched of blobs by pulls that did not come to their
    /// end.
    #[default]
    Files,
    /// Images without a name that nobody uses, and such files: docker's `image prune`.
    Nameless,
    /// All images that nobody uses, and such files: docker's `image prune --all`.
    Unused,
}

impl Prune {
    /// Whether it takes what the index has, unless it is in use. Of an image with several manifests,
    /// one may have lost its name to another.
    fn takes(self, entry: &Entry) -> bool {
        match self {
            Prune::Files => false,
            Prune::Nameless => entry.reference.is_none(),
            Prune::Unused => true,
        }
    }
}

/// What [`Images::prune`] has removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// The images' ids.
    pub images: Vec<Digest>,
    /// The number of blobs, those counted that were fetched in part.
    pub blobs: u64,
    /// The number of unpacked layers.
    pub layers: u64,
    /// The bytes of blobs and layers on the disk.
    pub bytes: u64,
}

impl Images {
    /// Removes a name and, if it was the image's last, the image with all blobs and layers that no
    /// other image uses. An id removes the image with all its names.
    ///
    /// # Errors
    /// `NotFound`; `InUse` while a [`Lease`](super::Lease) on the image is held, and then nothing
    /// was removed: the error names the processes that hold one, as far as they can be seen.
    pub fn remove(&self, name: &str) -> Result<()> {
        sigpipe::without_file_size_signal(|| self.layout.with_reserve(|| self.remove_image(name)))
    }

    fn remove_image(&self, name: &str) -> Result<()> {
        // Its owner's death makes the next `open` sweep what this leaves half done.
        let staging = self.layout.stage()?;
        let _lock = self.layout.lock_exclusive()?;
        let mut index = self.layout.index()?;
        let entries = self.entries(&index)?;
        let chosen = choose(&entries, name)?;
        let id = entries[chosen].id();
        let by_name = has_name(&entries[chosen], name);
        let keeps = |i: usize| if by_name { i != chosen } else { entries[i].id() != id };
        let before = self.reachable(&index)?;
        retain(&mut index, keeps);
        let doomed = before.without(&self.reachable(&index)?);
        let gone = id.filter(|_| !(0..entries.len()).any(|i| keeps(i) && entries[i].id() == id));
        // Held until the image is gone: who waits for a lease then finds that out. An image that
        // stays may have been leased for the blobs of this manifest, which others lack.
        let locked = id.filter(|_| !doomed.blobs.is_empty());
        let _unused = locked.map(|id| self.lock_unused(&id, name)).transpose()?;
        self.layout.write_index(&index)?;
        self.remove_files(&staging, &doomed)?;
        gone.map_or(Ok(()), |id| self.layout.remove(&format!("locks/{}", id.hex())))
    }

    /// Removes what is not needed: files that no image has, and if asked for images. An image is in
    /// use while a [`Lease`](super::Lease) on it is held, by whatever process: then it stays. What is
    /// damaged stays, too; [`remove`](Self::remove) takes it away. What a pull that failed or was killed
    /// has fetched goes, unless another is at it.
    ///
    /// Safe at any moment: images that are loaded, committed or unpacked meanwhile are complete, and
    /// after a SIGKILL the store is consistent.
    ///
    /// # Errors
    /// `InvalidData` if the index is damaged; those of reading and removing. What was removed
    /// before stays removed.
    pub fn prune(&self, what: Prune) -> Result<Pruned> {
        sigpipe::without_file_size_signal(|| {
            self.layout.with_reserve(|| self.remove_unneeded(what))
        })
    }

    fn remove_unneeded(&self, what: Prune) -> Result<Pruned> {
        let staging = self.layout.stage()?;
        let mut pruned = Pruned::default();
        let lock = self.layout.lock_exclusive()?;
        let mut index = self.layout.index()?;
        let entries = self.entries(&index)?;
        let unused = self.unused(&entries, what)?;
        let keeps = |i: usize| {
            let locked = entries[i].id().is_some_and(|id| unused.contains_key(&id));
            !(locked && what.takes(&entries[i]))
        };
        let kept_ids: HashSet<Digest> =
            (0..entries.len()).filter(|i| keeps(*i)).filter_map(|i| entries[i].id()).collect();
        retain(&mut index, keeps);
        let kept = self.reachable(&index)?;
        if !unused.is_empty() {
            self.layout.write_index(&index)?;
        }
        let doomed = self.unneeded(&kept)?;
        for blob in &doomed.blobs {
            let size = std::fs::metadata(self.layout.blob_path(blob)).map_or(0, |blob| blob.len());
            pruned.bytes += size;
        }
        (pruned.blobs, pruned.layers) = (doomed.blobs.len() as u64, doomed.layers.len() as u64);
        self.remove_files(&staging, &doomed)?;
        self.sweep_leases(&kept)?;
        pruned.images.extend(unused.keys().filter(|id| !kept_ids.contains(id)));
        pruned.images.sort();
        drop((unused, lock));
        let (partials, bytes) = self.layout.remove_partials()?;
        pruned.blobs += partials;
        pruned.bytes += bytes;
        for layer in &doomed.layers {
            pruned.bytes += disk_usage(&staging.path().join(layer.hex()))?;
        }
        Ok(pruned)
    }

    /// The images of what is to go, each locked against new leases.
    fn unused(&self, entries: &[Entry], what: Prune) -> Result<HashMap<Digest, Lock>> {
        let mut unused = HashMap::new();
        for id in entries.iter().filter(|entry| what.takes(entry)).filter_map(Entry::id) {
            if !unused.contains_key(&id) {
                let lock = Lock::try_exclusive(&self.layout.lease_path(&id))?;
                unused.extend(lock.map(|lock| (id, lock)));
            }
        }
        Ok(unused)
    }

    /// Sweeps what processes that died in the middle of an operation left behind.
    pub(super) fn sweep(&self) -> Result<()> {
        let _lock = self.layout.lock_exclusive()?;
        let dead = self.layout.dead_staging()?;
        if dead.is_empty() {
            return Ok(());
        }
        let kept = self.reachable(&self.layout.index()?)?;
        let doomed = self.unneeded(&kept)?;
        let fetched: HashSet<Digest> =
            dead.iter().flat_map(|(name, _)| self.layout.fetched(name)).collect();
        for blob in &doomed.blobs {
            match fetched.contains(blob) {
                true => self.layout.take_back(blob)?,
                false => self.layout.remove(&blob_name(blob))?,
            }
        }
        for layer in &doomed.layers {
            self.layout.remove(&format!("layers/{}", layer.hex()))?;
        }
        self.sweep_leases(&kept)?;
        // Last: if this is interrupted, too, they tell the next one.
        dead.iter().try_for_each(|(name, _)| self.layout.remove(name))
    }

    fn lock_unused(&self, id: &Digest, name: &str) -> Result<Lock> {
        let lease = self.layout.lease_path(id);
        Lock::try_exclusive(&lease)?.ok_or_else(|| {
            Error::new(ErrorKind::InUse, "remove image", name)
                .cause(format!("{} it", users(&holders(&lease))))
                .fix("remove the container first")
        })
    }

    fn remove_files(&self, staging: &Staging<'_>, doomed: &Reachable) -> Result<()> {
        for digest in &doomed.blobs {
            self.layout.remove(&blob_name(digest))?;
        }
        for chain_id in &doomed.layers {
            // Renamed here, removed when the locks are released: a layer is large.
            let from = self.layout.layer_path(chain_id);
            match std::fs::rename(&from, staging.path().join(chain_id.hex())) {
                // A full disk may have no room for another name.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.layout.remove(&format!("layers/{}", chain_id.hex()))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The blobs and layers that are there and not in `kept`.
    fn unneeded(&self, kept: &Reachable) -> Result<Reachable> {
        let unneeded = |directory: &str, kept: &HashSet<Digest>| {
            let names = self.layout.names(directory)?;
            // Other names than skep's own are not skep's to touch.
            let digests = names.iter().filter_map(|name| Digest::from_hex(name));
            Ok::<_, Error>(digests.filter(|digest| !kept.contains(digest)).collect())
        };
        Ok(Reachable {
            blobs: unneeded("images/blobs/sha256", &kept.blobs)?,
            layers: unneeded("layers", &kept.layers)?,
        })
    }

    /// Removes the lease files of images that are gone, and locks of unpacking that nobody holds.
    fn sweep_leases(&self, kept: &Reachable) -> Result<()> {
        for name in self.layout.names("locks")? {
            if Digest::from_hex(&name).is_some_and(|id| !kept.blobs.contains(&id)) {
                self.layout.remove(&format!("locks/{name}"))?;
            }
            // Of who died while it unpacked.
            let turn = self.layout.path("locks").join(&name);
            if name.starts_with(TURN)
                && let Some(_unused) = Lock::try_exclusive(&turn)?
            {
                self.layout.remove(&format!("locks/{name}"))?;
            }
        }
        Ok(())
    }

    /// What the index leads to; where something is damaged, as far as it can be followed.
    ///
    /// # Errors
    /// Those that say nothing about the store: what could not be looked at now (no file descriptor,
    /// no memory) must not be taken for unreachable.
    pub(super) fn reachable(&self, index: &Index) -> Result<Reachable> {
        let mut kept = Reachable::default();
        for top in &index.manifests {
            let document = |d: &Descriptor| {
                kept.blobs.insert(d.digest);
                self.layout.document(d)
            };
            let Some((_, _, manifest)) = unless_damaged(resolve(top, &Platform::host(), document))?
            else {
                continue;
            };
            kept.blobs.insert(manifest.config.digest);
            kept.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
            let config = self.layout.document(&manifest.config);
            let config = config.and_then(|bytes| ImageConfig::parse(&bytes, &manifest, "config"));
            if let Some(config) = unless_damaged(config)? {
                kept.layers.extend(config.chain_ids());
            }
        }
        Ok(kept)
    }
}

/// Blobs and layers, by digest and by chain id.
#[derive(Default)]
pub(super) struct Reachable {
    pub(super) blobs: HashSet<Digest>,
    pub(super) layers: HashSet<Digest>,
}

impl Reachable {
    fn without(&self, kept: &Reachable) -> Reachable {
        Reachable {
            blobs: self.blobs.difference(&kept.blobs).copied().collect(),
            layers: self.layers.difference(&kept.layers).copied().collect(),
        }
    }
}

fn retain(index: &mut Index, keeps: impl Fn(usize) -> bool) {
    let mut at = 0..;
    index.manifests.retain(|_| at.next().is_none_or(&keeps));
}

/// Who uses an image, as the beginning of a sentence.
fn users(pids: &[u32]) -> String {
    let name = |pid: &u32| {
        if *pid == std::process::id() {
            return "this process".to_owned();
        }
        match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("process {pid} ({})", name.trim_end()),
            Err(_) => format!("process {pid}"),
        }
    };
    match pids {
        [] => "a container uses".to_owned(),
        [pid] => format!("a container of {} uses", name(pid)),
        pids => {
            let names: Vec<String> = pids.iter().map(name).collect();
            format!("containers of {} use", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
