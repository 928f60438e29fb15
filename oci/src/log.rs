//! Errors, as the callers of a runtime read them.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use skep::ErrorKind;

use crate::time;

/// `--log` and `--log-format`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) path: Option<PathBuf>,
    pub(crate) format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

impl Format {
    pub(crate) fn parse(name: &str) -> crate::Result<Format> {
        match name {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(format!("unknown log format {other:?}").into()),
        }
    }
}

impl Log {
    /// Adds one line. That it cannot be written must not hide the error itself.
    pub(crate) fn error(&self, message: &str) {
        let Some(path) = &self.path else { return };
        let now = time::now();
        let line = match self.format {
            Format::Text => format!("time=\"{now}\" level=error msg={message:?}\n"),
            Format::Json => {
                format!("{}\n", serde_json::json!({"level": "error", "msg": message, "time": now}))
            }
        };
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// The error's own words, and before them those by which podman tells a command that is not there
/// (exit code 127) or that may not be executed (126).
pub(crate) fn message(error: &(dyn Error + 'static)) -> String {
    let skep = error.downcast_ref::<skep::Error>();
    let known = skep.filter(|error| error.operation() == "execute").and_then(|error| {
        let cause = match error.kind() {
            ErrorKind::NotFound => "executable file not found in $PATH",
            ErrorKind::NotExecutable | ErrorKind::PermissionDenied => "permission denied",
            _ => return None,
        };
        Some(format!("exec: {:?}: {cause}: {error}", error.subject()))
    });
    known.unwrap_or_else(|| error.to_string())
}
