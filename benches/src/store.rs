//! A store of 200 images and 1,000 layers: how long it takes to open, and what a name costs.

use std::fs;
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use skep::Engine;
use skep::image::{Digest, Images, Reference};

use crate::contender::timed;
use crate::stats::{Sample, Summary};

const IMAGES: usize = 200;
/// Of each image, and no other image has them.
const LAYERS: usize = 5;

/// One reference takes less than a clock's tick.
const PARSED_AT_ONCE: usize = 100;

/// What people type, from the shortest to one with everything.
const NAMES: [&str; 5] = [
    "debian",
    "debian:12",
    "localhost:5000/app",
    "ghcr.io/someone/something/app:v1.2.3-alpine",
    "registry.example.com:443/a/b/c:tag@sha256:\
     e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

/// The head of the table of [`rows`].
pub(crate) const HEAD: [&str; 4] = ["median µs", "p90 µs", "CPU µs", "at most"];

/// A store below `scratch` is made and measured; files are in the page cache.
pub(crate) fn rows(scratch: &Path, rounds: usize) -> io::Result<Vec<(String, Vec<String>)>> {
    let store = make(scratch)?;
    let open = || Images::open(&store).map_err(io::Error::other);
    let engine = || Engine::open(&store).map(drop).map_err(io::Error::other);
    // What a killed process leaves behind has everything looked at.
    let sweep = || {
        fs::create_dir(store.join("staging/dead"))?;
        open().map(drop)
    };
    let find = || open()?.find("localhost/skep-bench-100:1").map(drop).map_err(io::Error::other);
    let list = || open()?.list().map(drop).map_err(io::Error::other);
    let parse = || {
        for _ in 0..PARSED_AT_ONCE {
            for name in NAMES {
                black_box(Reference::parse(black_box(name)).map_err(io::Error::other)?);
            }
        }
        Ok(())
    };
    let rows = vec![
        row("open the images", rounds, Some(10_000.0), 1, || open().map(drop))?,
        row("open an engine", rounds, Some(10_000.0), 1, engine)?,
        row("open the images after a crash", rounds, Some(10_000.0), 1, sweep)?,
        row("open the images and find one", rounds, Some(10_000.0), 1, find)?,
        row("open the images and list all", rounds, None, 1, list)?,
        row("parse a reference", rounds, Some(1.0), PARSED_AT_ONCE * NAMES.len(), parse)?,
    ];
    fs::remove_dir_all(store)?;
    Ok(rows)
}

/// One line: `act` does what is measured `times` times.
fn row(
    name: &str,
    rounds: usize,
    at_most: Option<f64>,
    times: usize,
    mut act: impl FnMut() -> io::Result<()>,
) -> io::Result<(String, Vec<String>)> {
    act()?;
    let samples: Vec<Sample> = (0..rounds).map(|_| timed(&mut act)).collect::<io::Result<_>>()?;
    let summary = Summary::of(&samples).ok_or_else(|| io::Error::other("no samples"))?;
    let cell = |us: f64| format!("{:.2}", us / times as f64);
    let bound = match at_most {
        None => "-".to_owned(),
        Some(bound) if summary.median_us() / times as f64 > bound => format!("{bound:.0}, missed"),
        Some(bound) => format!("{bound:.0}"),
    };
    let [_, median, high] = summary.wall_us;
    Ok((name.to_owned(), vec![cell(median), cell(high), cell(summary.cpu_us), bound]))
}

/// Loads all images from an OCI layout, and unpacks their layers.
fn make(scratch: &Path) -> io::Result<PathBuf> {
    let (layout, store) = (scratch.join("many-images"), scratch.join("store-many"));
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    let manifests: Vec<Value> =
        (0..IMAGES).map(|number| image(&layout, number)).collect::<io::Result<_>>()?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string())?;
    let engine = Engine::open(&store).map_err(io::Error::other)?;
    for image in engine.images().load_all(&layout).map_err(io::Error::other)? {
        image.layers().map_err(io::Error::other)?;
    }
    fs::remove_dir_all(layout)?;
    Ok(store)
}

/// Writes one image; its descriptor.
fn image(layout: &Path, number: usize) -> io::Result<Value> {
    const PREFIX: &str = "application/vnd.oci.image.";
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in 0..LAYERS {
        let tar = archive(&format!("{number}-{layer}"));
        diff_ids.push(Digest::of(&tar));
        layers.push(blob(layout, &format!("{PREFIX}layer.v1.tar"), &tar)?);
    }
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = blob(layout, &format!("{PREFIX}config.v1+json"), config.to_string().as_bytes())?;
    let media_type = format!("{PREFIX}manifest.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers,
    });
    let mut descriptor = blob(layout, &media_type, manifest.to_string().as_bytes())?;
    let name = format!("localhost/skep-bench-{number}:1");
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    Ok(descriptor)
}

fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}

/// A tar archive of one empty file.
fn archive(name: &str) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    for (at, value) in [(100, "0000644"), (108, "0000000"), (116, "0000000")] {
        header[at..at + 7].copy_from_slice(value.as_bytes());
    }
    for at in [124, 136] {
        header[at..at + 11].copy_from_slice(b"00000000000");
    }
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut archive = header.to_vec();
    archive.resize(3 * 512, 0);
    archive
}
