//! Processes: a [`Plan`](plan::Plan) of system calls, and the keeper that carries it out.

pub(crate) mod assemble;
pub(crate) mod compile;
mod encode;
pub(crate) mod keeper;
pub mod plan;
mod program;
pub(crate) mod running;

/// The keeper's interpreter, here so that tests, clippy and miri see it.
#[cfg(test)]
#[path = "../../keeper/interpreter.rs"]
#[allow(unsafe_code, dead_code, missing_docs, unreachable_pub)]
mod interpreter;
#[cfg(test)]
mod interpreter_tests;
#[cfg(test)]
use crate::sys::protocol;
