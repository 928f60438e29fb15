//! A server in a container, which the program talks to through its standard streams.
//!
//! Run as root: `cargo run --example server -- app.tar [STORE]`.

use std::io::{BufRead, BufReader, Write};

use skep::{Engine, Stdio};

/// Answers each line with its value. What a sandbox is for: nobody would `eval` that outside.
const SERVER: &str = "import sys\nfor line in sys.stdin: print(eval(line), flush=True)";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let archive = args.next().unwrap_or_else(|| "app.tar".into());
    let engine = Engine::open(args.next().unwrap_or_else(|| "/var/lib/skep".into()))?;
    let image = engine.images().load(archive)?;

    let mut server = engine
        .command(&image)
        .args(["python3", "-c", SERVER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut requests = server.stdin.take().ok_or("stdin is piped")?;
    let mut answers = BufReader::new(server.stdout.take().ok_or("stdout is piped")?).lines();
    for question in ["3 + 4", "10 * 10", "2 ** 64"] {
        writeln!(requests, "{question}")?;
        println!("{question} = {}", answers.next().ok_or("the server has ended")??);
    }
    // End of file: the server's loop ends.
    drop(requests);
    println!("server ended: {}", server.wait()?);
    Ok(())
}
