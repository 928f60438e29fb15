//! Processes: a [`Plan`](plan::Plan) of system calls, and the keeper that carries it out.

pub mod compile;
mod encode;
pub(crate) mod keeper;
pub mod plan;
mod program;
pub(crate) mod running;
