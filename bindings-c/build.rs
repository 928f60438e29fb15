//! Names the shared library as its users' programs will look for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The number is SKEP_ABI_VERSION's: it changes when a program has to be compiled again.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libskep.so.0");
}
