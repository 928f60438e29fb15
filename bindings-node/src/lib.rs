//! skep for Node.js: conversions of types, errors and threads over the [`skep`] crate.
//!
//! What is here is private to `lib/`, whose classes are the package's interface. The files have the
//! names of core's concepts; three are this binding's own:
//!
//! - `pool`: the few threads on which starts and image loads wait,
//! - `reactor`: the one thread that waits for all pipes and ends of containers,
//! - `promise`: how what they find gets to JavaScript. libuv's pool has no part in it.
//!
//! A failure is thrown as an error with its parts, of which `lib/error.js` makes the package's.

mod child;
mod command;
mod engine;
mod error;
mod exit;
mod image;
mod leash;
mod pool;
mod promise;
mod reactor;
mod root;
mod run;
mod stdio;
