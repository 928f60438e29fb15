//! An OCI image layout in an archive: the blobs as they are, and an index with the names.

use std::collections::{BTreeMap, HashSet};

use super::{Archive, Chosen, json};
use crate::Result;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, Index, REF_NAME};

pub(super) fn write(archive: &mut Archive<'_>, images: &[Chosen]) -> Result<()> {
    archive.document("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.directory("blobs")?;
    archive.directory("blobs/sha256")?;
    let mut written = HashSet::new();
    let mut index = Index::empty();
    for Chosen { image, references, descriptor, .. } in images {
        let manifest = image.manifest();
        for blob in manifest.layers.iter().chain([&manifest.config, descriptor]) {
            if written.insert(blob.digest) {
                archive.blob(&format!("blobs/sha256/{}", blob.digest.hex()), blob)?;
            }
        }
        let bare = Descriptor { annotations: BTreeMap::new(), ..descriptor.clone() };
        // With the digest of an index, which is not in the archive, podman refuses it.
        let known = |digest: &Digest| *digest == descriptor.digest;
        let names: Vec<_> =
            references.iter().filter(|name| name.digest().is_none_or(known)).collect();
        let named = names.iter().map(|reference| {
            let name = (REF_NAME.to_owned(), reference.to_string());
            Descriptor { annotations: BTreeMap::from([name]), ..bare.clone() }
        });
        index.manifests.extend(named);
        if names.is_empty() {
            index.manifests.push(bare);
        }
    }
    archive.document("index.json", &json(&index, "index.json")?)
}
