//! One request to one host, and its answer: bounded, timed, and nothing followed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use ureq::http::{HeaderMap, Method, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{self, DefaultResolver, ResolvedSocketAddrs};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, NextTimeout, RustlsConnector,
};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::client::DOCKER_HOST;
use super::failure::{Failure, Outcome};
use super::parallel::Stop;
use super::settings::{Access, Shared, provider};
use super::tcp::{TcpConnector, under};
use super::url::Url;
use crate::ErrorKind;
use crate::cancel::Cancel;

/// Bytes of all headers of an answer.
const MAX_HEADERS: usize = 64 << 10;

/// What is read of an answer that says no, or says where else to ask.
const MAX_EXPLANATION: u64 = 16 << 10;

/// Connections that wait for another request, for at most 15 seconds.
const MAX_IDLE: usize = 8;

/// A registry that is to check all of an upload may take so many times longer to answer.
const PATIENCE: u32 = 10;

/// What a request carries. It can be sent again.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    None,
    Bytes {
        media_type: &'a str,
        bytes: &'a [u8],
    },
    /// `length` bytes from `offset` on.
    File {
        file: &'a File,
        offset: u64,
        length: u64,
        /// Is told the bytes of the file up to what was sent.
        report: &'a dyn Fn(u64),
        /// Ends it: the rest is of no use any more.
        stop: &'a Stop,
    },
}

/// See the module.
#[derive(Clone)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) payload: Payload<'a>,
    /// Whether the answer is checked against a digest that is known before.
    pub(super) self_certifying: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Request { method, url, headers: Vec::new(), payload: Payload::None, self_certifying: false }
    }

    pub(super) fn get(url: Url) -> Self {
        Request::new(Method::GET, url)
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn self_certifying(mut self, whether: bool) -> Self {
        self.self_certifying = whether;
        self
    }

    pub(super) fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }
}

