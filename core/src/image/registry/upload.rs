//! Puts one blob into a repository: if it is not there, and cannot be mounted from another.

use std::fs::File;

use ureq::http::Method;
use ureq::http::header::{CONTENT_RANGE, RANGE};

use super::client::Client;
use super::failure::{Failure, Outcome, short};
use super::parallel::Stop;
use super::push::Pushed;
use super::transport::{Payload, Request, Response};
use super::url::Url;
use crate::ErrorKind;
use crate::image::Descriptor;

/// The header by which a registry wants larger pieces.
const LEAST: &str = "oci-chunk-min-length";

/// An upload that was begun.
struct Session {
    url: Url,
    /// The least bytes of a piece that is not the last.
    least: u64,
}

/// A blob of the store that a registry is to have.
pub(super) struct Upload<'a> {
    pub(super) blob: &'a Descriptor,
    pub(super) file: File,
    /// Repositories of the same registry that may have it.
    pub(super) mount_from: &'a [String],
    /// `None` for all at once.
    pub(super) chunk: Option<u64>,
    /// Says that the result is of no use any more.
    pub(super) stop: &'a Stop,
    /// Is told the bytes that were sent.
    pub(super) report: &'a dyn Fn(u64),
}

impl Upload<'_> {
    /// Makes the repository have the blob, and says how it came to.
    pub(super) fn run(&self, client: &Client) -> Outcome<Pushed> {
        (self.report)(0);
        if client.has_blob(&self.blob.digest, self.stop)? {
            return Ok(Pushed::Existed);
        }
        let mut retry = client.retry();
        loop {
            // A session that broke is not gone on with: a new one is begun.
            match self.begin(client).and_then(|session| match session {
                Some(session) => self.send(client, session).map(|()| Pushed::Sent),
                None => Ok(Pushed::Mounted),
            }) {
                Ok(pushed) => return Ok(pushed),
                Err(failure) => retry.wait(failure, self.stop)?,
            }
        }
    }

    /// `length` bytes from `offset` on.
    fn piece(&self, offset: u64, length: u64) -> Payload<'_> {
        Payload::File { file: &self.file, offset, length, report: self.report, stop: self.stop }
    }

    /// Begins an upload; `None` if the blob could be mounted, and so is there.
    fn begin(&self, client: &Client) -> Outcome<Option<Session>> {
        let uploads = || client.url("blobs/uploads/");
        for repository in self.mount_from {
            let digest = self.blob.digest.to_string();
            let url = uploads().with("mount", &digest).with("from", repository);
            match client.send_once(&Request::new(Method::POST, url)) {
                Ok(response) if response.status == 201 => return Ok(None),
                Ok(response) => return Session::of(&response).map(Some),
                // Some refuse what they cannot mount; then it is uploaded.
                Err(failure) if failure.transient => return Err(failure),
                Err(_) => {}
            }
        }
        let response = client.send_once(&Request::new(Method::POST, uploads()))?;
        Session::of(&response).map(Some)
    }

    fn send(&self, client: &Client, session: Session) -> Outcome<()> {
        let size = self.blob.size;
        let (session, sent) = match self.chunk.map(|chunk| chunk.max(session.least)) {
            Some(chunk) if chunk < size => (self.send_chunks(client, session.url, chunk)?, size),
            _ => (session.url, 0),
        };
        let payload = match size - sent {
            0 => Payload::None,
            length => self.piece(sent, length),
        };
        let url = session.with("digest", &self.blob.digest.to_string());
        let request = Request::new(Method::PUT, url).payload(payload);
        client.send_once(&request).map(drop)
    }

    /// Sends everything in pieces; the address to finish at.
    fn send_chunks(&self, client: &Client, session: Url, chunk: u64) -> Outcome<Url> {
        let size = self.blob.size;
        let (mut session, mut sent) = (session, 0);
        let mut retry = client.retry();
        while sent < size {
            let length = chunk.min(size - sent);
            let request = Request::new(Method::PATCH, session.clone())
                .header(CONTENT_RANGE.as_str(), format!("{sent}-{}", sent + length - 1))
                .payload(self.piece(sent, length));
            let answer = client.send_once(&request);
            let granted = answer.is_ok();
            let response = match answer {
                Ok(response) => response,
                Err(failure) => {
                    // How much of the piece came is what the registry knows.
                    let out_of_step = failure.status == Some(416);
                    let failure = if out_of_step { failure.transient() } else { failure };
                    retry.wait(failure, self.stop)?;
                    client.send_once(&Request::get(session.clone()))?
                }
            };
            let next = received(&response)?.unwrap_or(sent + length);
            if next > size || granted && next <= sent {
                let cause = format!("{}: it lost count of what was sent", client.host());
                return Err(Failure::new(ErrorKind::InvalidData, cause));
            }
            session = response.safe_location()?;
            sent = next;
        }
        Ok(session)
    }
}

impl Session {
    fn of(response: &Response) -> Outcome<Self> {
        let least = response.header(LEAST).and_then(|least| least.trim().parse().ok());
        Ok(Session { url: response.safe_location()?, least: least.unwrap_or_default() })
    }
}

/// How many bytes a session has, by its `Range: 0-LAST`.
fn received(response: &Response) -> Outcome<Option<u64>> {
    let Some(range) = response.header(RANGE.as_str()) else { return Ok(None) };
    let last = range.trim().trim_start_matches("bytes=").strip_prefix("0-");
    match last.and_then(|last| last.parse::<u64>().ok()) {
        // What a session without a byte says, too; no piece is so small.
        Some(0) => Ok(Some(0)),
        Some(last) => Ok(Some(last.saturating_add(1))),
        None => {
            let host = response.url.authority();
            let cause = format!("{host}: it has the bytes {:?} of an upload", short(range));
            Err(Failure::new(ErrorKind::InvalidData, cause))
        }
    }
}
