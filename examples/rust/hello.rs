//! The smallest use: an image, one command, what it says.
//!
//! Run as root: `cargo run --example hello -- app.tar [STORE]`, where app.tar is what `docker save`,
//! `podman save` or `skopeo copy` write, or the directory of an OCI layout.

use skep::Engine;

fn main() -> skep::Result<()> {
    let mut args = std::env::args().skip(1);
    let archive = args.next().unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open(args.next().unwrap_or_else(|| "/var/lib/skep".into()))?;
    let image = engine.images().load(archive)?;

    let out = engine.command(&image).args(["echo", "hello from a container"]).output()?;
    print!("{}", String::from_utf8_lossy(&out.stdout));
    Ok(())
}
