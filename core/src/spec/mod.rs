//! (under construction)

pub mod seccomp;
