//! Builds the keeper (`keeper/main.rs`) with the compiler that builds this crate, for embedding.
//!
//! No Cargo package of its own: it is one program without dependencies, and a host that depends on
//! skep must not need a second target, a musl toolchain or an artifact dependency for it.
//! `SKEP_KEEPER` names a ready file instead, for builds that must not run a linker here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=keeper");
    println!("cargo::rerun-if-env-changed=SKEP_KEEPER");
    let blob = match env::var_os("SKEP_KEEPER") {
        Some(ready) => PathBuf::from(ready),
        None => build(),
    };
    println!("cargo::rustc-env=SKEP_KEEPER_BLOB={}", blob.display());
}

/// The program's path; an empty file where none can be made (documentation builds, miri), with
/// which the first start of a container says so.
fn build() -> PathBuf {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("keeper");
    let documentation_only = env::var_os("DOCS_RS").is_some() || env::var_os("MIRI").is_some();
    let miri = env::var("CARGO_CFG_MIRI").is_ok();
    if documentation_only || miri {
        std::fs::write(&out, []).expect("OUT_DIR is writable");
        return out;
    }
    compile(&out);
    out
}

fn compile(out: &Path) {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    assert!(
        arch == "x86_64" || arch == "aarch64",
        "skep has no keeper for {target}; x86_64 and aarch64 are supported"
    );
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc
        .args(["--edition", "2024", "--crate-name", "skep_keeper", "--crate-type", "bin"])
        .args(["--target", &target, "--cap-lints", "warn"])
        .args(["-C", "opt-level=s", "-C", "codegen-units=1", "-C", "panic=abort"])
        .args(["-C", "overflow-checks=off", "-C", "debug-assertions=off", "-C", "strip=symbols"])
        .args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"])
        .args(["-C", "link-args=-nostartfiles -nostdlib -static -Wl,--build-id=none"])
        .args(["-C", "link-args=-Wl,-z,noseparate-code -Wl,-z,norelro -Wl,--no-eh-frame-hdr"])
        .arg("-o")
        .arg(out)
        .arg("keeper/main.rs");
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.to_string_lossy()));
    }
    let status = rustc.status().expect("rustc can be run");
    assert!(status.success(), "the keeper did not compile: {status}");
}
