//! Layers, unpacked once each and shared by all images that have them.
//!
//! A layer is a directory named after its chain id, with `fs`, what overlayfs stacks, and
//! `meta.json`. It is complete when it exists: unpacked beside, verified, made durable by one
//! syncfs(2) an image, and renamed; the names are durable when the unpacking is reported done.
//!
//! A layer is read, hashed, inflated, hashed and written in one pass ([`Inflated`]), and an image's
//! layers are applied in order: what only the lower layers have is looked up there.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, Stat};
use rustix::io::Errno;
use serde::Serialize;

use super::budget::Budget;
use super::compression::Decoder;
use super::config::ImageConfig;
use super::digest::{Digest, HashReader};
use super::handle::Image;
use super::inflate::{Inflated, Source};
use super::layout::{Layout, Staging, check_blob};
use super::lock::Lock;
use super::manifest::{Descriptor, Manifest};
use super::store::Images;
use super::tar::{Archive, read_error};
use super::unpack::{Lowers, open_root, unpack};
use crate::cancel::Watched;
use crate::sys::path::remove_tree;
use crate::{Error, ErrorKind, Result};

/// Layers that are inflated at once: the one that is unpacked, and the next. Each may take 6 MiB of
/// chunks and 8 MiB of a window.
const AHEAD: usize = 2;

/// How long one whose blobs are all here waits for another that unpacks the same: a pull is at it for as
/// long as its registry takes, which may be for ever. What both then unpack, the first one publishes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What the names of locks begin with that are no image's.
pub(super) const TURN: &str = "layer-";

/// What a layer's directory says of it.
#[derive(Serialize)]
struct Meta {
    diff_id: Digest,
    chain_id: Digest,
    parent: Option<Digest>,
    /// How whiteouts and opaque directories are marked.
    xattrs: &'static str,
}

impl Images {
    /// Whether all layers are in their places.
    pub(super) fn is_unpacked(&self, image: &Image) -> bool {
        image.config().chain_ids().iter().all(|id| self.layout.layer_path(id).join("fs").exists())
    }

    /// Unpacks what is missing of `image`; see [`Image::layers`]. `unpacked` is told the number of
    /// each layer that is done, be it visible yet or not.
    ///
    /// `begun` is what was unpacked of it already, maybe before the image was in the store and kept the
    /// layers that it shares: if they went meanwhile, all is begun with again.
    pub(super) fn unpack(
        &self,
        image: &Image,
        begun: Option<Unpacking<'_>>,
        unpacked: &dyn Fn(usize),
    ) -> Result<Vec<PathBuf>> {
        let mut unpacking = match begun.filter(Unpacking::stands) {
            Some(begun) => begun,
            None => {
                let budget = self.budget(image.size());
                let (manifest, config) = (image.manifest(), image.config());
                Unpacking::begin(&self.layout, manifest, config, &budget, Some(PATIENCE))?
            }
        };
        unpacking.go_on(&|i| self.stored(&image.manifest().layers[i]), unpacked)?;
        unpacking.publish(image)
    }

    fn stored(&self, blob: &Descriptor) -> Result<Source> {
        let file = File::open(self.layout.blob_path(&blob.digest))
            .map_err(|error| Error::os("unpack", subject(blob), error))?;
        Ok(Source::Stored(HashReader::new(file)))
    }
}

/// An image whose layers are being unpacked, bottom first, beside the place where they will be seen.
///
/// One at a time unpacks a layer, of all threads and processes: whoever wants another that stands on
/// it waits. That takes one lock, on the lowest layer that is missing: chain ids are a tree, so that
/// whoever needs a layer needs all below it, and of those the same one is the lowest that is missing.
pub(super) struct Unpacking<'a> {
    layout: &'a Layout,
    layers: Vec<Layer>,
    lowers: Lowers,
    /// The number of layers done.
    done: usize,
    /// `None` if nothing is missing.
    work: Option<Work<'a>>,
}

