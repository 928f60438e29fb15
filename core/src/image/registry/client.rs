//! Requests to one repository of one registry: let in, redirected and tried again.

use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use ureq::http::Method;
use ureq::http::header::WWW_AUTHENTICATE;

use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::failure::{Failure, Outcome};
use super::parallel::Stop;
use super::retry::Retry;
use super::settings::{Registries, Shared, Slot};
use super::token;
use super::transport::{Request, Response};
use super::url::Url;
use crate::ErrorKind;
use crate::cancel::Cancel;

/// As many redirects as browsers follow.
const MAX_REDIRECTS: u32 = 10;

/// How often who may be cancelled looks whether another thread has got a token.
const HELD: Duration = Duration::from_millis(5);

/// Where docker.io's registry is.
pub(super) const DOCKER_HOST: &str = "registry-1.docker.io";

/// A repository as it is reached through one host.
pub(super) struct Client {
    shared: Arc<Shared>,
    /// Ends its requests.
    cancel: Cancel,
    /// The registry or mirror, as references and settings call it.
    registry: String,
    /// Ends in `/v2/`.
    base: Url,
    /// With a mirror's prefix.
    repository: String,
    /// What a token must allow, for instance `repository:library/debian:pull`.
    scope: Vec<String>,
}

/// What is going to be done to a repository.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action {
    Pull,
    Push,
}

