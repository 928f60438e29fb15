//! Processes: a [`Plan`](plan::Plan) of system calls, and the keeper that carries it out.

/// What the library and the keeper say to each other.
#[path = "../../keeper/protocol.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
pub(crate) mod protocol;

pub mod compile;
mod encode;
pub(crate) mod flags;
pub(crate) mod keeper;
pub mod plan;
mod program;
pub(crate) mod running;
