//! Answers a registry's challenge: with a password, or with a token of its token server.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/token/>,
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::{Credentials, Kind, basic};
use super::failure::{Failure, Outcome};
use super::settings::Shared;
use super::transport::{Payload, Request};
use super::url::{Url, encode};
use crate::ErrorKind;
use crate::cancel::Cancel;

/// Far more than any token: they come in a header of every request.
const MAX_ANSWER: u64 = 256 << 10;

/// What a registry wants to know.
pub(super) struct Question<'a> {
    pub(super) challenges: &'a [Challenge],
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) scope: &'a [String],
    /// The registry's address.
    pub(super) base: &'a Url,
    pub(super) cancel: &'a Cancel,
}

/// The value of `Authorization` that answers the question; `None` if there is none.
pub(super) fn answer(shared: &Shared, question: &Question<'_>) -> Outcome<Option<String>> {
    let challenge = |scheme| question.challenges.iter().find(|c| c.scheme == scheme);
    if let Some(Kind::Token(token)) = question.credentials.map(Credentials::kind) {
        return Ok(Some(format!("Bearer {token}")));
    }
    if let Some(bearer) = challenge("bearer") {
        let token = fetch(shared, question, bearer)?;
        return Ok(Some(format!("Bearer {token}")));
    }
    match (challenge("basic"), question.credentials.map(Credentials::kind)) {
        (Some(_), Some(Kind::Password { user, password })) => Ok(Some(basic(user, password))),
        _ => Ok(None),
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

fn fetch(shared: &Shared, question: &Question<'_>, bearer: &Challenge) -> Outcome<String> {
    let host = question.base.authority();
    let invalid = |cause: &str| Failure::new(ErrorKind::InvalidData, format!("{host}: {cause}"));
    let realm = bearer.parameter("realm").ok_or_else(|| invalid("it names no token server"))?;
    let realm = Url::parse(realm, None)?;
    if question.base.secure() && !realm.secure() {
        // Credentials, and the token, would go over the wire for all to read.
        return Err(Failure::new(
            ErrorKind::PermissionDenied,
            format!("{host}: its token server {} speaks plain http", realm.authority()),
        ));
    }
    let service = bearer.parameter("service").unwrap_or(host);
    let form;
    let (request, authorization) = match question.credentials.map(Credentials::kind) {
        Some(Kind::Identity(token)) => {
            form = refresh(service, question.scope, token);
            (refresh_request(realm, &form), None)
        }
        Some(Kind::Password { user, password }) => {
            let url = query(realm, service, question.scope).with("account", user);
            (Request::get(url), Some(basic(user, password)))
        }
        _ => (Request::get(query(realm, service, question.scope)), None),
    };
    let response = shared.exchange(&request, authorization.as_deref(), question.cancel)?;
    if !matches!(response.status, 200..300) {
        // Redirects, too: a token server is where the registry says it is.
        return Err(response.failure());
    }
    token(&response.read(MAX_ANSWER)?).map_err(invalid)
}

/// The token in a token server's answer.
pub(super) fn token(answer: &[u8]) -> Result<String, &'static str> {
    // Nothing of it is repeated: it holds a secret.
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|_| "its token server's answer is malformed")?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token);
    let visible = |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    token.filter(visible).ok_or("its token server gave no token")
}

fn query(realm: Url, service: &str, scope: &[String]) -> Url {
    scope.iter().fold(realm.with("service", service), |url, scope| url.with("scope", scope))
}

fn refresh(service: &str, scope: &[String], token: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id=skep&service={}&scope={}&refresh_token={}",
        encode(service),
        encode(&scope.join(" ")),
        encode(token)
    )
}

fn refresh_request(realm: Url, form: &str) -> Request<'_> {
    Request::new(ureq::http::Method::POST, realm).payload(Payload::Bytes {
        media_type: "application/x-www-form-urlencoded",
        bytes: form.as_bytes(),
    })
}
