//! Manifests, indexes and configs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skep::image::fuzzing::documents(bytes));