/// An answer whose body is not read yet.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// Who answered.
    pub(super) url: Url,
    /// Ends the reading of the body.
    cancel: Cancel,
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where it leads.
    pub(super) fn location(&self) -> Outcome<Url> {
        match self.header(LOCATION.as_str()) {
            Some(location) => Url::parse(location, Some(&self.url)),
            None => Err(Failure::new(
                ErrorKind::InvalidData,
                format!("{} answered {} without a Location", self.url.authority(), self.status),
            )),
        }
    }

    /// Where to go on, which is not from https to plain http.
    pub(super) fn safe_location(&self) -> Outcome<Url> {
        let next = self.location()?;
        self.check_safe(&next)?;
        Ok(next)
    }

    /// Fails if `next`, to which it leads, is plain http and it was not itself.
    pub(super) fn check_safe(&self, next: &Url) -> Outcome<()> {
        if !self.url.secure() || next.secure() {
            return Ok(());
        }
        let cause = format!("{} redirects to plain http", self.url.authority());
        Err(Failure::new(ErrorKind::PermissionDenied, cause)
            .fix("have the registry, or the proxy before it, name itself by https"))
    }

    /// The whole body, of at most `most` bytes.
    pub(super) fn read(self, most: u64) -> Outcome<Vec<u8>> {
        let host = self.url.authority().to_owned();
        let mut bytes = Vec::new();
        let mut body = self.reader().take(most + 1);
        body.read_to_end(&mut bytes).map_err(|error| Failure::io(&host, error))?;
        if bytes.len() as u64 > most {
            return Err(Failure::new(
                ErrorKind::InvalidData,
                format!("{host}: its answer is larger than {most} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// The body, unbounded.
    pub(super) fn reader(self) -> impl Read {
        let body = self.body.into_with_config().limit(u64::MAX).reader();
        Reader { body, cancel: self.cancel }
    }

    /// Reads what little there may be, so that the connection can be used again.
    pub(super) fn drain(self) {
        let _ = io::copy(&mut self.reader().take(MAX_EXPLANATION), &mut io::sink());
    }

    /// What a status that says no means.
    pub(super) fn failure(self) -> Failure {
        let (status, host) = (self.status, self.url.authority().to_owned());
        let after = self.header(RETRY_AFTER.as_str()).and_then(super::retry::after);
        let mut bytes = Vec::new();
        // Without an explanation, the status alone says why.
        let _ = self.reader().take(MAX_EXPLANATION).read_to_end(&mut bytes);
        Failure::status(&host, status, &bytes, after)
    }
}

/// A piece of a file on its way.
struct Reported<'a, R> {
    piece: R,
    /// Bytes of the file up to what was read of it.
    at: u64,
    report: &'a dyn Fn(u64),
    stop: &'a Stop,
}

impl<R: Read> Read for Reported<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // What was read before is sent when more is asked for.
        (self.report)(self.at);
        if self.stop.is_set() {
            return Err(io::Error::other("another blob could not be sent"));
        }
        let n = self.piece.read(buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A body on its way.
struct Reader<R> {
    body: R,
    cancel: Cancel,
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        under(&self.cancel, || self.body.read(buffer))
    }
}

impl Shared {
    /// Refuses in a forked copy of the host, in which a lock may be held for ever.
    pub(super) fn check_host(&self) -> Outcome<()> {
        if self.host.is_current() {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::InvalidState, "this process is a forked copy")
            .fix("open the registries and the store anew there"))
    }

    /// Sends `request` with `authorization` to the host it names, and waits until it answers or
    /// `cancel` says not to.
    pub(super) fn exchange(
        &self,
        request: &Request<'_>,
        authorization: Option<&str>,
        cancel: &Cancel,
    ) -> Outcome<Response> {
        if cancel.is_cancelled() {
            return Err(Failure::cancelled());
        }
        self.settings.check()?;
        under(cancel, || self.send(request, authorization, cancel))
    }

    fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<&str>,
        cancel: &Cancel,
    ) -> Outcome<Response> {
        let host = request.url.authority();
        self.check_host()?;
        let agent = self.agent(&request.url);
        check_proxy(&agent, &request.url)?;
        let mut builder = ureq::http::Request::builder()
            .method(request.method.clone())
            .uri(request.url.to_string());
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let invalid = |error: ureq::http::Error| {
            Failure::new(ErrorKind::InvalidData, format!("{host}: no request can be made: {error}"))
        };
        let sent = match request.payload {
            Payload::None if request.method == Method::GET || request.method == Method::HEAD => {
                agent.run(builder.body(()).map_err(invalid)?)
            }
            Payload::None => {
                let request = builder.body(&b""[..]).map_err(invalid)?;
                agent.run(self.patient(&agent, request))
            }
            Payload::Bytes { media_type, bytes } => {
                agent.run(builder.header(CONTENT_TYPE, media_type).body(bytes).map_err(invalid)?)
            }
            Payload::File { mut file, offset, length, report, stop } => {
                let opened = |e| Failure::from(crate::Error::os("read", "a blob", e));
                // A description of its own, whose position others do not move.
                file.seek(SeekFrom::Start(offset)).map_err(opened)?;
                let mut piece = Reported { piece: file.take(length), at: offset, report, stop };
                let builder = builder
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .header(CONTENT_LENGTH, length);
                let request = builder.body(SendBody::from_reader(&mut piece)).map_err(invalid)?;
                agent.run(self.patient(&agent, request))
            }
        };
        let (parts, body) = sent.map_err(|error| Failure::transport(host, error))?.into_parts();
        let status = parts.status.as_u16();
        let (url, cancel) = (request.url.clone(), cancel.clone());
        Ok(Response { status, headers: parts.headers, body, url, cancel })
    }

    /// With more time for the answer.
    fn patient<S: AsSendBody>(
        &self,
        agent: &Agent,
        request: ureq::http::Request<S>,
    ) -> ureq::http::Request<S> {
        let timeout = Some(self.settings.timeout.saturating_mul(PATIENCE));
        let config = agent.configure_request(request);
        config.timeout_recv_response(timeout).timeout_per_read(timeout).build()
    }

    /// The connections to a host. Those without certificates of their own share the platform's,
    /// which take a while to be read.
    fn agent(&self, url: &Url) -> Agent {
        let access = self.settings.access(name(url.authority()));
        let key = match access {
            Some(Access { authorities: Some(_), .. } | Access { client: Some(_), .. }) => {
                url.authority()
            }
            // No authority has a slash.
            _ if is_loopback(url) => "/loopback",
            _ => "",
        };
        // Nothing can panic half way through a change of the map.
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let timeout = Some(self.settings.timeout);
            let config = Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_response_header_size(MAX_HEADERS)
                .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")))
                .tls_config(tls(access))
                .max_idle_connections(MAX_IDLE)
                .max_idle_connections_per_host(MAX_IDLE)
                .timeout_connect(timeout)
                .timeout_send_request(timeout)
                .timeout_recv_response(timeout)
                .timeout_per_read(timeout)
                .timeout_per_write(timeout);
            let config = if is_loopback(url) { config.proxy(None) } else { config };
            // As ureq's own, but for TCP.
            let connector =
                ().chain(ConnectProxyConnector::default())
                    .chain(TcpConnector)
                    .chain(RustlsConnector::default());
            Agent::with_parts(config.build(), connector, Resolver::default())
        };
        agents.entry(key.to_owned()).or_insert_with(make).clone()
    }
}

