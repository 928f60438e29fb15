//! The image config: what to run by default, and what the layers must hash to.
//!
//! Own structs, because oci-spec drops docker's fields (Healthcheck, Shell, OnBuild) and unknown
//! ones. Writers put `null` for what they do not have, which reads as absent.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/config.md>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Digest;
use super::manifest::{Manifest, parse_document};
use crate::{Error, ErrorKind, Result};

/// An image's config. Its bytes' digest is the image's id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was built, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor as Go names it.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub architecture: String,
    /// The operating system: `linux`.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container of this image runs unless told otherwise.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub config: RunConfig,
    /// The layers' contents.
    pub rootfs: RootFs,
    /// How the layers came to be, bottom first.
    #[serde(default, deserialize_with = "super::null_is_default")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl ImageConfig {
    /// Parses a config and checks that `manifest` has as many layers. `subject` names it in the
    /// error.
    ///
    /// # Errors
    /// `InvalidData` if it is malformed.
    pub(crate) fn parse(bytes: &[u8], manifest: &Manifest, subject: &str) -> Result<Self> {
        let config: ImageConfig = parse_document(bytes, subject)?;
        config.check_layer_count(manifest.layers.len(), subject)?;
        Ok(config)
    }

    pub(crate) fn check_layer_count(&self, layers: usize, subject: &str) -> Result<()> {
        let diff_ids = self.rootfs.diff_ids.len();
        if diff_ids == layers {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidData, "read", subject)
            .cause(format!("its config has {diff_ids} diff_ids for {layers} layers")))
    }

    /// The chain id of each layer, bottom first: what names a layer together with all below it.
    ///
    /// Source: <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.rootfs.diff_ids.len());
        for diff_id in &self.rootfs.diff_ids {
            chain.push(match chain.last() {
                None => *diff_id,
                Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            });
        }
        chain
    }
}

/// What a container runs unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `user[:group]`, names or numbers; empty is root.
    #[serde(deserialize_with = "super::null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `KEY=value` each.
    #[serde(deserialize_with = "super::null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program that [`cmd`](Self::cmd) is given to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or the entrypoint's default arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// The working directory; empty is `/`.
    #[serde(deserialize_with = "super::null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The signal that asks the command to end; SIGTERM if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Labels.
    #[serde(
        deserialize_with = "super::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Paths that want a volume; the values are empty objects.
    #[serde(
        deserialize_with = "super::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Value>,
    /// `port/protocol` the command listens on; the values are empty objects.
    #[serde(
        deserialize_with = "super::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Value>,
    /// How to tell whether the container is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell for a Dockerfile's shell forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Dockerfile instructions for builds on top of this image.
    #[serde(deserialize_with = "super::null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// How to tell whether a container is well. Times are in nanoseconds, 0 is docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, ...]` or `["CMD-SHELL", line]`; empty inherits.
    #[serde(deserialize_with = "super::null_is_default")]
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// Time one check may take.
    pub timeout: u64,
    /// Time in which failures do not count.
    pub start_period: u64,
    /// Time between two checks within the start period.
    pub start_interval: u64,
    /// Failures in a row until it is unwell.
    pub retries: u64,
}

/// The contents of the layers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digest of each layer's uncompressed archive, bottom first.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of how an image came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}
