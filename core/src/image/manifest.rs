//! Manifests and indexes: which blobs make an image, and for which platform.
//!
//! Follows the OCI image specification 1.1 and reads docker's schema 2, which differs in its media
//! types only. What is parsed here is never written again: a manifest is its bytes, and only
//! those are hashed.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::Digest;
use super::platform::{Platform, choose};
use crate::{Error, ErrorKind, Result};

/// The largest manifest, index or config that is read: 4 MiB, as registries have it.
pub(crate) const MAX_DOCUMENT: u64 = 4 << 20;

/// As much of a foreign media type as an error repeats.
const MAX_MEDIA_TYPE: usize = 255;

/// As many layers as overlayfs stacks.
const MAX_LAYERS: usize = 500;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// The annotation that names an image in an OCI image layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A blob: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// The number of the blob's bytes.
    pub size: u64,
    /// What the manifest behind it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Annotations, for instance the reference's name.
    #[serde(default, deserialize_with = "super::null_is_default")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Descriptor {
    /// What kind of artifact is behind it, where a registry says so of a referrer.
    pub fn artifact_type(&self) -> Option<&str> {
        self.extra.get("artifactType")?.as_str()
    }

    /// A descriptor of `bytes`.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }
}

impl Descriptor {
    /// The same layer for an OCI manifest: docker's media types become OCI's.
    pub(crate) fn as_oci_layer(&self) -> Self {
        let media_type = match self.media_type.as_str() {
            DOCKER_LAYER => OCI_LAYER,
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
            other => other,
        };
        Descriptor { media_type: media_type.to_owned(), ..self.clone() }
    }
}

/// One image: a config and its layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// 2.
    pub schema_version: u32,
    /// The media type; older writers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image's config; its digest is the image's id.
    pub config: Descriptor,
    /// The layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "super::null_is_default")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Manifest {
    /// The manifest of an image that skep makes.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config,
            layers,
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Parses and checks a manifest. `subject` names it in the error.
    ///
    /// # Errors
    /// `InvalidData` if it is malformed or has too many layers; `Unsupported` if it is not a
    /// container image (an artifact), or has a layer that is encrypted or not an archive.
    pub(crate) fn parse(bytes: &[u8], subject: &str) -> Result<Self> {
        check_form(bytes, subject, &[OCI_MANIFEST, DOCKER_MANIFEST])?;
        let manifest: Manifest = parse_document(bytes, subject)?;
        let refuse = |kind, cause: String| Err(Error::new(kind, "read", subject).cause(cause));
        if manifest.extra.contains_key("manifests") {
            // One document that reads as two things (CVE-2021-41190).
            return refuse(ErrorKind::InvalidData, "it is both a manifest and an index".into());
        }
        if !matches!(manifest.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            let media_type = &manifest.config.media_type;
            return refuse(ErrorKind::Unsupported, format!("its config is a {media_type:?}"));
        }
        if manifest.layers.len() > MAX_LAYERS {
            let layers = manifest.layers.len();
            return refuse(
                ErrorKind::InvalidData,
                format!("it has {layers} layers, more than {MAX_LAYERS}"),
            );
        }
        match manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            Some(layer) => {
                refuse(ErrorKind::Unsupported, format!("a layer is a {:?}", layer.media_type))
            }
            None => Ok(manifest),
        }
    }

    /// The bytes of the image's blobs, its config included.
    pub(crate) fn size(&self) -> u64 {
        let sizes = self.layers.iter().map(|layer| layer.size);
        sizes.fold(self.config.size, u64::saturating_add)
    }
}

fn is_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_LAYER
            | OCI_LAYER_GZIP
            | OCI_LAYER_ZSTD
            | DOCKER_LAYER
            | DOCKER_LAYER_GZIP
            | DOCKER_LAYER_ZSTD
    )
}

