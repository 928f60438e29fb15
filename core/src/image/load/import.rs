//! Imports a root file system's archive as an image of one layer.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::{finish, no_image};
use crate::image::budget::Budget;
use crate::image::compression::{Compression, Decoder};
use crate::image::config::{History, ImageConfig, RootFs};
use crate::image::digest::{Digest, HashReader};
use crate::image::handle::Image;
use crate::image::manifest::{Descriptor, Manifest, OCI_CONFIG};
use crate::image::platform::host_architecture;
use crate::image::reference::Reference;
use crate::image::store::{Images, taggable};
use crate::image::tar::{Archive, read_error};
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

impl Images {
    /// Makes an image of a root file system's tar archive, which may be compressed by gzip or
    /// zstd, and names it `reference`, if given.
    ///
    /// Its config is empty but for the platform, which is this machine's. It bears no date, so
    /// that the same archive becomes the same image.
    ///
    /// # Errors
    /// `NotFound` without such a file, `InvalidInput` for a bad reference, `InvalidData` if the
    /// archive is malformed, truncated or empty, `ResourceExhausted` on a full disk. The store is as
    /// before then.
    pub fn import(&self, tar: impl AsRef<Path>, reference: Option<&str>) -> Result<Image> {
        let references = reference.map(taggable).transpose()?;
        let import = || self.import_as(tar.as_ref(), references);
        let subject = tar.as_ref().display().to_string();
        let import = || sigpipe::without_file_size_signal(import);
        self.layout
            .cancel
            .run("import", &subject, import)
            .map_err(|error| error.fix_data("make the archive again"))
    }

    fn import_as(&self, path: &Path, references: Option<Reference>) -> Result<Image> {
        let subject = path.display().to_string();
        let staging = self.layout.stage()?;
        let file = self.layout.cancel.open(path).map_err(|e| Error::os("import", &*subject, e))?;
        let layer = staging.blob(file, &subject)?;
        let read = |error| Error::os("import", &*subject, error);
        let compression = Compression::of_file(&layer.path).map_err(read)?;
        let file = self.layout.cancel.watch(File::open(&layer.path).map_err(read)?);
        let diff_id = check(file, &self.budget(layer.size), &subject)?;
        let config = staging.blob(&*config(diff_id)?, "config")?;
        let manifest = Manifest::new(
            Descriptor::new(OCI_CONFIG, config.digest, config.size),
            vec![Descriptor::new(compression.layer_media_type(), layer.digest, layer.size)],
        );
        let references = references.into_iter().collect();
        let candidate = finish(&staging, manifest, vec![layer, config], references)?;
        self.publish(&staging, &[candidate])?.pop().ok_or_else(|| no_image(&subject))
    }
}

/// Reads an archive to its end and returns its diff_id.
fn check(file: impl io::Read, budget: &Budget, subject: &str) -> Result<Digest> {
    let decoder = Decoder::new(file).map_err(|e| read_error(e, subject))?;
    let decoder = HashReader::new(decoder.within(budget));
    let mut archive = Archive::new(BufReader::with_capacity(128 << 10, decoder), subject);
    let invalid = |cause| Error::new(ErrorKind::InvalidData, "import", subject).cause(cause);
    if archive.next()?.is_none() {
        return Err(invalid("it holds no files"));
    }
    let (hasher, marked) = archive.finish()?;
    if !marked {
        return Err(invalid("it is truncated"));
    }
    let (mut decoder, (diff_id, _)) = hasher.into_inner().finish();
    io::copy(&mut decoder, &mut io::sink()).map_err(|e| read_error(e, subject))?;
    Ok(diff_id)
}

fn config(diff_id: Digest) -> Result<Vec<u8>> {
    let config = ImageConfig {
        architecture: host_architecture().to_owned(),
        os: "linux".to_owned(),
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
        history: vec![History { comment: Some("imported".to_owned()), ..History::default() }],
        ..ImageConfig::default()
    };
    serde_json::to_vec(&config)
        .map_err(|e| Error::new(ErrorKind::InvalidData, "write", "config").with_source(e))
}
