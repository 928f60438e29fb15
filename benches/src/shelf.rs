//! A store with many images.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};
use skep::image::Images;

use crate::stats::percentile;

const IMAGES: usize = 200;
const LAYERS: usize = 5;

/// Milliseconds to open a store of 200 images with five layers each, all unpacked, and to list it for
/// the first time: medians of `rounds`.
pub(crate) fn open_and_list(directory: &Path, rounds: usize) -> io::Result<[f64; 2]> {
    let store = directory.join("store");
    fs::create_dir_all(&store)?;
    let images = Images::open(&store).map_err(io::Error::other)?;
    let layout = directory.join("layout");
    write_layout(&layout)?;
    for image in images.load_all(&layout).map_err(io::Error::other)? {
        image.layers().map_err(io::Error::other)?;
    }
    drop(images);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let start = Instant::now();
        let images = Images::open(&store).map_err(io::Error::other)?;
        times[0].push(start.elapsed().as_secs_f64() * 1e3);
        let start = Instant::now();
        let found = images.list().map_err(io::Error::other)?.len();
        times[1].push(start.elapsed().as_secs_f64() * 1e3);
        if found != IMAGES {
            return Err(io::Error::other(format!("{found} images are there, not {IMAGES}")));
        }
    }
    fs::remove_dir_all(directory)?;
    Ok(times.map(|times| percentile(&times, 50).unwrap_or_default()))
}

/// An OCI layout of images whose layers have one empty file each.
fn write_layout(layout: &Path) -> io::Result<()> {
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |media_type: &str, bytes: &[u8]| {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(blobs.join(&hex), bytes)?;
        Ok::<_, io::Error>(json!({
            "mediaType": format!("application/vnd.oci.image.{media_type}"),
            "digest": format!("sha256:{hex}"),
            "size": bytes.len(),
        }))
    };
    let mut manifests = Vec::new();
    for image in 0..IMAGES {
        let layers = (0..LAYERS)
            .map(|layer| blob("layer.v1.tar", &archive(&format!("{image}-{layer}"))?))
            .collect::<io::Result<Vec<_>>>()?;
        let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": std::env::consts::ARCH.replace("x86_64", "amd64"),
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = blob("config.v1+json", config.to_string().as_bytes())?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        });
        let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes())?;
        let name = format!("localhost/shelf:{image}");
        manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifests.push(manifest);
    }
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    fs::write(layout.join("index.json"), index.to_string())
}

/// A tar archive with one empty file.
fn archive(name: &str) -> io::Result<Vec<u8>> {
    let mut header = [0_u8; 512];
    let mut field = |at: usize, text: &str| (&mut header[at..]).write_all(text.as_bytes());
    field(0, name)?;
    field(100, "0000644\x000000000\x000000000\x0000000000000\x0014524770400\x00        0")?;
    field(257, "ustar\x0000")?;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    (&mut header[148..]).write_all(format!("{sum:06o}\0 ").as_bytes())?;
    let mut bytes = header.to_vec();
    bytes.resize(512 * 3, 0);
    Ok(bytes)
}
