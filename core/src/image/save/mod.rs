//! Saves images into an archive that docker, podman and skopeo read.
//!
//! Everything is checked against its digest on the way out, and the archive is deterministic: the
//! same images are the same bytes.

mod docker;
mod oci;

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::beside::Beside;
use super::budget::Budget;
use super::compression::Decoder;
use super::digest::{Digest, HashReader};
use super::handle::{Image, Lease};
use super::layers::verify;
use super::layout::check_blob;
use super::manifest::Descriptor;
use super::reference::Reference;
use super::store::{Images, choose, has_name};
use super::tar::{Entry, Kind, Writer, read_error};
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

const OPERATION: &str = "save images to";

/// A form in which images are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ArchiveFormat {
    /// `manifest.json` and plain layers: what all versions of docker load.
    #[default]
    Docker,
    /// An OCI image layout in an archive. Every blob is kept as it is, and with it all digests; one
    /// of docker's media types keeps that.
    Oci,
}

/// An image to be saved, and the names it is saved with.
struct Chosen {
    image: Image,
    references: Vec<Reference>,
    /// Of its manifest.
    descriptor: Descriptor,
    _lease: Lease,
}

impl Images {
    /// Saves images by their names or ids into one archive, which replaces a file at `path`.
    ///
    /// A name saves the image under that name alone, an id under all its names. A name with a digest
    /// is saved only in the form of OCI, and only if it is the digest of the image's own manifest.
    /// [`load_all`](Self::load_all) of the archive gives the same images, by id. It is readable by
    /// its owner only, and is at `path` when it is complete: after an error or a SIGKILL the former
    /// file is there.
    ///
    /// ```no_run
    /// use skep::image::ArchiveFormat;
    ///
    /// let engine = skep::Engine::open_default()?;
    /// engine.images().save(&["app:1", "app:2"], "apps.tar", ArchiveFormat::Docker)?;
    /// # Ok::<(), skep::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` if there is no such image, or no directory for the archive; `InvalidInput`
    /// without any names, or if `path` is something else than a file; `DigestMismatch` or
    /// `InvalidData` if an image is damaged; `ResourceExhausted` on a full disk.
    ///
    /// Source: <https://github.com/moby/docker-image-spec/blob/main/spec.md>,
    /// <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>
    pub fn save<N: AsRef<str>>(
        &self,
        names: &[N],
        path: impl AsRef<Path>,
        format: ArchiveFormat,
    ) -> Result<()> {
        let path = path.as_ref();
        let save = || {
            let chosen = self.chosen(names)?;
            let beside = Beside::create(path, OPERATION)?;
            let mut archive = Archive::new(self, &beside);
            match format {
                ArchiveFormat::Docker => docker::write(&mut archive, &chosen)?,
                ArchiveFormat::Oci => oci::write(&mut archive, &chosen)?,
            }
            archive.finish()?;
            beside.publish()
        };
        let subject = path.display().to_string();
        self.layout.cancel.run(OPERATION, &subject, || sigpipe::without_file_size_signal(save))
    }

    /// The images of `names`, each once.
    fn chosen<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<Chosen>> {
        if names.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidInput, "save", "no images").fix("name at least one")
            );
        }
        let entries = self.entries(&self.layout.index()?)?;
        let mut all: Vec<Chosen> = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let i = choose(&entries, name)?;
            let image = self.image(&entries, i)?;
            let references = match entries[i].reference.clone() {
                Some(reference) if has_name(&entries[i], name) => vec![reference],
                _ => image.references().to_vec(),
            };
            let same = all.iter().position(|chosen| chosen.image.digest() == image.digest());
            let at = same.unwrap_or(all.len());
            if same.is_none() {
                let (_lease, descriptor) = (image.lease()?, self.resolve(&entries[i].top)?.0);
                all.push(Chosen { image, references: Vec::new(), descriptor, _lease });
            }
            let chosen = &mut all[at];
            for reference in references {
                if !chosen.references.contains(&reference) {
                    chosen.references.push(reference);
                }
            }
        }
        Ok(all)
    }
}

/// The archive in the making.
struct Archive<'a> {
    images: &'a Images,
    beside: &'a Beside,
    tar: Writer<BufWriter<&'a File>>,
}

impl<'a> Archive<'a> {
    fn new(images: &'a Images, beside: &'a Beside) -> Self {
        let tar = Writer::new(BufWriter::with_capacity(128 << 10, beside.file()));
        Archive { images, beside, tar }
    }

    fn finish(self) -> Result<()> {
        let flushed = self.tar.finish().and_then(|mut output| output.flush());
        flushed.map_err(|error| self.beside.failed(error))
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        let entry = Entry { kind: Kind::Directory, mode: 0o755, ..member(name, 0) };
        self.tar.begin(&entry).map_err(|error| self.beside.failed(error))
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let entry = member(name, bytes.len() as u64);
        let written = self.tar.begin(&entry).and_then(|()| self.tar.data(bytes));
        written.map_err(|error| self.beside.failed(error))
    }

    /// Copies a blob of the store as it is.
    fn blob(&mut self, name: &str, blob: &Descriptor) -> Result<()> {
        let failed = |error| self.beside.failed(error);
        self.tar.begin(&member(name, blob.size)).map_err(failed)?;
        // One byte more, to notice a blob that is too long.
        let file = self.images.layout.cancel.watch(self.open(blob)?);
        let mut reader = HashReader::new(file.take(blob.size.saturating_add(1)));
        let mut left = blob.size;
        copy(&mut reader, &subject(blob), |piece| {
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            left -= n as u64;
            self.tar.data(&piece[..n]).map_err(failed)
        })?;
        let (_, (digest, size)) = reader.finish();
        check_blob(blob, digest, size)
    }

    /// Copies a layer without its compression, and checks both of its digests.
    fn plain_layer(
        &mut self,
        name: &str,
        blob: &Descriptor,
        diff_id: Digest,
        budget: &Budget,
    ) -> Result<()> {
        let subject = subject(blob);
        let file = HashReader::new(self.open(blob)?);
        let decoder = Decoder::new(file).map_err(|error| read_error(error, &subject))?;
        let decoder = decoder.within(budget);
        let mut reader = HashReader::new(self.images.layout.cancel.watch(decoder));
        let failed = |error| self.beside.failed(error);
        let entry = member(name, 0);
        self.tar.begin_open(&entry).map_err(failed)?;
        copy(&mut reader, &subject, |piece| self.tar.data(piece).map_err(failed))?;
        self.tar.end_open(&entry).map_err(failed)?;
        verify(reader, blob, diff_id, &subject)
    }

    fn open(&self, blob: &Descriptor) -> Result<File> {
        File::open(self.images.layout.blob_path(&blob.digest))
            .map_err(|error| Error::os("open blob", blob.digest.to_string(), error))
    }
}

/// A file of the archive. Without a date, as the images themselves may be.
fn member(name: &str, size: u64) -> Entry {
    Entry {
        kind: Kind::File,
        name: name.as_bytes().to_vec(),
        target: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: (0, 0),
        size,
        segments: None,
        xattrs: Vec::new(),
    }
}

fn subject(blob: &Descriptor) -> String {
    format!("blob {}", blob.digest)
}

fn json(document: &impl serde::Serialize, name: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|error| Error::new(ErrorKind::InvalidData, "write", name).with_source(error))
}

/// Hands all of `input` to `write`, piece by piece; `subject` names it in errors.
fn copy(
    mut input: impl Read,
    subject: &str,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => write(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error, subject)),
        }
    }
}

#[cfg(test)]
mod tests;
