//! Python runs with limits, and its output and what it used are read.
//!
//! Run as root: `cargo run --example limits -- app.tar [STORE]`.

use std::time::Duration;

use skep::{Bytes, Engine};

fn main() -> skep::Result<()> {
    let mut args = std::env::args().skip(1);
    let archive = args.next().unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open(args.next().unwrap_or_else(|| "/var/lib/skep".into()))?;
    let image = engine.images().load(archive)?;

    let out = engine
        .command(&image)
        .args(["python3", "-c", "print(6*7)"])
        .memory(Bytes::mib(256))
        .cpus(0.5)
        .pids(64)
        .timeout(Duration::from_secs(30))
        .output()?;
    print!("{}", String::from_utf8_lossy(&out.stdout));

    let usage = out.status.usage();
    let memory = usage.memory_peak.is_some_and(|peak| peak < Bytes::mib(256));
    let cpu = usage.cpu.is_some_and(|cpu| cpu.total < Duration::from_secs(10));
    println!(
        "{}, memory peak {} 256 MiB, {} 10 s of CPU",
        out.status,
        if memory { "below" } else { "not below" },
        if cpu { "under" } else { "not under" },
    );
    Ok(())
}
