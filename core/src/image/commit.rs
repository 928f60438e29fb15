//! New images: of an image and what a container wrote on top of it, and of all layers of one.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use flate2::write::GzEncoder;

use super::config::{History, ImageConfig, RunConfig};
use super::digest::{Digest, HashWriter};
use super::handle::Image;
use super::layout::{StagedBlob, Staging};
use super::load::finish;
use super::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER_GZIP};
use super::store::taggable;
use super::time::{rfc3339, since_epoch};
use super::tree::{Directory, Form, Likeness, Style, capture};
use crate::sys::sigpipe;
use crate::{Error, ErrorKind, Result};

/// What an image made by a commit is called, and how it differs from the one it is made of, beside
/// its files.
///
/// ```
/// use skep::image::Commit;
///
/// let commit = Commit::new().reference("app:2").comment("numpy installed");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Commit {
    reference: Option<String>,
    config: Option<RunConfig>,
    author: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
    time: Option<SystemTime>,
    max_size: Option<u64>,
}

impl Commit {
    /// A commit without a name that changes nothing but files.
    pub fn new() -> Self {
        Commit::default()
    }

    /// The image's name; another image of that name loses it.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// What a container of the image runs, in the place of all that the former image says of it.
    pub fn config(mut self, config: RunConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Who made it.
    pub fn author(mut self, author: impl Into<String>) -> Self {
        self.author = Some(author.into());
        self
    }

    /// A line for its history.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// The command that made it, for its history.
    pub fn created_by(mut self, command: impl Into<String>) -> Self {
        self.created_by = Some(command.into());
        self
    }

    /// The time that all files of the new layer, the image and its history bear: the same tree is
    /// the same image then. Without, files keep theirs and the image bears the present.
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// The most bytes that the files of the new layer may have in all, holes included: a hostile
    /// container can have a file of any size without having written it. Without, any number; an
    /// image that exceeds what [`Images::max_size`](super::Images::max_size) says of the default is
    /// unpacked only with more.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// The config of the new image, whose layers and history it has already.
    fn apply(&self, former: ImageConfig) -> ImageConfig {
        let mut config = former;
        config.created = Some(self.created());
        config.author = self.author.clone().or(config.author);
        config.config = self.config.clone().unwrap_or(config.config);
        // What docker's builder ran for the former image.
        for stale in ["container", "container_config"] {
            config.extra.remove(stale);
        }
        config
    }

    fn history(&self, empty_layer: bool) -> History {
        History {
            created: Some(self.created()),
            created_by: self.created_by.clone(),
            author: self.author.clone(),
            comment: self.comment.clone(),
            empty_layer,
        }
    }

    fn created(&self) -> String {
        rfc3339(since_epoch(self.time.unwrap_or_else(SystemTime::now)).0)
    }
}

/// A layer whose blob is staged.
struct Layer {
    blob: StagedBlob,
    diff_id: Digest,
}

impl Image {
    /// Makes an image of this one and of `upper`, which overlayfs wrote on top of its
    /// [`layers`](Self::layers). Containers have [`Child::commit`](crate::Child::commit) for it.
    ///
    /// The new layer has what the directory has, sorted and compressed by gzip; overlayfs's
    /// whiteouts and opaque marks become OCI's. Sockets and xattrs that belong to a host
    /// (`trusted.*`, `security.selinux`) are left out. Without any change there is no new layer.
    ///
    /// # Errors
    /// `InvalidInput` for a bad reference; `NotFound` if the image was removed; `Unsupported` for
    /// what a layer cannot hold (a name that begins with `.wh.`, more than 256 directories deep)
    /// or if overlayfs kept contents elsewhere (`redirect_dir`); `ResourceExhausted` on a full
    /// disk, or above the commit's limit. The store is as before then.
    ///
    /// Source: <https://github.com/opencontainers/image-spec/blob/main/layer.md>
    pub fn commit(&self, upper: impl AsRef<Path>, commit: &Commit) -> Result<Image> {
        self.make("commit", commit, |staging| {
            let below = match self.layers()?.last() {
                Some(layer) => Some(root_of(&Directory::open(std::slice::from_ref(layer))?)?),
                None => None,
            };
            let upper = Directory::open(&[upper.as_ref()])?;
            let form = Form::Layer { parent: below };
            let layer = self.stage_layer(staging, &upper, form, commit)?;
            let mut config = self.config().clone();
            pad_history(&mut config);
            config.history.push(commit.history(layer.is_none()));
            config.rootfs.diff_ids.extend(layer.iter().map(|layer| layer.diff_id));
            let below = self.manifest().layers.iter().map(Descriptor::as_oci_layer).collect();
            Ok((config, below, layer))
        })
    }

