//! Containers: a root file system, limits and a process, put together and taken apart.
//!
//! The only composer of the mechanisms below it. [`Command`] is the builder, [`Child`] the running
//! container, [`ExitStatus`] how it ended.

pub mod bundle;
mod child;
mod collect;
mod command;
mod exit;
mod files;
mod prepare;
mod root;
mod roots;
pub(crate) mod seat;
mod stdio;
mod workspace;

pub use child::Child;
pub use collect::Collector;
pub use command::{Command, Output};
pub use exit::{ExitReason, ExitStatus};
pub use files::CancellableChild;
pub use root::Root;
pub use stdio::{ChildStderr, ChildStdin, ChildStdout, Stdio};