/// Several images: one a platform, or one a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    /// 2.
    pub schema_version: u32,
    /// The media type; older writers leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests or further indexes.
    pub manifests: Vec<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "super::null_is_default")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields that skep does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Index {
    /// An index of nothing.
    pub(crate) fn empty() -> Self {
        Index {
            schema_version: 2,
            media_type: Some(OCI_INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Parses and checks an index. `subject` names it in the error.
    ///
    /// # Errors
    /// `InvalidData` if it is malformed, `Unsupported` if it has another schema.
    pub(crate) fn parse(bytes: &[u8], subject: &str) -> Result<Self> {
        check_form(bytes, subject, &[OCI_INDEX, DOCKER_LIST])?;
        let index: Index = parse_document(bytes, subject)?;
        if index.extra.contains_key("layers") || index.extra.contains_key("config") {
            return Err(Error::new(ErrorKind::InvalidData, "read", subject)
                .cause("it is both a manifest and an index"));
        }
        Ok(index)
    }
}

/// What a manifest and an index both say of themselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    schema_version: u64,
    #[serde(default)]
    media_type: Option<String>,
}

/// Checks that a document is of the one schema and, if it says what it is, one of `media_types`:
/// it might be taken for something else elsewhere (CVE-2021-41190).
fn check_form(bytes: &[u8], subject: &str, media_types: &[&str]) -> Result<()> {
    let Form { schema_version, media_type } = parse_document(bytes, subject)?;
    let refuse = |kind, cause| Err(Error::new(kind, "read", subject).cause(cause));
    if schema_version != 2 {
        let cause = format!("it has schema version {schema_version}, and only 2 is supported");
        return refuse(ErrorKind::Unsupported, cause);
    }
    match media_type.filter(|own| !own.is_empty() && !media_types.contains(&own.as_str())) {
        Some(own) => {
            let own: String = own.chars().take(MAX_MEDIA_TYPE).collect();
            refuse(ErrorKind::InvalidData, format!("it says that it is a {own:?}"))
        }
        None => Ok(()),
    }
}

/// Whether `descriptor` leads to an index, by its media type.
pub(crate) fn is_index(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
}

/// Whether `descriptor` leads to an image's manifest, by its media type.
pub(crate) fn is_manifest(descriptor: &Descriptor) -> bool {
    matches!(descriptor.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Parses JSON of at most [`MAX_DOCUMENT`] bytes; serde_json bounds its nesting to 128.
pub(crate) fn parse_document<T: DeserializeOwned>(bytes: &[u8], subject: &str) -> Result<T> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_large(subject));
    }
    if is_crowded(bytes) {
        let error = Error::new(ErrorKind::InvalidData, "read", subject);
        return Err(error.cause("it has too many objects or values"));
    }
    serde_json::from_slice(bytes)
        .map_err(|e| Error::new(ErrorKind::InvalidData, "read", subject).with_source(e))
}

/// The most objects and arrays, and the most values, of a document. Fields that skep does not know
/// are kept, and 4 MiB of `{"":0}` became 980 MiB.
const MAX_OBJECTS: usize = 1 << 16;
const MAX_VALUES: usize = 1 << 18;

/// Whether a document has more parts than memory is to be spent on. What stands in its strings
/// counts: real ones have some thousands.
pub(crate) fn is_crowded(bytes: &[u8]) -> bool {
    let (mut objects, mut values) = (0, 0);
    for byte in bytes {
        objects += usize::from(matches!(byte, b'{' | b'['));
        values += usize::from(*byte == b',');
    }
    objects > MAX_OBJECTS || values > MAX_VALUES
}

/// The error for a document above [`MAX_DOCUMENT`].
pub(crate) fn too_large(subject: &str) -> Error {
    Error::new(ErrorKind::InvalidData, "read", subject).cause("it is larger than 4 MiB")
}

/// How deep indexes may nest.
const MAX_NESTING: u32 = 4;

/// Follows `descriptor` to the manifest for `platform`, through indexes if need be; `document`
/// reads and verifies what a descriptor names.
///
/// # Errors
/// `Unsupported` if there is none for that platform, `InvalidData` if indexes nest too deep.
pub(crate) fn resolve(
    descriptor: &Descriptor,
    platform: &Platform,
    mut document: impl FnMut(&Descriptor) -> Result<Vec<u8>>,
) -> Result<(Descriptor, Vec<u8>, Manifest)> {
    let mut descriptor = descriptor.clone();
    for _ in 0..MAX_NESTING {
        let subject = descriptor.digest.to_string();
        let bytes = document(&descriptor)?;
        if is_manifest(&descriptor) {
            let manifest = Manifest::parse(&bytes, &subject)?;
            return Ok((descriptor, bytes, manifest));
        }
        if !is_index(&descriptor) {
            let cause = format!("it is a {:?}", descriptor.media_type);
            return Err(Error::new(ErrorKind::Unsupported, "read", subject).cause(cause));
        }
        let index = Index::parse(&bytes, &subject)?;
        descriptor = choose(platform, &index.manifests).cloned().ok_or_else(|| {
            let cause = format!("it has no image for {platform}");
            Error::new(ErrorKind::Unsupported, "read", subject).cause(cause)
        })?;
    }
    let subject = descriptor.digest.to_string();
    Err(Error::new(ErrorKind::InvalidData, "read", subject).cause("indexes nest too deep"))
}
