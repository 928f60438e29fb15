//! Loads images from archives and directories that other tools wrote.
//!
//! Everything is first copied into a staging directory and hashed on the way, for the document
//! that says what is what may be the last member of an archive that cannot be read twice.

mod archive;
mod docker;
mod import;
mod oci;

pub(super) use docker::finish;

use std::path::Path;

use super::handle::Image;
use super::layout::{StagedBlob, Staging, read_bounded};
use super::manifest::{Descriptor, Index};
use super::reference::Reference;
use super::store::{Images, set_reference};
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// Where the members of an image archive, or the files of a layout, come from.
trait Source {
    /// The member called `name`, staged; `None` if there is none.
    fn member(&mut self, name: &str) -> Result<Option<StagedBlob>>;

    /// Names the source in errors.
    fn subject(&self) -> &str;
}

/// An image whose blobs are staged.
pub(super) struct Candidate {
    pub(super) manifest: Descriptor,
    pub(super) config: Descriptor,
    /// Where each is now; its place in the store, if it is there already.
    pub(super) blobs: Vec<StagedBlob>,
    pub(super) references: Vec<Reference>,
}

impl Candidate {
    fn name(&self) -> String {
        match self.references.first() {
            Some(reference) => reference.to_string(),
            None => self.config.digest.to_string(),
        }
    }
}

impl Images {
    /// Loads the only image of an archive or directory: what `docker save`, `podman save` and
    /// `skopeo copy` to `docker-archive:`, `oci-archive:` or `oci:` write. An archive may be
    /// compressed by gzip or zstd.
    ///
    /// ```no_run
    /// let engine = skep::Engine::open_default()?;
    /// let image = engine.images().load("app.tar")?;
    /// println!("{} {:?}", image.id(), image.references());
    /// assert!(engine.command(&image).arg("true").status()?.success());
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// The image gets the names it has there; they are taken from other images. A mere tag, which
    /// OCI layouts allow for a name, is none: see [`tag`](Self::tag). Neither is a name with a digest
    /// that is not its own. Of an image for several
    /// platforms, the one for this machine is loaded. Layers are unpacked when they are first
    /// used.
    ///
    /// # Errors
    /// `NotFound` without such a file; `InvalidInput` if there are several images (the error names
    /// them; see [`load_all`](Self::load_all)); `InvalidData` if it is no archive, holds no image,
    /// is truncated or malformed; `DigestMismatch` if a blob is not what was announced;
    /// `Unsupported` for an image not for this machine; `ResourceExhausted` on a full disk. The store
    /// is as before then.
    ///
    /// Source: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>,
    /// <https://github.com/moby/docker-image-spec/blob/main/spec.md>
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Image> {
        let path = path.as_ref();
        let mut images = self.load_some(path, |candidates| {
            if candidates.len() == 1 {
                return Ok(());
            }
            let names: Vec<String> = candidates.iter().map(Candidate::name).collect();
            Err(Error::new(ErrorKind::InvalidInput, "load image from", path.display().to_string())
                .cause(format!("it holds {} images: {}", names.len(), names.join(", ")))
                .fix("load them all"))
        })?;
        images.pop().ok_or_else(|| no_image(&path.display().to_string()))
    }

    /// Loads all images of an archive or directory; else as [`load`](Self::load).
    ///
    /// # Errors
    /// As [`load`](Self::load), but for several images.
    pub fn load_all(&self, path: impl AsRef<Path>) -> Result<Vec<Image>> {
        self.load_some(path.as_ref(), |_| Ok(()))
    }

    fn load_some(
        &self,
        path: &Path,
        accept: impl FnOnce(&[Candidate]) -> Result<()>,
    ) -> Result<Vec<Image>> {
        let load = || sigpipe::without_file_size_signal(|| self.stage_and_publish(path, accept));
        let subject = path.display().to_string();
        self.layout.cancel.run("load image from", &subject, load).map_err(|error| {
            error.fix_data("save it again, with docker save, podman save or skopeo copy")
        })
    }

    fn stage_and_publish(
        &self,
        path: &Path,
        accept: impl FnOnce(&[Candidate]) -> Result<()>,
    ) -> Result<Vec<Image>> {
        let subject = path.display().to_string();
        let metadata = std::fs::metadata(path)
            .map_err(|error| Error::os("load image from", &*subject, error))?;
        let staging = self.layout.stage()?;
        let candidates = if metadata.is_dir() {
            oci::candidates(&mut oci::Directory::open(path, &staging)?, &staging)?
        } else {
            // What is no file, a pipe for instance, does not tell its size.
            let size = if metadata.is_file() { metadata.len() } else { u64::MAX };
            let (budget, cancel) = (self.budget(size), &self.layout.cancel);
            let mut source = archive::Members::read(path, &staging, &budget, cancel)?;
            match source.member("index.json")? {
                // docker save writes both since version 25; the layout has the original digests.
                Some(_) => oci::candidates(&mut source, &staging)?,
                None => docker::candidates(&mut source, &staging)?,
            }
        };
        if candidates.is_empty() {
            return Err(no_image(&subject));
        }
        let names = candidates.iter().map(|candidate| candidate.references.len().max(1)).sum();
        check_names(names, &subject)?;
        accept(&candidates)?;
        self.publish(&staging, &candidates)
    }