/// Resolves names in the calling thread. Ureq's own resolver leaves a thread behind when a name
/// takes longer than it may.
#[derive(Debug, Default)]
struct Resolver(DefaultResolver);

impl resolver::Resolver for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, NextTimeout::default())
    }
}

/// Fails if the environment has a proxy for `url` that is not spoken with: passed by, it would be
/// the host's address, and who is asked, that somebody sees who should not.
fn check_proxy(agent: &Agent, url: &Url) -> Outcome<()> {
    use ureq::ProxyProtocol as P;
    let Some(proxy) = agent.config().proxy() else { return Ok(()) };
    let socks = matches!(proxy.protocol(), P::Socks4 | P::Socks4A | P::Socks5 | P::Socks5h);
    let direct = url.to_string().parse::<Uri>().is_ok_and(|uri| proxy.is_no_proxy(&uri));
    match socks && !direct {
        false => Ok(()),
        true => Err(Failure::new(
            ErrorKind::Unsupported,
            format!("{}: the environment's proxy for it speaks SOCKS", url.authority()),
        )
        .fix("set ALL_PROXY to one that speaks HTTP, or name the registry in NO_PROXY")),
    }
}

/// Whether it is this machine, which is never asked through a proxy.
fn is_loopback(url: &Url) -> bool {
    let host = url.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What settings call the host of an address.
fn name(authority: &str) -> &str {
    if authority == DOCKER_HOST { "docker.io" } else { authority }
}

fn tls(access: Option<&Access>) -> TlsConfig {
    let roots = match access.and_then(|access| access.authorities.as_ref()) {
        Some(authorities) => RootCerts::new_with_certs(authorities),
        None => RootCerts::PlatformVerifier,
    };
    TlsConfig::builder()
        .root_certs(roots)
        .client_cert(access.and_then(|access| access.client.clone()))
        .unversioned_rustls_crypto_provider(Arc::new(provider()))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::registry::Registries;

    #[test]
    fn certificates_of_one_are_not_shown_to_another() {
        let access = Access { authorities: Some(Vec::new()), ..Access::new() };
        let registries = Registries::new().access("localhost", access);
        for (authority, sets) in
            [("localhost", 1), ("localhost:5000", 2), ("127.0.0.1", 2), ("other", 3), ("more", 3)]
        {
            registries.shared.agent(&Url::new(true, authority, "/".to_owned()));
            assert_eq!(registries.shared.agents.lock().unwrap().len(), sets, "{authority}");
        }
    }
}
