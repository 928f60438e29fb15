//! Files of credentials.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skep::image::registry::fuzzing::credentials(bytes));
