fn main() -> skep::Result<()> {
    let engine = skep::Engine::open("/var/lib/skep-test")?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut command = engine.command(skep::Root::host());
    let t = std::time::Instant::now();
    let out = command.args(args).memory(skep::cgroup::Bytes::mib(256)).cpus(0.5).pids(64).output()?;
    println!("{} {:?} {:?}", out.status, out.status.usage(), t.elapsed());
    print!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    Ok(())
}
