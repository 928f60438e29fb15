//! A container engine that lives inside your program.
//!
//! Give it an OCI image and a command; it gives back an isolated process, in the manner of
//! [`std::process::Command`]. There is no daemon and no command to shell out to.
//!
//! ```no_run
//! use std::time::Duration;
//! use skep::{Bytes, Engine, ExitReason};
//!
//! let engine = Engine::open_default()?;
//! let image = engine.images().load("app.tar")?;
//! let out = engine
//!     .command(&image)
//!     .args(["python3", "-c", "print(6*7)"])
//!     .memory(Bytes::mib(256))
//!     .cpus(0.5)
//!     .pids(64)
//!     .timeout(Duration::from_secs(30))
//!     .output()?;
//! match out.status.reason() {
//!     ExitReason::Exited(0) => assert_eq!(out.stdout, b"42\n"),
//!     ExitReason::OomKilled => eprintln!("256 MiB were not enough"),
//!     reason => eprintln!("{reason:?}: {}", String::from_utf8_lossy(&out.stderr)),
//! }
//! # Ok::<(), skep::Error>(())
//! ```
//!
//! # Where to read on
//!
//! - [`Engine`] opens a store, [`Images`] loads, lists, saves and removes what is in it.
//! - [`Command`] says what runs and what it may use, [`Child`] is a container that runs,
//!   [`ExitStatus`] how it ended and what it [used](Usage).
//! - [`Error`] is the only one: a [kind](ErrorKind) for programs, a sentence with cause and fix for
//!   people.
//! - [`process::plan`] is what the kernel is asked in a start, in which order and why;
//!   [`Command::plan`] prints it.
//! - [`container::bundle`] runs OCI bundles, [`cgroup`] and [`spec::seccomp`] are usable alone.
//!
//! # Requirements
//!
//! Linux 5.12 or newer on x86_64 (aarch64 compiles and has not been run). Root, that is
//! CAP_SYS_ADMIN in the initial user namespace, and what else docker's daemon needs. Limits need
//! cgroup v1 or v2 with the controller in question, writable; without limits no cgroups are needed.
//! The store needs a local file system that overlayfs takes as an upper directory.
//!
//! # What the host notices
//!
//! The library changes nothing of the process it lives in: no signal handlers, mask, working
//! directory, umask, environment, limits; no thread, no runtime, no SIGCHLD, nothing for a
//! `waitpid(-1)`, no output, no mount in its namespace, and every file descriptor is close-on-exec.
//! In a forked copy of the host all handles do nothing but fail.
//!
//! What it does notice:
//! - an engine's first container starts one process more, the *keeper*. Where the host is PID 1 or a
//!   child subreaper, the keeper is its child, the only one; elsewhere it is a child of init.
//! - the keeper inherits niceness, CPU affinity, control group, resource limits and seccomp filters
//!   of the thread that starts that first container, and so do containers, unless they are told
//!   otherwise. The limit of open files (RLIMIT_NOFILE) is the host's as it is at each start.
//! - containers end with their [`Child`], and all of them with the host, however it ends. What a
//!   killed host leaves in the store is removed when that is next opened.
#![cfg(target_os = "linux")]

mod cancel;
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

pub use cancel::Cancel;
pub use cgroup::{Bytes, CpuTime, MemorySwap, Usage};
pub use container::{
    Child, ChildStderr, ChildStdin, ChildStdout, Collector, Command, ExitReason, ExitStatus,
    Output, Root, Stdio,
};
pub use engine::Engine;
pub use error::{Error, ErrorKind, Result};
pub use image::{Image, Images};
pub use process::plan::Plan;
pub use spec::config::{Mount, rlimit_resource};

/// A resource of setrlimit(2), for [`Command::rlimit`].
pub use oci_spec::runtime::PosixRlimitType as RlimitResource;
