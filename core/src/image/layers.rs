//! Layers, unpacked once each and shared by all images that have them.
//!
//! A layer is a directory named after its chain id, with `fs`, what overlayfs stacks, and
//! `meta.json`. It is complete when it exists: unpacked beside, verified, made durable by one
//! syncfs(2) an image, and renamed; the names are durable when the unpacking is reported done.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::compression::Decoder;
use super::digest::{Digest, HashReader};
use super::handle::Image;
use super::layout::{Staging, check_blob};
use super::manifest::Descriptor;
use super::store::Images;
use super::tar::{Archive, read_error};
use super::unpack::{Lowers, open_root, unpack};
use crate::cancel::Watched;
use crate::{Error, ErrorKind, Result};

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
    pub(super) fn is_unpacked(&self, image: &Image) -> bool {
        image.config().chain_ids().iter().all(|id| self.layout.layer_path(id).join("fs").exists())
    }

    /// Unpacks what is missing of `image`; see [`Image::layers`]. `unpacked` is told the number of
    /// each layer that is done, be it visible yet or not.
    pub(super) fn unpack(&self, image: &Image, unpacked: &dyn Fn(usize)) -> Result<Vec<PathBuf>> {
        let chain_ids = image.config().chain_ids();
        let places: Vec<PathBuf> =
            chain_ids.iter().map(|id| self.layout.layer_path(id).join("fs")).collect();
        if places.iter().all(|place| place.exists()) {
            (0..places.len()).for_each(unpacked);
            return Ok(places);
        }
        let staging = self.layout.stage()?;
        let budget = self.budget(image.size());
        let mut lowers = Lowers::within(&budget);
        let mut fresh = Vec::new();
        for (i, chain_id) in chain_ids.iter().enumerate() {
            let mut fs = places[i].clone();
            if !fs.exists() {
                let layer = staging.path().join(chain_id.hex());
                let meta = Meta {
                    diff_id: image.config().rootfs.diff_ids[i],
                    chain_id: *chain_id,
                    parent: i.checked_sub(1).map(|below| chain_ids[below]),
                    xattrs: "trusted",
                };
                self.unpack_layer(&layer, &image.manifest().layers[i], &meta, &lowers)?;
                fs = layer.join("fs");
                fresh.push((layer, *chain_id));
            }
            let subject = || fs.display().to_string();
            lowers.push(open_root(CWD, &fs).map_err(|e| Error::os("open layer", subject(), e))?);
            unpacked(i);
        }
        self.publish_layers(image, &staging, &fresh)?;
        Ok(places)
    }

    /// Unpacks one blob into `layer` and checks it; the blob was checked when it came, and is
    /// again, for disks forget.
    fn unpack_layer(
        &self,
        layer: &Path,
        blob: &Descriptor,
        meta: &Meta,
        lowers: &Lowers,
    ) -> Result<()> {
        let subject = format!("layer {}", blob.digest);
        let failed = |error: io::Error| Error::os("unpack", &*subject, error);
        // 0700: setuid programs of an image are not for the host's users.
        create_private(layer).and_then(|()| create_private(&layer.join("fs"))).map_err(failed)?;
        let root = open_root(CWD, layer.join("fs")).map_err(|e| failed(e.into()))?;
        let file = File::open(self.layout.blob_path(&blob.digest)).map_err(failed)?;
        let decoder = Decoder::new(HashReader::new(file)).map_err(|e| read_error(e, &subject))?;
        let decoder = self.layout.cancel.watch(decoder.within(lowers.budget()));
        let mut archive = Archive::new(HashReader::new(decoder), &*subject);
        unpack(&mut archive, root.as_fd(), lowers, &subject)?;
        let (hasher, _) = archive.finish()?;
        verify(hasher, blob, meta.diff_id, &subject)?;
        let json = serde_json::to_vec(meta).map_err(|e| failed(e.into()))?;
        fs::write(layer.join("meta.json"), json).map_err(failed)
    }

    fn publish_layers(
        &self,
        image: &Image,
        staging: &Staging<'_>,
        fresh: &[(PathBuf, Digest)],
    ) -> Result<()> {
        staging.sync()?;
        let _lock = self.layout.lock_exclusive()?;
        if !self.layout.has_blob(image.id()) {
            return Err(Error::new(ErrorKind::NotFound, "unpack image", image.name())
                .cause("it was removed in the meantime"));
        }
        for (layer, chain_id) in fresh {
            let place = self.layout.layer_path(chain_id);
            match rustix::fs::renameat_with(CWD, layer, CWD, &place, RenameFlags::NOREPLACE) {
                // Another process unpacked the same layer and was faster.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => {
                    return Err(Error::os("publish layer", place.display().to_string(), errno));
                }
            }
        }
        // They are there: a failure means no more than that a loss of power may take them.
        let _ = self.layout.sync_names("layers");
        Ok(())
    }
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
    if found != diff_id {
        return Err(Error::new(ErrorKind::DigestMismatch, "verify", subject)
            .cause(format!("its archive hashes to {found}, its image's config says {diff_id}")));
    }
    let mut rest = decoder.into_inner().into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| read_error(error, subject))?;
    let (_, (digest, size)) = rest.into_inner().finish();
    check_blob(blob, digest, size)
}
