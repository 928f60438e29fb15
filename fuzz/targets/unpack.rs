//! Unpacks an archive onto a fixed lower layer; needs root.
#![no_main]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A lower layer beside a file that nobody may touch, in the directory that `run` removes.
fn bench() -> PathBuf {
    let bench = std::env::var_os("SKEP_FUZZ_DIR").expect("run sets it");
    let bench = Path::new(&bench).join(format!("skep-fuzz-{}", std::process::id()));
    let lower = bench.join("lower");
    std::fs::create_dir_all(lower.join("d/e")).expect("there is room");
    std::fs::write(bench.join("outside"), "untouched").expect("there is room");
    std::fs::write(lower.join("f"), "lower").expect("there is room");
    std::fs::write(lower.join("d/f"), "lower").expect("there is room");
    symlink("d/e", lower.join("l")).expect("there is room");
    symlink("/../../outside", lower.join("o")).expect("there is room");
    bench
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static BENCH: OnceLock<PathBuf> = OnceLock::new();
    skep::image::fuzzing::unpack(bytes, BENCH.get_or_init(bench));
});
