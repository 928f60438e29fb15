//! Fetches one blob: gone on with after a break, and checked on the way.

use std::io::{self, Read};

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};

use super::client::Client;
use super::failure::{Failure, Outcome};
use super::parallel::Stop;
use super::transport::{Request, Response};
use crate::ErrorKind;
use crate::image::Descriptor;
use crate::image::digest::Hasher;
use crate::image::partial::Partial;

/// Bytes asked of the connection at once.
const BUFFER: usize = 128 << 10;

/// As much in one go makes up for the breaks before it.
const PROGRESS: u64 = 1 << 20;

/// One blob on its way.
pub(super) struct Download<'a> {
    pub(super) blob: &'a Descriptor,
    /// Says that the result is of no use any more.
    pub(super) stop: &'a Stop,
    /// Is told the bytes that are there.
    pub(super) report: &'a dyn Fn(u64),
}

/// What is there of it.
struct State<'a> {
    partial: &'a mut Partial,
    hasher: Hasher,
    have: u64,
    /// How often what was put together from several answers may be thrown away and fetched in one:
    /// another registry, or a loss of power, may have spoilt a part.
    fresh_starts: u32,
}

impl Download<'_> {
    /// Fetches what is missing in `partial` from the first of `clients` that gives it.
    ///
    /// # Errors
    /// What the last of them says. What was fetched stays, unless it is not the blob.
    pub(super) fn run(&self, clients: &[&Client], partial: &mut Partial) -> Outcome<()> {
        let (hasher, have) = partial.hash(self.blob.size)?;
        let mut state = State { partial, hasher, have, fresh_starts: 0 };
        let mut result = Err(Failure::new(ErrorKind::NotFound, "no registry has it"));
        for client in clients {
            state.fresh_starts = 1;
            result = self.fetch(client, &mut state);
            if result.is_ok() || self.stop.is_set() {
                break;
            }
        }
        result
    }

    fn fetch(&self, client: &Client, state: &mut State<'_>) -> Outcome<()> {
        let mut retry = client.retry();
        loop {
            let before = state.have;
            match self.go_on(client, state) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    if state.have >= before + PROGRESS {
                        retry = client.retry();
                    }
                    retry.wait(failure, self.stop)?;
                }
            }
        }
    }

    /// One request for what is missing.
    fn go_on(&self, client: &Client, state: &mut State<'_>) -> Outcome<()> {
        (self.report)(state.have);
        let resumed = state.have > 0;
        if state.have < self.blob.size || self.blob.size == 0 {
            let response = self.ask(client, state)?;
            self.receive(client, response, state)?;
        }
        let found = std::mem::replace(&mut state.hasher, Hasher::new()).finish();
        if found != self.blob.digest {
            state.restart()?;
            if resumed && state.fresh_starts > 0 {
                state.fresh_starts -= 1;
                return self.go_on(client, state);
            }
            return Err(self.mismatch(client, format!("it hashes to {found}")));
        }
        Ok(())
    }

    fn ask(&self, client: &Client, state: &mut State<'_>) -> Outcome<Response> {
        let url = client.url(&format!("blobs/{}", self.blob.digest));
        let request = Request::get(url).self_certifying(true);
        if state.have == 0 {
            return client.send_once(&request);
        }
        let rest = request.clone().header(RANGE.as_str(), format!("bytes={}-", state.have));
        let answer = client.send_once(&rest);
        let response = match answer {
            Err(failure) if failure.status == Some(416) => {
                state.restart()?;
                return client.send_once(&request);
            }
            answer => answer?,
        };
        let range = response.header(CONTENT_RANGE.as_str());
        if response.status != 206 || range.and_then(range_start) != Some(state.have) {
            // It gives all of it, or some other part.
            let partial = response.status == 206;
            state.restart()?;
            if partial {
                return client.send_once(&request);
            }
        }
        Ok(response)
    }

    fn receive(&self, client: &Client, response: Response, state: &mut State<'_>) -> Outcome<()> {
        let length = response.header(CONTENT_LENGTH.as_str()).and_then(|l| l.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| *length != self.blob.size - state.have) {
            let total = length.saturating_add(state.have);
            return Err(self.mismatch(
                client,
                format!("it has {total} bytes, {} were announced", self.blob.size),
            ));
        }
        let host = response.url.authority().to_owned();
        let mut body = response.reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.stop.is_set() {
                return Err(Failure::new(ErrorKind::Io, "another blob could not be fetched"));
            }
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::io(&host, error)),
            };
            if n as u64 > self.blob.size - state.have {
                state.restart()?;
                return Err(self.mismatch(
                    client,
                    format!("it has more than the {} bytes announced", self.blob.size),
                ));
            }
            state.append(&buffer[..n])?;
            (self.report)(state.have);
        }
        match state.have == self.blob.size {
            true => Ok(()),
            false => Err(Failure::new(
                ErrorKind::InvalidData,
                format!(
                    "{host}: blob {} ends after {} of {} bytes",
                    self.blob.digest, state.have, self.blob.size
                ),
            )
            .transient()),
        }
    }

    fn mismatch(&self, client: &Client, cause: String) -> Failure {
        let cause = format!("{}: blob {}: {cause}", client.host(), self.blob.digest);
        Failure::new(ErrorKind::DigestMismatch, cause)
            .fix("have it pushed again, or use another registry")
    }
}

impl State<'_> {
    fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.partial.append(bytes)?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> Outcome<()> {
        self.partial.clear()?;
        self.hasher = Hasher::new();
        self.have = 0;
        Ok(())
    }
}

/// The first byte that a `Content-Range` announces: `bytes 7-9/10`.
pub(super) fn range_start(header: &str) -> Option<u64> {
    let (start, _) = header.trim().strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_where_it_says() {
        for (header, start) in [
            ("bytes 7-9/10", Some(7)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */10", None),
            ("items 7-9/10", None),
            ("", None),
            ("bytes 99999999999999999999-1/1", None),
        ] {
            assert_eq!(range_start(header), start, "{header}");
        }
    }
}