    /// Makes an image of one layer that has all of this one's files. Its history says how they
    /// came.
    ///
    /// # Errors
    /// As [`commit`](Self::commit), and those of [`layers`](Self::layers).
    pub fn squash(&self, commit: &Commit) -> Result<Image> {
        self.make("squash", commit, |staging| {
            let root = Directory::open(&self.root_layers("squash")?)?;
            let layer = self.stage_layer(staging, &root, Form::Whole, commit)?;
            let mut config = self.config().clone();
            for step in &mut config.history {
                step.empty_layer = true;
            }
            config.history.push(commit.history(layer.is_none()));
            config.rootfs.diff_ids = layer.iter().map(|layer| layer.diff_id).collect();
            Ok((config, Vec::new(), layer))
        })
    }

    /// Stages what `build` makes (a config, the layers below and the new one), and publishes it.
    fn make(
        &self,
        operation: &'static str,
        commit: &Commit,
        build: impl FnOnce(&Staging<'_>) -> Result<(ImageConfig, Vec<Descriptor>, Option<Layer>)>,
    ) -> Result<Image> {
        let make = || {
            let reference = commit.reference.as_deref().map(taggable).transpose()?;
            // Keeps the layers below until the new image refers to them, too.
            let _lease = self.lease()?;
            let staging = self.images().layout.stage()?;
            let (config, mut layers, layer) = build(&staging)?;
            let mut blobs = Vec::new();
            if let Some(Layer { blob, .. }) = layer {
                layers.push(Descriptor::new(OCI_LAYER_GZIP, blob.digest, blob.size));
                blobs.push(blob);
            }
            let failed =
                |error| Error::new(ErrorKind::InvalidData, "write", "config").with_source(error);
            let config = staging
                .blob(&*serde_json::to_vec(&commit.apply(config)).map_err(failed)?, "config")?;
            let descriptor = Descriptor::new(OCI_CONFIG, config.digest, config.size);
            let manifest = Manifest::new(descriptor, layers);
            blobs.push(config);
            let candidate = finish(&staging, manifest, blobs, reference.into_iter().collect())?;
            let image = self.images().publish(&staging, &[candidate])?.pop();
            image.ok_or_else(|| Error::new(ErrorKind::NotFound, operation, self.name()))
        };
        self.run(operation, || sigpipe::without_file_size_signal(make))
    }

    /// Writes a tree as a layer; `None` if there is nothing in it.
    fn stage_layer(
        &self,
        staging: &Staging<'_>,
        root: &Directory,
        form: Form,
        commit: &Commit,
    ) -> Result<Option<Layer>> {
        let (path, file) = staging.create()?;
        let failed = |error: io::Error| Error::os("write", path.display().to_string(), error);
        // Fast: most such layers never leave this machine. It bears no date.
        let gzip = GzEncoder::new(HashWriter::new(&file), flate2::Compression::fast());
        let style = Style {
            form,
            time: commit.time.map(since_epoch),
            max_size: commit.max_size.unwrap_or(u64::MAX),
        };
        let (tar, entries) =
            capture(root, style, self.cancel().watch(HashWriter::new(gzip)), &failed)?;
        let (gzip, (diff_id, _)) = tar.into_inner().finish();
        let (_, (digest, size)) = gzip.finish().map_err(failed)?.finish();
        Ok((entries > 0).then_some(Layer { blob: StagedBlob { path, digest, size }, diff_id }))
    }

    /// The directories of its layers, of which there is at least one.
    pub(super) fn root_layers(&self, operation: &'static str) -> Result<Vec<std::path::PathBuf>> {
        let layers = self.layers()?;
        if layers.is_empty() {
            return Err(Error::new(ErrorKind::InvalidInput, operation, self.name())
                .cause("the image has no layers"));
        }
        Ok(layers)
    }
}

fn root_of(root: &Directory) -> Result<Likeness> {
    let stat = root.stat().map_err(|errno| Error::os("read", "the root of a layer", errno))?;
    Ok(Likeness::of(&stat))
}

/// Gives every layer a line of history, where the former image's has fewer: docker counts them.
fn pad_history(config: &mut ImageConfig) {
    let lines = config.history.iter().filter(|step| !step.empty_layer).count();
    let missing = config.rootfs.diff_ids.len().saturating_sub(lines);
    config.history.splice(0..0, std::iter::repeat_n(History::default(), missing));
}
