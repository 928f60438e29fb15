//! What is said of images, as objects.

use std::collections::HashMap;

use napi_derive::napi;
use skep::image::{self, ChangeKind, Reference};

/// [`image::ImageSummary`].
#[napi(object, object_from_js = false, use_nullable = true)]
pub(crate) struct Summary {
    pub id: String,
    pub references: Vec<String>,
    pub size: f64,
    pub created: Option<String>,
}

/// [`image::Descriptor`].
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: f64,
    pub platform: Option<String>,
    pub artifact_type: Option<String>,
    pub annotations: HashMap<String, String>,
}

/// [`image::Step`].
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct Step {
    pub created: Option<String>,
    pub created_by: Option<String>,
    pub author: Option<String>,
    pub comment: Option<String>,
    pub layer: Option<Descriptor>,
}

/// [`image::Change`].
#[napi(object, object_from_js = false)]
pub(crate) struct Change {
    pub kind: &'static str,
    pub path: String,
}

/// [`image::Pruned`].
#[napi(object, object_from_js = false)]
pub(crate) struct Pruned {
    pub images: Vec<String>,
    pub blobs: f64,
    pub layers: f64,
    pub bytes: f64,
}

/// [`image::DiskUsage`].
#[napi(object, object_from_js = false)]
pub(crate) struct DiskUsage {
    pub images: Vec<ImageUsage>,
    pub blobs: f64,
    pub layers: f64,
    pub unneeded: f64,
}

/// [`image::ImageUsage`].
#[napi(object, object_from_js = false)]
pub(crate) struct ImageUsage {
    pub id: String,
    pub references: Vec<String>,
    pub blobs: f64,
    pub layers: f64,
    pub shared: f64,
    pub in_use: bool,
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(ToString::to_string).collect()
}

impl From<image::ImageSummary> for Summary {
    fn from(summary: image::ImageSummary) -> Summary {
        Summary {
            id: summary.id.to_string(),
            references: names(&summary.references),
            size: summary.size as f64,
            created: summary.created,
        }
    }
}

impl From<image::Descriptor> for Descriptor {
    fn from(descriptor: image::Descriptor) -> Descriptor {
        Descriptor {
            artifact_type: descriptor.artifact_type().map(str::to_owned),
            media_type: descriptor.media_type,
            digest: descriptor.digest.to_string(),
            size: descriptor.size as f64,
            platform: descriptor.platform.map(|platform| platform.to_string()),
            annotations: descriptor.annotations.into_iter().collect(),
        }
    }
}

impl From<image::Step> for Step {
    fn from(step: image::Step) -> Step {
        let image::History { created, created_by, author, comment, .. } = step.history;
        Step { created, created_by, author, comment, layer: step.layer.map(Descriptor::from) }
    }
}

impl From<image::Change> for Change {
    fn from(change: image::Change) -> Change {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        };
        // JavaScript has no other strings.
        Change { kind, path: change.path.to_string_lossy().into_owned() }
    }
}

impl From<image::Pruned> for Pruned {
    fn from(pruned: image::Pruned) -> Pruned {
        Pruned {
            images: pruned.images.iter().map(ToString::to_string).collect(),
            blobs: pruned.blobs as f64,
            layers: pruned.layers as f64,
            bytes: pruned.bytes as f64,
        }
    }
}

impl From<image::DiskUsage> for DiskUsage {
    fn from(usage: image::DiskUsage) -> DiskUsage {
        DiskUsage {
            images: usage.images.into_iter().map(ImageUsage::from).collect(),
            blobs: usage.blobs as f64,
            layers: usage.layers as f64,
            unneeded: usage.unneeded as f64,
        }
    }
}

impl From<image::ImageUsage> for ImageUsage {
    fn from(usage: image::ImageUsage) -> ImageUsage {
        ImageUsage {
            id: usage.id.to_string(),
            references: names(&usage.references),
            blobs: usage.blobs as f64,
            layers: usage.layers as f64,
            shared: usage.shared as f64,
            in_use: usage.in_use,
        }
    }
}
