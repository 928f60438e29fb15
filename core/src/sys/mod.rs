//! System calls: thin, typed, and the only place of `unsafe` in this crate.

pub(crate) mod path;
