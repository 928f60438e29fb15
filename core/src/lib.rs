//! skep: a container engine that lives inside your program.
#![cfg(target_os = "linux")]

pub mod error;
mod id;

pub mod cgroup;
pub mod image;
pub mod process;
mod rootfs;
pub mod spec;

mod sys;

pub use error::{Error, ErrorKind, Result};
