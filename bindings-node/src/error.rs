//! Failures on their way to JavaScript.

use std::io;

use napi::bindgen_prelude::ToNapiValue;
use napi::{Env, Error};
use napi_derive::napi;

/// What an error of the package is made of: thrown as it is.
#[napi(object, object_from_js = false, use_nullable = true)]
pub(crate) struct Failure {
    pub kind: String,
    pub message: String,
    pub operation: String,
    pub subject: String,
    pub errno: Option<i32>,
}

impl Failure {
    /// For a failed call of this binding's own: a thread or a file descriptor that is not to be had.
    pub(crate) fn scarce(operation: &str, subject: &str, error: impl Into<io::Error>) -> Failure {
        let error = error.into();
        Failure {
            kind: skep::ErrorKind::ResourceExhausted.name().into(),
            message: format!("cannot {operation} {subject}: {error}"),
            operation: operation.into(),
            subject: subject.into(),
            errno: error.raw_os_error(),
        }
    }

    /// For a container that was killed before there was one.
    pub(crate) fn killed() -> Failure {
        Failure {
            kind: skep::ErrorKind::InvalidState.name().into(),
            message: "cannot start a container: it was killed before its start".into(),
            operation: "start".into(),
            subject: "a container".into(),
            errno: None,
        }
    }

    /// What a napi function returns for it to be thrown.
    pub(crate) fn throw(self, env: &Env) -> Error {
        self.into_unknown(env).map_or_else(|error| error, Error::from)
    }
}

impl From<skep::Error> for Failure {
    fn from(error: skep::Error) -> Failure {
        Failure {
            kind: error.kind().name().into(),
            message: error.to_string(),
            operation: error.operation().into(),
            subject: error.subject().into(),
            errno: error.errno(),
        }
    }
}
