//! An image is loaded, and Python runs in it with limits.
//!
//! Run as root: `cargo run --example python -- app.tar`, where app.tar is what `docker save`,
//! `podman save` or `skopeo copy` write, or the directory of an OCI layout.

use std::time::{Duration, Instant};

use skep::{Bytes, Engine};

fn main() -> skep::Result<()> {
    let archive = std::env::args().nth(1).unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open_default()?;
    let image = engine.images().load(&archive)?;
    // Unpacks what is new, which a start would do as well: for the times below.
    image.layers()?;

    let mut command = engine.command(&image);
    command
        .args(["python3", "-c", "print(6*7)"])
        .memory(Bytes::mib(256))
        .cpus(0.5)
        .pids(64)
        .timeout(Duration::from_secs(30));
    for _ in 0..3 {
        let start = Instant::now();
        let out = command.output()?;
        assert!(out.status.success(), "{}", out.status);
        let usage = out.status.usage();
        println!(
            "{} ({:.1} ms, memory {}, cpu {:?})",
            String::from_utf8_lossy(&out.stdout).trim(),
            start.elapsed().as_secs_f64() * 1e3,
            usage.memory_peak.unwrap_or_default(),
            usage.cpu.unwrap_or_default().total,
        );
    }
    Ok(())
}