    /// Puts staged images into the store. The store is as before if that fails.
    ///
    /// # Errors
    /// `NotFound` if a blob that was in the store is not there any more.
    pub(super) fn publish(
        &self,
        staging: &Staging<'_>,
        candidates: &[Candidate],
    ) -> Result<Vec<Image>> {
        staging.sync()?;
        let _lock = self.layout.lock_exclusive()?;
        let mut placed = Vec::new();
        let published = self.place(candidates, &mut placed).and_then(|()| self.enter(candidates));
        match published {
            Err(error) => {
                for blob in placed {
                    let place = self.layout.blob_path(&blob.digest);
                    // A full disk may have no room for another name.
                    if std::fs::rename(&place, &blob.path).is_err() {
                        // Where that fails, a prune removes it.
                        let _ = std::fs::remove_file(place);
                    }
                }
                Err(error)
            }
            Ok(index) => self.published(&index, candidates),
        }
    }

    /// Gives staged blobs their names, and notes those that were not there.
    fn place<'a>(
        &self,
        candidates: &'a [Candidate],
        placed: &mut Vec<&'a StagedBlob>,
    ) -> Result<()> {
        let blobs = || candidates.iter().flat_map(|candidate| &candidate.blobs);
        for blob in blobs().filter(|blob| !blob.path.exists()) {
            if !self.layout.has_blob(&blob.digest) {
                return Err(Error::new(ErrorKind::NotFound, "store blob", blob.digest.to_string())
                    .cause("it was removed in the meantime"));
            }
        }
        for blob in blobs() {
            let place = self.layout.blob_path(&blob.digest);
            // One that is there is replaced all the same: it may be damaged.
            let known = place.exists();
            match std::fs::rename(&blob.path, &place) {
                // Two images of the archive share it.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && known => {}
                Err(e) => return Err(Error::os("store blob", place.display().to_string(), e)),
                Ok(()) if known => {}
                Ok(()) => placed.push(blob),
            }
        }
        // Before the index, which names them.
        self.layout.sync_names("images/blobs/sha256")
    }

    /// Enters images whose blobs are in place into the index.
    fn enter(&self, candidates: &[Candidate]) -> Result<Index> {
        let mut index = self.layout.index()?;
        for Candidate { manifest, references, .. } in candidates {
            set_reference(&mut index, None, manifest);
            for reference in references {
                set_reference(&mut index, Some(reference), manifest);
            }
        }
        self.layout.write_index(&index)?;
        Ok(index)
    }

    fn published(&self, index: &Index, candidates: &[Candidate]) -> Result<Vec<Image>> {
        let entries = self.entries(index)?;
        let image = |candidate: &Candidate| {
            let wanted = candidate.manifest.digest;
            match entries.iter().position(|entry| entry.digest() == Some(wanted)) {
                Some(i) => self.image(&entries, i),
                None => Err(no_image(&candidate.name())),
            }
        };
        candidates.iter().map(image).collect()
    }
}

/// The most images of an archive, and names of them all. Each is looked for among all that the store
/// has, under its lock: hundreds of thousands, which fit into 4 MiB, would hold it for hours.
const MAX_NAMES: usize = 1000;

fn check_names(names: usize, subject: &str) -> Result<()> {
    if names <= MAX_NAMES {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidData, "load image from", subject)
        .cause(format!("it has {names} images or names, more than {MAX_NAMES}")))
}

/// Reads a document that a source must have.
fn document(source: &mut impl Source, name: &str) -> Result<Vec<u8>> {
    let staged = source.member(name)?;
    let staged = staged.ok_or_else(|| missing(source.subject(), name))?;
    read_staged(&staged, name)
}

fn read_staged(staged: &StagedBlob, name: &str) -> Result<Vec<u8>> {
    let file = std::fs::File::open(&staged.path).map_err(|e| Error::os("open", name, e))?;
    read_bounded(file, name)
}

fn missing(subject: &str, name: &str) -> Error {
    Error::new(ErrorKind::InvalidData, "load image from", subject)
        .cause(format!("it has no {name}"))
}

fn no_image(subject: &str) -> Error {
    Error::new(ErrorKind::InvalidData, "load image from", subject).cause("it holds no image")
}

#[cfg(test)]
mod tests;
