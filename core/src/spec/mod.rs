//! The OCI runtime spec: what a container's configuration is lowered to, and plans compiled from.

pub(crate) mod capability;
pub(crate) mod config;
pub(crate) mod flags;
pub(crate) mod lower;
pub(crate) mod mount;
pub mod seccomp;
