//! Reads an archive, whose checksums need not be right.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skep::image::fuzzing::tar(bytes));
