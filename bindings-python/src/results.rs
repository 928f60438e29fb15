//! What becomes of images, as the dataclasses of `skep/_results.py`.

use pyo3::prelude::*;
use pyo3::{IntoPyObjectExt, intern};
use skep::image::registry::{Progress, PushProgress, Pushed};
use skep::image::{
    Change, ChangeKind, Descriptor, DiskUsage, ImageSummary, ImageUsage, Pruned, Reference, Step,
};

use crate::dataclass::Dataclass;

type Object<'py> = PyResult<Bound<'py, PyAny>>;

/// An instance of a dataclass, with these fields.
macro_rules! instance {
    ($py:ident, $class:literal, { $($field:ident: $value:expr),* $(,)? }) => {{
        static CLASS: Dataclass = Dataclass::new($class);
        CLASS.instance($py, [
            $((intern!($py, stringify!($field)), $value.into_bound_py_any($py)?)),*
        ])
    }};
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(ToString::to_string).collect()
}

pub(crate) fn summary(py: Python<'_>, image: ImageSummary) -> Object<'_> {
    instance!(py, "ImageSummary", {
        id: image.id.to_string(),
        references: names(&image.references),
        size: image.size,
        created: image.created,
    })
}

pub(crate) fn descriptor<'py>(py: Python<'py>, descriptor: &Descriptor) -> Object<'py> {
    instance!(py, "Descriptor", {
        media_type: &descriptor.media_type,
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
        platform: descriptor.platform.as_ref().map(ToString::to_string),
        artifact_type: descriptor.artifact_type(),
        annotations: &descriptor.annotations,
    })
}

pub(crate) fn step<'py>(py: Python<'py>, step: &Step) -> Object<'py> {
    let layer = step.layer.as_ref().map(|layer| descriptor(py, layer)).transpose()?;
    instance!(py, "HistoryStep", {
        created: &step.history.created,
        created_by: &step.history.created_by,
        author: &step.history.author,
        comment: &step.history.comment,
        layer: layer,
    })
}

pub(crate) fn changes(py: Python<'_>, changes: Vec<Change>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let change = |change: Change| {
        let kind = match change.kind {
            ChangeKind::Added => intern!(py, "added"),
            ChangeKind::Changed => intern!(py, "changed"),
            ChangeKind::Deleted => intern!(py, "deleted"),
        };
        instance!(py, "Change", { kind: kind, path: change.path.into_os_string() })
    };
    changes.into_iter().map(change).collect()
}

pub(crate) fn pruned(py: Python<'_>, pruned: Pruned) -> Object<'_> {
    let images: Vec<String> = pruned.images.iter().map(ToString::to_string).collect();
    instance!(py, "Pruned", {
        images: images,
        blobs: pruned.blobs,
        layers: pruned.layers,
        bytes: pruned.bytes,
    })
}

pub(crate) fn disk_usage(py: Python<'_>, usage: DiskUsage) -> Object<'_> {
    let image = |image: &ImageUsage| {
        instance!(py, "ImageUsage", {
            id: image.id.to_string(),
            references: names(&image.references),
            blobs: image.blobs,
            layers: image.layers,
            shared: image.shared,
            in_use: image.in_use,
        })
    };
    instance!(py, "DiskUsage", {
        images: usage.images.iter().map(image).collect::<PyResult<Vec<_>>>()?,
        blobs: usage.blobs,
        layers: usage.layers,
        unneeded: usage.unneeded,
    })
}

pub(crate) fn pull_progress<'py>(py: Python<'py>, told: &Progress) -> Object<'py> {
    instance!(py, "PullProgress", {
        layer: told.layer.to_string(),
        total: told.total,
        fetched: told.fetched,
        unpacked: told.unpacked,
    })
}

pub(crate) fn push_progress<'py>(py: Python<'py>, told: &PushProgress) -> Object<'py> {
    let done = told.done.map(|done| match done {
        Pushed::Sent => intern!(py, "sent"),
        Pushed::Existed => intern!(py, "existed"),
        Pushed::Mounted => intern!(py, "mounted"),
        _ => intern!(py, "unknown"),
    });
    instance!(py, "PushProgress", {
        blob: told.blob.to_string(),
        total: told.total,
        sent: told.sent,
        done: done,
    })
}
