//! Failures on their way to JavaScript.

use std::io;

use napi::bindgen_prelude::{JsValue, Object};
use napi::{Env, Error, Result};

/// What an error of the package is made of.
pub(crate) struct Failure {
    kind: &'static str,
    message: String,
    operation: String,
    subject: String,
    errno: Option<i32>,
}

impl Failure {
    /// For a failed call of this binding's own: a thread or a file descriptor that is not to be had.
    pub(crate) fn scarce(operation: &str, subject: &str, error: impl Into<io::Error>) -> Failure {
        let error = error.into();
        Failure {
            kind: skep::ErrorKind::ResourceExhausted.name(),
            message: format!("cannot {operation} {subject}: {error}"),
            operation: operation.into(),
            subject: subject.into(),
            errno: error.raw_os_error(),
        }
    }

    /// For a container that was killed before there was one.
    pub(crate) fn killed() -> Failure {
        Failure {
            kind: skep::ErrorKind::InvalidState.name(),
            message: "cannot start a container: it was killed before its start".into(),
            operation: "start".into(),
            subject: "a container".into(),
            errno: None,
        }
    }

    /// What a napi function returns for it to be thrown: a JavaScript Error with these properties.
    pub(crate) fn throw(self, env: &Env) -> Error {
        self.object(env).map_or_else(|error| error, |object| object.to_unknown().into())
    }

    fn object<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let mut object = env.create_error(Error::from_reason(self.message.as_str()))?;
        object.set("kind", self.kind)?;
        object.set("operation", self.operation.as_str())?;
        object.set("subject", self.subject.as_str())?;
        object.set("errno", self.errno)?;
        Ok(object)
    }
}

impl From<skep::Error> for Failure {
    fn from(error: skep::Error) -> Failure {
        Failure {
            kind: error.kind().name(),
            message: error.to_string(),
            operation: error.operation().into(),
            subject: error.subject().into(),
            errno: error.errno(),
        }
    }
}
