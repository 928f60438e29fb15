//! docker-archives: `manifest.json` names the configs and the layers, which are plain tars.
//!
//! There is no manifest with digests in it, so one is made. Layers are kept as they are: a digest
//! of them is their diff_id, unless a tool compressed them.
//!
//! Source: <https://github.com/moby/docker-image-spec/blob/main/spec.md>

use serde::Deserialize;

use super::{Candidate, Source, check_names, document, missing, read_staged};
use crate::image::compression::Compression;
use crate::image::config::ImageConfig;
use crate::image::digest::Digest;
use crate::image::layout::{StagedBlob, Staging};
use crate::image::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST, parse_document};
use crate::image::store::taggable;
use crate::{Error, ErrorKind, Result};

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "crate::image::null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "crate::image::null_is_default")]
    layers: Vec<String>,
}

/// The images of a docker-archive.
pub(super) fn candidates(
    source: &mut impl Source,
    staging: &Staging<'_>,
) -> Result<Vec<Candidate>> {
    let Some(manifest) = source.member("manifest.json")? else {
        return Err(Error::new(ErrorKind::InvalidData, "load image from", source.subject())
            .cause("it has neither manifest.json nor index.json")
            .fix("a root file system can be imported"));
    };
    let manifest = read_staged(&manifest, "manifest.json")?;
    let items: Vec<Item> = parse_document(&manifest, "manifest.json")?;
    check_names(items.iter().map(|item| item.repo_tags.len().max(1)).sum(), source.subject())?;
    items.iter().map(|item| candidate(source, staging, item)).collect()
}

fn candidate(source: &mut impl Source, staging: &Staging<'_>, item: &Item) -> Result<Candidate> {
    let bytes = document(source, &item.config)?;
    let staged = source.member(&item.config)?.ok_or_else(|| missing(source.subject(), "config"))?;
    check_name(&item.config, &staged)?;
    let config: ImageConfig = parse_document(&bytes, &item.config)?;
    config.check_layer_count(item.layers.len(), &item.config)?;
    let mut blobs = vec![staged];
    let mut layers = Vec::new();
    for (name, diff_id) in item.layers.iter().zip(&config.rootfs.diff_ids) {
        let staged = source.member(name)?.ok_or_else(|| missing(source.subject(), name))?;
        layers.push(layer(name, &staged, *diff_id)?);
        blobs.push(staged);
    }
    let manifest = Manifest::new(Descriptor::of(OCI_CONFIG, &bytes), layers);
    let references = item.repo_tags.iter().map(|tag| taggable(tag)).collect::<Result<_>>();
    finish(staging, manifest, blobs, references.map_err(foreign)?)
}

/// What the caller did not type is not the caller's input.
fn foreign(error: Error) -> Error {
    error.with_kind(ErrorKind::InvalidData)
}

/// Writes the manifest of an image that had none.
pub(in crate::image) fn finish(
    staging: &Staging<'_>,
    manifest: Manifest,
    mut blobs: Vec<StagedBlob>,
    references: Vec<crate::image::Reference>,
) -> Result<Candidate> {
    let json = serde_json::to_vec(&manifest)
        .map_err(|e| Error::new(ErrorKind::InvalidData, "write", "manifest").with_source(e))?;
    // What is written is read again, and so must pass the same checks.
    let manifest = Manifest::parse(&json, "the manifest of the image")?;
    blobs.push(staging.blob(&*json, "manifest")?);
    Ok(Candidate {
        manifest: Descriptor::of(OCI_MANIFEST, &json),
        config: manifest.config,
        blobs,
        references,
    })
}

/// A config called after its digest must have it.
fn check_name(name: &str, staged: &StagedBlob) -> Result<()> {
    let file = name.rsplit('/').next().unwrap_or(name);
    match Digest::from_hex(file.strip_suffix(".json").unwrap_or(file)) {
        Some(digest) if digest != staged.digest => {
            Err(Error::new(ErrorKind::DigestMismatch, "verify", name)
                .cause(format!("it hashes to {}", staged.digest)))
        }
        _ => Ok(()),
    }
}

/// A layer's descriptor. A plain layer is checked here, a compressed one when it is unpacked.
fn layer(name: &str, staged: &StagedBlob, diff_id: Digest) -> Result<Descriptor> {
    let compression = Compression::of_file(&staged.path).map_err(|e| Error::os("read", name, e))?;
    if compression == Compression::Plain && staged.digest != diff_id {
        return Err(Error::new(ErrorKind::DigestMismatch, "verify", name)
            .cause(format!("it hashes to {}, the config says {diff_id}", staged.digest)));
    }
    Ok(Descriptor::new(compression.layer_media_type(), staged.digest, staged.size))
}
