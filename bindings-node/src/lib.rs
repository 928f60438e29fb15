//! skep for Node.js: conversions of types, errors and threads over the [`skep`] crate.
//!
//! What is here is private to `lib/`, whose classes are the package's interface. The files have the
//! names of core's concepts; four are this binding's own:
//!
//! - `pool`: the threads on which starts and images are waited for,
//! - `reactor`: the one thread that waits for all pipes and ends of containers,
//! - `promise` and `progress`: how what they find gets to JavaScript. libuv's pool has no part in it.
//!
//! A failure is thrown as an error with its parts, of which `lib/error.js` makes the package's.

mod cancel;
mod child;
mod command;
mod commit;
mod engine;
mod error;
mod exit;
mod image;
mod leash;
mod pool;
mod progress;
mod promise;
mod reactor;
mod registry;
mod results;
mod root;
mod run;
mod signature;
mod stdio;