/// One layer of an image.
struct Layer {
    blob: Descriptor,
    meta: Meta,
    /// Where its files are, or will be.
    place: PathBuf,
}

struct Work<'a> {
    staging: Staging<'a>,
    /// The numbers of the layers that are unpacked in `staging`.
    fresh: Vec<usize>,
    /// `None` if whoever has it took too long.
    _turn: Option<Turn>,
}

/// The right to unpack what stands on a layer, and the layer itself.
struct Turn {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // While it is locked: who waits for it then makes a new one.
        let _ = fs::remove_file(&self.path);
    }
}

impl<'a> Unpacking<'a> {
    /// Finds out what is missing, which may become what is in `budget`. While another unpacks the
    /// same, it waits for as long as there is `patience` and then unpacks, too; without any it fails
    /// with `InUse`.
    pub(super) fn begin(
        layout: &'a Layout,
        manifest: &Manifest,
        config: &ImageConfig,
        budget: &Budget,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let chain_ids = config.chain_ids();
        let layer = |i: usize| Layer {
            blob: manifest.layers[i].clone(),
            place: layout.layer_path(&chain_ids[i]).join("fs"),
            meta: Meta {
                diff_id: config.rootfs.diff_ids[i],
                chain_id: chain_ids[i],
                parent: i.checked_sub(1).map(|below| chain_ids[below]),
                xattrs: "trusted",
            },
        };
        let layers: Vec<Layer> = (0..chain_ids.len()).map(layer).collect();
        let mut work = None;
        while let Some(lowest) = layers.iter().find(|layer| !layer.place.exists()) {
            let chain_id = &lowest.meta.chain_id;
            let turn = Turn::take(layout, chain_id, patience.unwrap_or_default())?;
            if turn.is_none() && patience.is_none() {
                let subject = format!("layer {chain_id}");
                return Err(Error::new(ErrorKind::InUse, "unpack", subject));
            }
            if !lowest.place.exists() {
                work = Some(Work { staging: layout.stage()?, fresh: Vec::new(), _turn: turn });
                break;
            }
        }
        Ok(Unpacking { layout, layers, lowers: Lowers::within(budget), done: 0, work })
    }

    /// Unpacks what is missing, from where it stopped. While one layer is unpacked, the next is read
    /// and inflated already, as far as memory is given to it.
    ///
    /// # Errors
    /// See [`Image::layers`]; what was unpacked before stays, to be gone on with.
    pub(super) fn go_on(
        &mut self,
        source: &dyn Fn(usize) -> Result<Source>,
        unpacked: &dyn Fn(usize),
    ) -> Result<()> {
        if self.work.is_none() {
            (self.done..self.layers.len()).for_each(unpacked);
            self.done = self.layers.len();
        }
        let mut ahead = VecDeque::new();
        let mut started = self.done;
        while self.done < self.layers.len() {
            while started < self.layers.len() && ahead.len() < AHEAD {
                let layer = &self.layers[started];
                if !layer.place.exists() {
                    ahead.push_back((started, self.start(source(started)?)?));
                }
                started += 1;
            }
            let layer = &self.layers[self.done];
            // One that others published since they were looked at has its archive in `ahead`.
            let is_next = |(i, _): &(usize, Inflated)| *i == self.done;
            let next = if ahead.front().is_some_and(is_next) { ahead.pop_front() } else { None };
            let fs = match (next, &mut self.work) {
                (Some((_, archive)), Some(work)) => {
                    work.unpack(self.done, layer, archive, &self.lowers)?
                }
                _ => layer.place.clone(),
            };
            let subject = || fs.display().to_string();
            let root = open_root(CWD, &fs).map_err(|e| Error::os("open layer", subject(), e))?;
            self.lowers.push(root);
            unpacked(self.done);
            self.done += 1;
        }
        Ok(())
    }

