//! Why a registry was not obeyed; becomes an [`Error`] where the image's name is known.

use std::time::Duration;

use serde::Deserialize;

use crate::cancel::Cancelled;
use crate::{Error, ErrorKind};

/// See the module.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) cause: String,
    pub(super) fix: Option<&'static str>,
    /// The status, if the registry answered with one that says no.
    pub(super) status: Option<u16>,
    /// Whether the same request may be granted a little later.
    pub(super) transient: bool,
    /// How much later, if the registry says so.
    pub(super) after: Option<Duration>,
    source: Option<Error>,
}

pub(super) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(kind: ErrorKind, cause: impl Into<String>) -> Self {
        Failure {
            kind,
            cause: cause.into(),
            fix: None,
            status: None,
            transient: false,
            after: None,
            source: None,
        }
    }

    /// The caller does not want it any more.
    pub(super) fn cancelled() -> Self {
        Failure::new(ErrorKind::Cancelled, Cancelled.to_string())
    }

    pub(super) fn fix(mut self, fix: &'static str) -> Self {
        self.fix = Some(fix);
        self
    }

    pub(super) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// What a status that is no success means. `host` is who answered, `body` what it said.
    pub(super) fn status(host: &str, status: u16, body: &[u8], after: Option<Duration>) -> Self {
        let said = message(body).map_or(String::new(), |message| format!(": {message}"));
        let answered = format!("{host} answered {status}{said}");
        let failure = match status {
            401 | 403 => Failure::new(ErrorKind::PermissionDenied, answered)
                .fix("give credentials that allow it, and check the name"),
            404 => Failure::new(ErrorKind::NotFound, answered).fix("check the name"),
            416 => Failure::new(ErrorKind::InvalidData, answered),
            429 => Failure::new(ErrorKind::ResourceExhausted, answered).fix("try again later"),
            408 | 500..=599 => Failure::new(ErrorKind::Io, answered).fix("try again later"),
            _ => Failure::new(ErrorKind::Io, answered),
        };
        // 501 and 505 are what a server cannot do, now or later.
        let transient = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
        Failure { status: Some(status), transient, after, ..failure }
    }

    /// Something on the way to or from `host` broke.
    pub(super) fn transport(host: &str, error: ureq::Error) -> Self {
        use ureq::Error as E;
        let failure = |kind, cause: String| Failure::new(kind, format!("{host}: {cause}"));
        match error {
            E::Timeout(_) => failure(ErrorKind::TimedOut, "it does not answer in time".into())
                .fix("try again, or allow more time")
                .transient(),
            E::Io(error) => Failure::io(host, error),
            E::HostNotFound => {
                failure(ErrorKind::Io, "no such host".into()).fix("check the registry's name")
            }
            E::Rustls(error) => Failure::tls(host, &error),
            E::ConnectionFailed => failure(ErrorKind::Io, error.to_string()).transient(),
            E::Protocol(_) | E::LargeResponseHeader(..) => {
                failure(ErrorKind::InvalidData, format!("it does not speak HTTP well: {error}"))
            }
            error => failure(ErrorKind::Io, error.to_string()),
        }
    }

    /// As [`transport`](Self::transport), from within a body.
    pub(super) fn io(host: &str, error: std::io::Error) -> Self {
        let error = match error.downcast::<ureq::Error>() {
            Ok(error) => return Failure::transport(host, error),
            Err(error) => error,
        };
        if error.get_ref().is_some_and(|inner| inner.is::<Cancelled>()) {
            return Failure::cancelled();
        }
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Failure::tls(host, tls);
        }
        let cause = format!("{host}: {error}");
        if error.kind() == std::io::ErrorKind::TimedOut {
            return Failure::new(ErrorKind::TimedOut, cause).transient();
        }
        let unresolved = error.raw_os_error().is_none() && cause.contains("lookup address");
        let failure = Failure::new(ErrorKind::Io, cause);
        match unresolved {
            true => failure.fix("check the registry's name"),
            false => failure.fix("check that the registry runs and is reachable").transient(),
        }
    }

    fn tls(host: &str, error: &rustls::Error) -> Self {
        let failure = Failure::new(ErrorKind::Io, format!("{host}: {error}"));
        match error {
            rustls::Error::InvalidCertificate(_) => {
                failure.fix("give the certificate of the registry's authority")
            }
            rustls::Error::InvalidMessage(_) => {
                failure.fix("if it is meant to speak plain http, allow that for it")
            }
            _ => failure,
        }
    }

    pub(super) fn error(self, operation: &'static str, subject: &str) -> Error {
        if let Some(error) = self.source {
            return error;
        }
        let error = Error::new(self.kind, operation, subject).cause(self.cause);
        match self.fix {
            Some(fix) => error.fix(fix),
            None => error,
        }
    }
}

/// An error of this machine and not of the registry, kept as it is.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failure = Failure::new(error.kind(), String::new());
        failure.source = Some(error);
        failure
    }
}

/// The longest text of a registry that is repeated in an error.
const MAX_MESSAGE: usize = 200;

#[derive(Deserialize)]
struct Body {
    errors: Vec<BodyError>,
}

#[derive(Deserialize)]
struct BodyError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says in its error's body, without what could harm a terminal.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let body: Body = serde_json::from_slice(body).ok()?;
    let BodyError { code, message } = body.errors.into_iter().next()?;
    let text = match (code.is_empty(), message.is_empty()) {
        (_, true) => code,
        (true, false) => message,
        (false, false) => format!("{code} ({message})"),
    };
    let text = short(&text);
    (!text.is_empty()).then_some(text)
}

/// As much of a registry's text as an error repeats, without what could harm a terminal.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_repeated_with_care() {
        let body = |text: &str| message(text.as_bytes());
        let error =
            r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no\u001b[31m such","detail":1}]}"#;
        assert_eq!(body(error).unwrap(), "NAME_UNKNOWN (no[31m such)");
        assert_eq!(body(r#"{"errors":[{"code":"DENIED"}]}"#).unwrap(), "DENIED");
        assert_eq!(body(r#"{"errors":[]}"#), None);
        assert_eq!(body("<html>"), None);
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(1000));
        assert_eq!(body(&long).unwrap().len(), MAX_MESSAGE);
    }

    #[test]
    fn a_status_has_a_kind() {
        for (status, kind, transient) in [
            (401, ErrorKind::PermissionDenied, false),
            (403, ErrorKind::PermissionDenied, false),
            (404, ErrorKind::NotFound, false),
            (418, ErrorKind::Io, false),
            (429, ErrorKind::ResourceExhausted, true),
            (500, ErrorKind::Io, true),
            (501, ErrorKind::Io, false),
            (503, ErrorKind::Io, true),
        ] {
            let failure = Failure::status("host", status, b"", None);
            assert_eq!((failure.kind, failure.transient), (kind, transient), "{status}");
        }
        let error = Failure::status("host:1", 404, b"", None).error("pull", "host:1/a:1");
        assert_eq!(
            error.to_string(),
            "cannot pull host:1/a:1: host:1 answered 404; check the name"
        );
    }
}
