//! skep's C interface: `include/skep.h`, `libskep.so` and `libskep.a`.
//!
//! A thin conversion over the `skep` crate. The header is generated from this crate by cbindgen
//! (`tests/header.rs` checks that it is up to date), and its text is the comments here: they are
//! written for C programmers.
//!
//! Ownership is in the types of parameters, so that almost nothing here is unsafe:
//!
//! | parameter | in C | meaning |
//! | --- | --- | --- |
//! | `Option<&T>` | `const struct t *` | borrowed for the call, by any number of threads |
//! | `Option<&mut T>` | `struct t *` | borrowed for the call, by one thread |
//! | `Option<Box<T>>` | `struct t *` | given back, to be freed |
//! | `Option<&mut MaybeUninit<Box<T>>>` | `struct t **` | where a new object's address is written |
//! | [`argument::Text`] | `const char *` | a string, borrowed for the call |
//!
//! `Option`, because C's pointers may be null: a null one is an error of the caller, and no crash.
//! Every function that does more than read a field runs inside of `panic::call` or its siblings.
#![allow(unsafe_code, non_camel_case_types)]
// What a caller must keep to is in the header's preface, in C's words.
#![allow(clippy::missing_safety_doc)]

// In the header's order.
pub mod version;

pub mod error;

pub mod engine;

pub mod cancel;

pub mod image;

pub mod history;

pub mod store;

pub mod registries;

pub mod policy;

pub mod transfer;

pub mod command;

pub mod options;

pub mod bytes;

pub mod child;

pub mod files;

pub mod commit;

pub mod collector;

pub mod output;

pub mod exit;

pub mod list;

// In none.
pub mod argument;
mod panic;
mod setting;
