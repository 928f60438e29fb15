//! System calls that the crates below do not have, each thin and typed.
//!
//! This folder is the only place of `unsafe` in this crate.

pub(crate) mod birth;
pub(crate) mod fork;
pub(crate) mod message;
pub(crate) mod mount;
pub(crate) mod path;
pub(crate) mod sigpipe;
pub(crate) mod thread;

/// What the library and the keeper say to each other.
#[path = "../../keeper/protocol.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
pub(crate) mod protocol;

/// The bare system call instruction, shared with the keeper.
#[allow(unsafe_code, dead_code, missing_docs, unreachable_pub, unsafe_op_in_unsafe_fn)]
#[cfg_attr(target_arch = "x86_64", path = "../../keeper/arch/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "../../keeper/arch/aarch64.rs")]
mod raw;