    /// Whether the layers of others that it stands on are still those of the store.
    fn stands(&self) -> bool {
        let Some(work) = &self.work else {
            return self.layers.iter().all(|layer| layer.place.exists());
        };
        let same = |(i, (layer, root)): (usize, (&Layer, &OwnedFd))| {
            let id = |stat: Stat| (stat.st_dev, stat.st_ino);
            let (opened, there) = (rustix::fs::fstat(root), rustix::fs::stat(&layer.place));
            // The same directory: others may have unpacked it again since.
            work.fresh.contains(&i) || opened.is_ok_and(|o| there.is_ok_and(|t| id(o) == id(t)))
        };
        self.layers.iter().zip(self.lowers.bottom_up()).enumerate().all(same)
    }

    fn start(&self, source: Source) -> Result<Inflated> {
        Inflated::start(source, self.lowers.budget(), &self.layout.cancel)
            .map_err(|e| Error::os("start", "a thread to unpack with", e))
    }

    /// Makes the layers durable, and then seen. The directories of all, bottom first.
    fn publish(self, image: &Image) -> Result<Vec<PathBuf>> {
        if let Some(work) = &self.work {
            work.staging.sync()?;
            let _lock = self.layout.lock_exclusive()?;
            if !self.layout.has_blob(image.id()) {
                return Err(Error::new(ErrorKind::NotFound, "unpack image", image.name())
                    .cause("it was removed in the meantime"));
            }
            for i in &work.fresh {
                let chain_id = &self.layers[*i].meta.chain_id;
                let (from, to) =
                    (work.staging.path().join(chain_id.hex()), self.layout.layer_path(chain_id));
                match rustix::fs::renameat_with(CWD, from, CWD, &to, RenameFlags::NOREPLACE) {
                    // Whoever unpacked it before a layer below was removed.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => {
                        return Err(Error::os("publish layer", to.display().to_string(), errno));
                    }
                }
            }
            // They are there: a failure means no more than that a loss of power may take them.
            let _ = self.layout.sync_names("layers");
        }
        Ok(self.layers.into_iter().map(|layer| layer.place).collect())
    }
}

impl Work<'_> {
    /// Unpacks a layer, and checks it; where its files are.
    fn unpack(
        &mut self,
        number: usize,
        layer: &Layer,
        archive: Inflated,
        lowers: &Lowers,
    ) -> Result<PathBuf> {
        let path = self.staging.path().join(layer.meta.chain_id.hex());
        if let Err(error) = layer.unpack(&path, archive, lowers) {
            // It may be tried again. What stays goes with the staging directory.
            let _ = remove_tree(CWD, &path);
            return Err(error);
        }
        self.fresh.push(number);
        Ok(path.join("fs"))
    }
}

impl Layer {
    /// Unpacks its archive into `path`, which does not exist, and checks it.
    fn unpack(&self, path: &Path, archive: Inflated, lowers: &Lowers) -> Result<()> {
        let subject = subject(&self.blob);
        let failed = |error: io::Error| Error::os("unpack", &*subject, error);
        // 0700: setuid programs of an image are not for the host's users.
        create_private(path).and_then(|()| create_private(&path.join("fs"))).map_err(failed)?;
        let root = open_root(CWD, path.join("fs")).map_err(|e| failed(e.into()))?;
        let mut archive = Archive::new(archive, &*subject);
        unpack(&mut archive, root.as_fd(), lowers, &subject)?;
        let (inflated, _) = archive.finish()?;
        let found = inflated.finish().map_err(|error| read_error(error, &subject))?;
        check_diff_id(found.diff_id, self.meta.diff_id, &subject)?;
        if let Some((digest, size)) = found.blob {
            check_blob(&self.blob, digest, size)?;
        }
        let json = serde_json::to_vec(&self.meta).map_err(|e| failed(e.into()))?;
        fs::write(path.join("meta.json"), json).map_err(failed)
    }
}

