//! docker-archives: plain layers called after their diff_ids, and `manifest.json`.

use std::collections::HashSet;

use serde::Serialize;

use super::{Archive, Chosen, json};
use crate::Result;

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

pub(super) fn write(archive: &mut Archive<'_>, images: &[Chosen]) -> Result<()> {
    let mut written = HashSet::new();
    let mut items = Vec::new();
    for Chosen { image, references, .. } in images {
        let budget = archive.images.budget(image.size());
        let config = &image.manifest().config;
        let mut item = Item {
            config: format!("{}.json", config.digest.hex()),
            // Nobody takes a name with a digest: this form has no manifest for it to be of.
            repo_tags: references
                .iter()
                .filter(|reference| reference.digest().is_none())
                .map(ToString::to_string)
                .collect(),
            layers: Vec::new(),
        };
        if written.insert(config.digest) {
            archive.blob(&item.config, config)?;
        }
        for (layer, diff_id) in image.manifest().layers.iter().zip(&image.config().rootfs.diff_ids)
        {
            let name = format!("{}.tar", diff_id.hex());
            if written.insert(*diff_id) {
                archive.plain_layer(&name, layer, *diff_id, &budget)?;
            }
            item.layers.push(name);
        }
        items.push(item);
    }
    archive.document("manifest.json", &json(&items, "manifest.json")?)
}
