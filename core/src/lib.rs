//! skep: a container engine that lives inside your program.
#![cfg(target_os = "linux")]

mod engine;
pub mod error;
mod id;

pub mod cgroup;
pub mod container;
pub mod image;
pub mod process;
mod rootfs;
pub mod spec;
mod store;

mod sys;

pub use container::{Child, Command, ExitReason, ExitStatus, Output, Root, Stdio};
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use spec::config::Mount;
