//! Registries: pull and push of images, tags and referrers, by the OCI distribution specification.
//!
//! [`Images::pull`] and [`Images::push`] move images; [`Registries`] says how registries are
//! reached, and answers what needs no store. Every call works in the threads that it starts and
//! ends with them; a registry's bytes are hostile until they have the digest that was asked for.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! [`Images::pull`]: super::Images::pull
//! [`Images::push`]: super::Images::push

mod api;
mod challenge;
mod client;
mod credentials;
mod download;
mod failure;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod helper;
mod options;
mod parallel;
mod pull;
mod push;
mod retry;
mod settings;
mod signatures;
mod tcp;
mod token;
mod transport;
mod upload;
mod url;

pub use credentials::Credentials;
pub use options::{Progress, PullOptions};
pub use push::{PushOptions, PushProgress, Pushed};
pub use settings::{Access, Registries};
