//! How a new image differs from the one that it is made of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use napi_derive::napi;
use skep::image::{self, RunConfig};
use skep::{Bytes, Error, Result};

/// [`image::Commit`] as an object.
#[napi(object, object_to_js = false)]
pub struct Commit {
    pub reference: Option<String>,
    /// As JSON.
    pub config: Option<String>,
    pub author: Option<String>,
    pub comment: Option<String>,
    pub created_by: Option<String>,
    /// Milliseconds since 1970.
    pub time: Option<f64>,
    pub max_size: Option<String>,
}

impl Commit {
    pub(crate) fn build(self) -> Result<image::Commit> {
        let mut commit = image::Commit::new();
        if let Some(reference) = self.reference {
            commit = commit.reference(reference);
        }
        if let Some(json) = self.config {
            commit = commit.config(run_config(&json)?);
        }
        if let Some(author) = self.author {
            commit = commit.author(author);
        }
        if let Some(comment) = self.comment {
            commit = commit.comment(comment);
        }
        if let Some(command) = self.created_by {
            commit = commit.created_by(command);
        }
        if let Some(ms) = self.time {
            commit = commit.time(time(ms)?);
        }
        if let Some(size) = self.max_size {
            commit = commit.max_size(size.parse::<Bytes>()?.get());
        }
        Ok(commit)
    }
}

fn run_config(json: &str) -> Result<RunConfig> {
    serde_json::from_str(json).map_err(|error| {
        Error::invalid_input("use", "option \"config\"")
            .cause(error.to_string())
            .fix("give an object such as that of an image, inspect().config.config")
    })
}

fn time(ms: f64) -> Result<SystemTime> {
    let since = Duration::try_from_secs_f64(ms.abs() / 1e3).ok();
    let time = since.and_then(|since| match ms < 0.0 {
        true => UNIX_EPOCH.checked_sub(since),
        false => UNIX_EPOCH.checked_add(since),
    });
    time.ok_or_else(|| {
        Error::invalid_input("use", "option \"time\"").cause("it is too far from the present")
    })
}