impl Client {
    /// A client for `repository` of `registry`, which may be a mirror with a prefix.
    pub(super) fn new(
        registries: &Registries,
        registry: &str,
        repository: &str,
        action: Action,
    ) -> Self {
        let (registry, repository) = match registry.split_once('/') {
            Some((registry, prefix)) => (registry, format!("{prefix}/{repository}")),
            None => (registry, repository.to_owned()),
        };
        let plain =
            registries.shared.settings.access(registry).is_some_and(|access| access.plain_http);
        let host = if registry == "docker.io" { DOCKER_HOST } else { registry };
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
        };
        let scope = match repository.is_empty() {
            true => Vec::new(),
            false => vec![format!("repository:{repository}:{actions}")],
        };
        Client {
            shared: Arc::clone(&registries.shared),
            cancel: registries.cancel.clone(),
            registry: registry.to_owned(),
            base: Url::new(!plain, host, "/v2/".to_owned()),
            repository,
            scope,
        }
    }

    /// The clients to pull from: the registry's mirrors, and the registry itself last.
    pub(super) fn to_pull(registries: &Registries, registry: &str, repository: &str) -> Vec<Self> {
        let access = registries.shared.settings.access(registry);
        let mirrors = access.map_or(&[][..], |access| &access.mirrors);
        let all = mirrors.iter().map(String::as_str).chain([registry]);
        all.map(|host| Client::new(registries, host, repository, Action::Pull)).collect()
    }

    /// Asks for the right to read `repository`, too, to mount its blobs.
    pub(super) fn also_pull(mut self, repository: &str) -> Self {
        self.scope.push(format!("repository:{repository}:pull"));
        self
    }

    /// The host, for messages.
    pub(super) fn host(&self) -> &str {
        self.base.authority()
    }

    /// `/v2/`.
    pub(super) fn root(&self) -> Url {
        self.base.clone()
    }

    /// `/v2/<repository>/<path>`.
    pub(super) fn url(&self, path: &str) -> Url {
        Url::new(self.base.secure(), self.host(), format!("/v2/{}/{path}", self.repository))
    }

    pub(super) fn retry(&self) -> Retry {
        let settings = &self.shared.settings;
        Retry::new(settings.attempts, settings.first_pause)
    }

    /// Sends a request until it is granted or refused for good; an answer is one that says yes.
    pub(super) fn send(&self, request: &Request<'_>) -> Outcome<Response> {
        self.send_until(request, &Stop::new(&self.cancel))
    }

    /// As [`send`](Self::send), but not again once `stop` is set.
    pub(super) fn send_until(&self, request: &Request<'_>, stop: &Stop) -> Outcome<Response> {
        let mut retry = self.retry();
        loop {
            match self.send_once(request) {
                Ok(response) => return Ok(response),
                Err(failure) => retry.wait(failure, stop)?,
            }
        }
    }

    /// As [`send`](Self::send), once, but for the right to be let in.
    pub(super) fn send_once(&self, request: &Request<'_>) -> Outcome<Response> {
        self.shared.check_host()?;
        let slot = self.slot(&request.url);
        let known = self.hold(&slot)?.clone();
        let mut response = self.follow(request, known.as_deref())?;
        // Who a request was redirected to is nobody to hand credentials to (CVE-2020-15157).
        if response.status == 401 && response.url.same_origin(&self.base) {
            let authorization = self.authorize(&slot, known, response)?;
            response = self.follow(request, Some(&authorization))?;
            if response.status == 401 {
                // Not to be shown again.
                self.hold(&slot)?.take();
            }
        }
        match response.status {
            200..300 => Ok(response),
            _ => Err(response.failure()),
        }
    }

    /// Where what lets requests to `url` in is kept. Nothing is kept for other hosts.
    fn slot(&self, url: &Url) -> Slot {
        if !url.same_origin(&self.base) {
            return Slot::default();
        }
        let key = (self.base.to_string(), self.scope.join(" "));
        // Nothing can panic half way through a change of the map.
        let mut tokens = self.shared.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(key).or_default().clone()
    }

    /// Gets what the answer `refusal` asks for; `known` is what it refused.
    fn authorize(&self, slot: &Slot, known: Option<String>, refusal: Response) -> Outcome<String> {
        let challenges: Vec<Challenge> = refusal
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        let mut held = self.hold(slot)?;
        if let Some(newer) = held.as_ref().filter(|held| known.as_ref() != Some(held)) {
            // Another thread got one meanwhile.
            return Ok(newer.clone());
        }
        let credentials = self.credentials()?;
        let asked = token::Question {
            challenges: &challenges,
            credentials: credentials.as_ref(),
            scope: &self.scope,
            base: &self.base,
            cancel: &self.cancel,
        };
        match token::answer(&self.shared, &asked)? {
            Some(authorization) if known.as_ref() != Some(&authorization) => {
                refusal.drain();
                *held = Some(authorization.clone());
                Ok(authorization)
            }
            _ => {
                *held = None;
                let fix = match credentials {
                    Some(_) => "check the credentials",
                    None => "give credentials, or log in with docker or podman",
                };
                Err(refusal.failure().fix(fix))
            }
        }
    }

    fn credentials(&self) -> Outcome<Option<Credentials>> {
        let (registry, repository) = (&self.registry, &self.repository);
        self.shared.settings.credentials(registry, repository, &self.cancel)
    }

    /// Waits for what lets requests in, which another thread may be fetching.
    fn hold<'a>(&self, slot: &'a Slot) -> Outcome<MutexGuard<'a, Option<String>>> {
        loop {
            match slot.try_lock() {
                Ok(held) => return Ok(held),
                Err(TryLockError::Poisoned(held)) => return Ok(held.into_inner()),
                Err(TryLockError::WouldBlock) if !self.cancel.is_live() => {
                    return Ok(slot.lock().unwrap_or_else(PoisonError::into_inner));
                }
                Err(TryLockError::WouldBlock) => {
                    if self.cancel.wait(HELD, || false) {
                        return Err(Failure::cancelled());
                    }
                }
            }
        }
    }

    /// Sends a request and follows redirects. `authorization` is shown to the host that it is for,
    /// and to nobody once another was asked.
    fn follow(&self, request: &Request<'_>, authorization: Option<&str>) -> Outcome<Response> {
        let mut authorization = authorization.filter(|_| request.url.same_origin(&self.base));
        let mut request = request.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.shared.exchange(&request, authorization, &self.cancel)?;
            let same_method = matches!(response.status, 307 | 308);
            let reading = request.method == Method::GET || request.method == Method::HEAD;
            if !(same_method || reading && matches!(response.status, 301..=303)) {
                return Ok(response);
            }
            let next = match request.self_certifying {
                true => response.location()?,
                false => response.safe_location()?,
            };
            response.drain();
            if !next.same_origin(&request.url) {
                authorization = None;
            }
            request.url = next;
        }
        let cause = format!("{} redirects more than {MAX_REDIRECTS} times", self.host());
        Err(Failure::new(ErrorKind::InvalidData, cause))
    }
}
