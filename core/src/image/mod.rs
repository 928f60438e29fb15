//! Images: named, loaded, stored, unpacked, made, saved.
//!
//! An [`Images`] is what a store has of them. [`Images::load`] takes what docker, podman and
//! skopeo save, [`Images::import`] a root file system, [`Images::pull`] what a [`registry`] has;
//! [`Images::find`] gives an [`Image`] by name or id, whose [`layers`](Image::layers) are
//! directories for overlayfs, bottom first.
//!
//! [`Image::commit`] and [`Image::squash`] make images of others, [`Images::save`] and
//! [`Image::export`] write what other tools read, [`Image::diff`] compares, and [`Images::prune`]
//! removes what nobody needs.
//!
//! A [`signature`] policy says who must have signed what is pulled.
//!
//! Follows the OCI image specification 1.1; a store's `images` directory is an OCI image layout.
//! Only [`registry`] knows a network, and nothing of an image is run.

mod arrival;
mod beside;
mod budget;
mod commit;
mod compression;
mod config;
mod digest;
mod export;
#[cfg(test)]
mod fixture;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod garbage;
mod handle;
mod inflate;
mod layers;
mod layout;
mod load;
mod lock;
mod manifest;
mod partial;
mod platform;
mod reference;
pub mod registry;
mod reserve;
mod save;
pub mod signature;
mod store;
mod tar;
mod time;
mod tree;
mod unpack;
mod usage;

pub use commit::Commit;
pub use config::{Healthcheck, History, ImageConfig, RootFs, RunConfig};
pub use digest::Digest;
pub(crate) use export::{diff_trees, export_tree};
pub use garbage::{Prune, Pruned};
pub use handle::{Image, Lease, Step};
pub use manifest::{Descriptor, Manifest};
pub use platform::Platform;
pub use reference::Reference;
pub use save::ArchiveFormat;
pub use store::{ImageSummary, Images};
pub use tree::{Change, ChangeKind};
pub use usage::{DiskUsage, ImageUsage};

use serde::{Deserialize, Deserializer};

/// Reads a field that writers set to `null` for lack of a value.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
