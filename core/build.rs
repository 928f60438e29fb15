//! Builds the keeper; see `keeper/main.rs`.
fn main() {}
