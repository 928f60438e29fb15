//! What a registry and its token server answer: headers and bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| skep::image::registry::fuzzing::answer(bytes));
