//! A hundred sandboxes at once, with a progress bar.
//!
//! Run as root: `cargo run --example hundred -- app.tar [STORE]`.

use skep::{Collector, Engine};

const COUNT: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let archive = args.next().unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open(args.next().unwrap_or_else(|| "/var/lib/skep".into()))?;
    let image = engine.images().load(archive)?;

    // All run at the same time; no thread is needed for that.
    let start = |number: usize| {
        engine.command(&image).args(["echo".into(), number.to_string()]).pids(8).collect()
    };
    let sandboxes: Vec<Collector> = (0..COUNT).map(start).collect::<skep::Result<_>>()?;
    let mut sum = 0;
    for (index, sandbox) in sandboxes.into_iter().enumerate() {
        let said = String::from_utf8(sandbox.wait()?.stdout)?;
        sum += said.trim().parse::<usize>()?;
        let done = index + 1;
        eprint!("\r[{:<50}] {done}/{COUNT}", "#".repeat(done * 50 / COUNT));
    }
    eprintln!();
    println!("{COUNT} sandboxes: sum {sum}");
    Ok(())
}