impl Turn {
    /// `None` if another has it, and for as long as there is `patience`.
    fn take(layout: &Layout, chain_id: &Digest, patience: Duration) -> Result<Option<Turn>> {
        let path = layout.path("locks").join(format!("{TURN}{}", chain_id.hex()));
        let lock = Lock::exclusive_within(&path, patience, &layout.cancel)?;
        Ok(lock.map(|lock| Turn { path, _lock: lock }))
    }
}

fn subject(blob: &Descriptor) -> String {
    format!("layer {}", blob.digest)
}

fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(path)
}

/// Checks a layer read to its end: the archive against its diff_id, the blob against its digest.
pub(super) fn verify(
    archive: HashReader<Watched<Decoder<HashReader<File>>>>,
    blob: &Descriptor,
    diff_id: Digest,
    subject: &str,
) -> Result<()> {
    let (decoder, (found, _)) = archive.finish();
    check_diff_id(found, diff_id, subject)?;
    let mut rest = decoder.into_inner().into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| read_error(error, subject))?;
    let (_, (digest, size)) = rest.into_inner().finish();
    check_blob(blob, digest, size)
}

fn check_diff_id(found: Digest, diff_id: Digest, subject: &str) -> Result<()> {
    if found == diff_id {
        return Ok(());
    }
    Err(Error::new(ErrorKind::DigestMismatch, "verify", subject)
        .cause(format!("its archive hashes to {found}, its image's config says {diff_id}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::{Store, Tar, config, docker_archive, is_root};

    #[test]
    fn one_unpacks_what_several_need() {
        if !is_root() {
            return;
        }
        let store = Store::new();
        let layers = [Tar::new().file("a", b"1").end(), Tar::new().file("b", b"2").end()];
        let archive = docker_archive(&config(&layers), &layers, &["app:1"]);
        let image = store.images.load(store.file("app.tar", &archive)).unwrap();
        let layout = &store.images.layout;
        let begin = |patience| {
            let budget = Budget::default();
            Unpacking::begin(layout, image.manifest(), image.config(), &budget, patience)
        };
        let mut first = begin(Some(PATIENCE)).unwrap();
        assert!(first.work.is_some());
        assert_eq!(begin(None).err().unwrap().kind(), ErrorKind::InUse);
        std::thread::scope(|scope| {
            let others: Vec<_> =
                (0..4).map(|_| scope.spawn(|| begin(Some(PATIENCE)).unwrap())).collect();
            let stored = |i: usize| store.images.stored(&image.manifest().layers[i]);
            // What fails is begun with again, and what was done is kept.
            let fails = |i: usize| match i {
                0 => stored(0),
                _ => Err(Error::new(ErrorKind::NotFound, "test", "it")),
            };
            assert_eq!(first.go_on(&fails, &|_| {}).unwrap_err().subject(), "it");
            let done = std::cell::Cell::new(0);
            first.go_on(&stored, &|_| done.set(done.get() + 1)).unwrap();
            assert_eq!((first.done, first.layers.len()), (2, 2));
            let places = first.publish(&image).unwrap();
            assert_eq!(std::fs::read(places[1].join("b")).unwrap(), b"2");
            for other in others {
                assert!(other.join().unwrap().work.is_none());
            }
        });
        assert_eq!(layout.names("locks").unwrap(), [""; 0]);
        assert_eq!(layout.names("staging").unwrap(), [""; 0]);
    }

    #[test]
    fn what_was_unpacked_on_a_layer_that_went_is_unpacked_again() {
        if !is_root() {
            return;
        }
        let store = Store::new();
        let base = Tar::new().dir("usr").dir("usr/lib").symlink("lib", "usr/lib").end();
        let layers = [base, Tar::new().file("lib/b", b"2").end()];
        let archive = docker_archive(&config(&layers), &layers, &["app:1"]);
        let image = store.images.load(store.file("app.tar", &archive)).unwrap();
        let layout = &store.images.layout;
        let (manifest, budget) = (image.manifest(), Budget::default());
        let stored = |i: usize| store.images.stored(&manifest.layers[i]);
        let places = image.layers().unwrap();
        let remove = |layer: &Path| fs::remove_dir_all(layer.parent().unwrap()).unwrap();
        for missing in [1, 2] {
            places[missing..].iter().for_each(|layer| remove(layer));
            let begin =
                || Unpacking::begin(layout, manifest, image.config(), &budget, Some(PATIENCE));
            let mut begun = begin().unwrap();
            begun.go_on(&stored, &|_| {}).unwrap();
            // As another image that had it is removed, before this one is there.
            remove(&places[0]);
            let again = store.images.unpack(&image, Some(begun), &|_| {}).unwrap();
            assert_eq!(again, places);
            assert!(places[0].join("lib").is_symlink());
            assert_eq!(fs::read(places[1].join("usr/lib/b")).unwrap(), b"2");
        }
    }

    #[test]
    fn what_was_inflated_ahead_in_vain_is_given_back() {
        if !is_root() {
            return;
        }
        let store = Store::new();
        let layers = [Tar::new().file("a", b"1").end(), Tar::new().file("b", b"2").end()];
        let archive = docker_archive(&config(&layers), &layers, &["app:1"]);
        let image = store.images.load(store.file("app.tar", &archive)).unwrap();
        let (layout, manifest) = (&store.images.layout, image.manifest());
        let budget = Budget::new(Some((layers[0].len() + layers[1].len()) as u64), 0);
        let mut begun =
            Unpacking::begin(layout, manifest, image.config(), &budget, Some(PATIENCE)).unwrap();
        let stored = |i: usize| store.images.stored(&manifest.layers[i]);
        let first_fails = |i: usize| match i {
            0 => Ok(Source::Stored(HashReader::new(tempfile::tempfile().unwrap()))),
            _ => stored(i),
        };
        for _ in 0..20 {
            assert!(begun.go_on(&first_fails, &|_| {}).is_err());
        }
        begun.go_on(&stored, &|_| {}).unwrap();
        assert_eq!(budget.take(1, "it").unwrap_err().kind(), ErrorKind::ResourceExhausted);
    }

    #[test]
    fn who_waited_long_enough_goes_on_without_a_turn() {
        if !is_root() {
            return;
        }
        let store = Store::new();
        let layers = [Tar::new().file("a", b"1").end()];
        let archive = docker_archive(&config(&layers), &layers, &["app:1"]);
        let image = store.images.load(store.file("app.tar", &archive)).unwrap();
        let layout = &store.images.layout;
        let stored = |i: usize| store.images.stored(&image.manifest().layers[i]);
        let begin = |patience| {
            let budget = Budget::default();
            Unpacking::begin(layout, image.manifest(), image.config(), &budget, patience).unwrap()
        };
        let (mut slow, mut quick) = (begin(Some(PATIENCE)), begin(Some(Duration::from_millis(1))));
        assert!(quick.work.as_ref().unwrap()._turn.is_none());
        quick.go_on(&stored, &|_| {}).unwrap();
        let places = quick.publish(&image).unwrap();
        // What was begun before is as good.
        slow.go_on(&stored, &|_| {}).unwrap();
        assert_eq!(slow.publish(&image).unwrap(), places);
        assert_eq!(std::fs::read(places[0].join("a")).unwrap(), b"1");
        assert_eq!(layout.names("locks").unwrap(), [""; 0]);
        assert_eq!(layout.names("staging").unwrap(), [""; 0]);
    }

    #[test]
    fn no_two_have_the_same_turn() {
        let store = Store::new();
        let (layout, chain_id) = (&store.images.layout, Digest::of(b""));
        let holders = std::sync::atomic::AtomicU32::new(0);
        let count = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let Some(turn) = Turn::take(layout, &chain_id, Duration::ZERO).unwrap()
                        else {
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, count), 0);
                        holders.fetch_sub(1, count);
                        drop(turn);
                    }
                });
            }
        });
    }
}
