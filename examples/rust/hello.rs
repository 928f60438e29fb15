//! The smallest use: the host's own root, no image, one command.
//!
//! Run as root: `cargo run --example hello`.

use skep::{Engine, Root};

fn main() -> skep::Result<()> {
    let engine = Engine::open_default()?;
    let out = engine.command(Root::host()).args(["echo", "hello from a container"]).output()?;
    print!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success());
    Ok(())
}
