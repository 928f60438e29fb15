//! What it looks like when a container fails: memory, time, an exit code, no such command.
//!
//! Run as root: `cargo run --example failures -- app.tar [STORE]`.

use std::time::Duration;

use skep::{Bytes, Engine, ErrorKind, ExitReason};

fn main() -> skep::Result<()> {
    let mut args = std::env::args().skip(1);
    let archive = args.next().unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open(args.next().unwrap_or_else(|| "/var/lib/skep".into()))?;
    let image = engine.images().load(archive)?;

    // How a container has ended is a result, not an error.
    let greedy = ["python3", "-c", "bytearray(1 << 30)"];
    let out = engine.command(&image).args(greedy).memory(Bytes::mib(64)).output()?;
    assert_eq!(out.status.reason(), ExitReason::OomKilled);
    println!("memory: {}", out.status);

    let slow = ["python3", "-c", "while True: pass"];
    let out = engine.command(&image).args(slow).timeout(Duration::from_millis(200)).output()?;
    assert_eq!(out.status.reason(), ExitReason::TimedOut);
    println!("timeout: {}", out.status);

    let out = engine.command(&image).args(["python3", "-c", "raise SystemExit(3)"]).output()?;
    assert_eq!(out.status.code(), Some(3));
    println!("exit: {}", out.status);

    // That it could not be started is one.
    let error = engine.command(&image).args(["no-such-command"]).output().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    println!("missing: {error}");
    Ok(())
}
