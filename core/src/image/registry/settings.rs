//! How registries are reached: what a caller may say about them, and what is kept between calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey};

use super::credentials::{self, Credentials};
use super::failure::{Failure, Outcome};
use super::helper;
use crate::cancel::Cancel;
use crate::image::Reference;
use crate::sys::fork;
use crate::{Error, ErrorKind, Result};

/// The registries as this program reaches them: with which credentials, certificates and mirrors.
///
/// By default, registries are asked by https, with the platform's certificates, anonymously first,
/// and then with the credentials that docker's or podman's files have for them. Proxies are those
/// of the environment (`ALL_PROXY`, `HTTPS_PROXY`, `NO_PROXY`), which speak HTTP; with one that
/// speaks SOCKS, what is asked fails with `Unsupported`. This machine is asked without.
///
/// Clones share connections and tokens; keep one for many calls. It starts no thread.
///
/// ```
/// use skep::image::registry::{Access, Credentials, Registries};
///
/// let registries = Registries::new()
///     .access("localhost:5000", Access::new().plain_http())
///     .access("ghcr.io", Access::new().credentials(Credentials::password("me", "token")))
///     .access("docker.io", Access::new().mirror("mirror.example:5000"));
/// # let _ = registries;
/// ```
#[derive(Debug, Clone)]
pub struct Registries {
    pub(super) shared: Arc<Shared>,
    /// Ends what is asked of them.
    pub(super) cancel: Cancel,
}

/// What clones of [`Registries`] share.
pub(super) struct Shared {
    /// A forked copy would speak on the same connections.
    pub(super) host: fork::Process,
    pub(super) settings: Settings,
    /// Connections: one set for each host with certificates of its own, one for the others.
    pub(super) agents: Mutex<HashMap<String, ureq::Agent>>,
    /// What was last let in, by authority and scope.
    pub(super) tokens: Mutex<HashMap<(String, String), Slot>>,
}

impl fmt::Debug for Shared {
    /// Without what is kept: tokens and passwords are in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(settings: Settings) -> Self {
        let host = fork::Process::current();
        Shared { host, settings, agents: Mutex::default(), tokens: Mutex::default() }
    }
}

/// A hundred years: as good as no timeout.
const MAX_TIMEOUT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A value of `Authorization`; locked while a new one is fetched, so that one thread does.
pub(super) type Slot = Arc<Mutex<Option<String>>>;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    access: BTreeMap<String, Access>,
    /// The first name of a registry or mirror that is none.
    wrong: Option<String>,
    /// `None` for the usual ones.
    credential_files: Option<Vec<PathBuf>>,
    pub(super) attempts: u32,
    pub(super) first_pause: Duration,
    pub(super) timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            access: BTreeMap::new(),
            wrong: None,
            credential_files: None,
            attempts: 5,
            first_pause: Duration::from_millis(250),
            timeout: Duration::from_secs(60),
        }
    }
}

impl Settings {
    pub(super) fn access(&self, registry: &str) -> Option<&Access> {
        self.access.get(&registry.to_ascii_lowercase())
    }

    /// Fails if they were given what is no registry's name, which nothing would ever be asked by.
    pub(super) fn check(&self) -> Outcome<()> {
        match &self.wrong {
            None => Ok(()),
            Some(wrong) => {
                let cause = format!("{wrong:?} is no registry's name");
                Err(Failure::new(ErrorKind::InvalidInput, cause)
                    .fix("write HOST or HOST:PORT, without http://"))
            }
        }
    }

    /// The credentials for a repository, given or found.
    pub(super) fn credentials(
        &self,
        registry: &str,
        repository: &str,
        cancel: &Cancel,
    ) -> Outcome<Option<Credentials>> {
        if let Some(given) = self.access(registry).and_then(|access| access.credentials.clone()) {
            return Ok(Some(given));
        }
        let uid = rustix::process::getuid().as_raw();
        let usual = || credentials::files(|name| std::env::var_os(name), uid);
        let files = self.credential_files.clone().unwrap_or_else(usual);
        let path = || std::env::var_os("PATH");
        credentials::find(&files, registry, repository, |name, server| {
            helper::ask(name, server, path(), self.timeout, cancel)
        })
    }
}

impl Default for Registries {
    fn default() -> Self {
        Registries::made(Settings::default(), Cancel::never())
    }
}

impl Registries {
    /// The defaults; see the [type](Self).
    pub fn new() -> Self {
        Registries::default()
    }

    /// Sets how one registry, or one mirror, is reached, for instance `docker.io` or
    /// `localhost:5000`: as references write it. What is no registry's name, and a mirror that is
    /// none, makes all that is asked through these registries fail with `InvalidInput`.
    pub fn access(self, registry: impl Into<String>, access: Access) -> Self {
        let registry = registry.into();
        self.change(|settings| {
            let wrong = match is_host(&registry) {
                false => Some(&registry),
                true => access.mirrors.iter().find(|mirror| !is_mirror(mirror)),
            };
            settings.wrong = settings.wrong.take().or(wrong.cloned());
            settings.access.insert(registry.to_ascii_lowercase(), access);
        })
    }

    /// Looks for credentials in these files and in no others: docker's `config.json` or podman's
    /// `auth.json`. With none, only credentials given in code are used.
    pub fn credential_files(self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        self.change(|settings| settings.credential_files = Some(files.into_iter().collect()))
    }

    /// How often one request is made, at least once, 5 times unless told otherwise, when the registry is overloaded
    /// (429), fails (5xx) or is lost on the way; and the pause after the first time, 250 ms, which
    /// doubles. A registry may ask for longer ones, up to 30 s.
    pub fn attempts(self, attempts: u32, first_pause: Duration) -> Self {
        self.change(|settings| {
            settings.attempts = attempts.max(1);
            settings.first_pause = first_pause;
        })
    }

    /// How long a registry may be silent: to connect, to answer, between two pieces of a body.
    /// 60 seconds unless told otherwise. Resolving a name takes as long as the system takes.
    pub fn timeout(self, timeout: Duration) -> Self {
        // Added to the time, it must still be one.
        self.change(|settings| settings.timeout = timeout.min(MAX_TIMEOUT))
    }

    /// The same registries, on the same connections, with questions that `cancel` ends: they fail with
    /// [`Cancelled`](ErrorKind::Cancelled). A pull or push is ended by its
    /// [`Images`](crate::Images::cancellable)' instead, if they have one.
    pub fn cancellable(&self, cancel: &Cancel) -> Registries {
        Registries { shared: Arc::clone(&self.shared), cancel: cancel.clone() }
    }

    /// As the store of a pull or push wants it.
    pub(super) fn of_store(&self, cancel: &Cancel) -> Registries {
        if cancel.is_live() { self.cancellable(cancel) } else { self.clone() }
    }

    fn made(settings: Settings, cancel: Cancel) -> Self {
        Registries { shared: Arc::new(Shared::new(settings)), cancel }
    }

    fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        // Without what is kept: it was obtained by the former settings.
        Registries::made(settings, self.cancel)
    }
}

/// How one registry is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub(super) plain_http: bool,
    pub(super) mirrors: Vec<String>,
    pub(super) credentials: Option<Credentials>,
    pub(super) authorities: Option<Vec<Certificate<'static>>>,
    pub(super) client: Option<ClientCert>,
}

impl Access {
    /// By https, with the platform's certificates, anonymously or with what the files have.
    pub fn new() -> Self {
        Access::default()
    }

    /// By http, where anyone on the way may read and change what is not named by a digest.
    pub fn plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Asks this mirror first, then those named later, then the registry itself. Only pulls go to
    /// mirrors. `mirror` is `HOST[:PORT][/PREFIX]`; set how it is reached under `HOST[:PORT]`.
    pub fn mirror(mut self, mirror: impl Into<String>) -> Self {
        self.mirrors.push(mirror.into());
        self
    }

    /// Shows these credentials when the registry asks for some.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Trusts these authorities, in PEM, and not the platform's.
    ///
    /// # Errors
    /// `InvalidInput` if there is no certificate in it.
    pub fn certificate_authority(mut self, pem: &[u8]) -> Result<Self> {
        self.authorities = Some(certificates(pem, "use certificate authority")?);
        Ok(self)
    }

    /// Shows this certificate, with those that vouch for it, when the registry asks for one.
    ///
    /// # Errors
    /// `InvalidInput` if there is no certificate or key in it, or they do not belong together.
    pub fn client_certificate(mut self, certificates_pem: &[u8], key_pem: &[u8]) -> Result<Self> {
        const OPERATION: &str = "use client certificate";
        let chain = certificates(certificates_pem, OPERATION)?;
        let invalid = |cause: String| Error::invalid_input(OPERATION, "given in PEM").cause(cause);
        let key = PrivateKey::from_pem(key_pem).map_err(|error| invalid(error.to_string()))?;
        let client = ClientCert::new_with_certs(&chain, key);
        check_client(&client).map_err(|error| invalid(error.to_string()))?;
        self.client = Some(client);
        Ok(self)
    }
}

/// Whether it is `HOST` or `HOST:PORT`.
fn is_host(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let numbered = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    let authority = text.parse::<ureq::http::uri::Authority>();
    numbered && !text.contains('@') && authority.is_ok_and(|parsed| !parsed.host().is_empty())
}

/// Whether it is `HOST[:PORT][/PREFIX]`.
fn is_mirror(text: &str) -> bool {
    match text.split_once('/') {
        None => is_host(text),
        Some((host, prefix)) => is_host(host) && is_repository(prefix),
    }
}

/// Whether it is a repository's name, without a registry.
pub(super) fn is_repository(text: &str) -> bool {
    Reference::parse(&format!("localhost/{text}")).is_ok_and(|parsed| parsed.path() == text)
}

fn certificates(pem: &[u8], operation: &'static str) -> Result<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => {
                return Err(Error::new(ErrorKind::InvalidInput, operation, "given in PEM")
                    .with_source(error));
            }
        }
    }
    match certificates.is_empty() {
        true => Err(Error::invalid_input(operation, "given in PEM").cause("it holds none")),
        false => Ok(certificates),
    }
}

/// The cryptography of this library, whatever the host has made its own default.
pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// Ureq takes for granted that a key belongs to its certificate.
fn check_client(client: &ClientCert) -> Result<(), rustls::Error> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let key = PrivateKeyDer::try_from(client.private_key().der())
        .map_err(|error| rustls::Error::General(error.to_owned()))?;
    let chain =
        client.certs().iter().map(|c| CertificateDer::from(c.der().to_vec())).collect::<Vec<_>>();
    rustls::sign::CertifiedKey::from_der(chain, key.clone_key(), &provider()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in
            [&b""[..], b"garbage", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
        {
            let error = Access::new().certificate_authority(pem).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = Access::new().client_certificate(pem, pem).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_wrong_name_is_told_when_something_is_asked() {
        for (registry, mirror, wrong) in [
            ("localhost:5000", "mirror/pre/fix", None),
            ("[::1]:5000", "mirror:1", None),
            ("http://localhost:5000", "mirror", Some("http://localhost:5000")),
            ("localhost:5000/", "mirror", Some("localhost:5000/")),
            ("localhost:", "mirror", Some("localhost:")),
            ("me@localhost", "mirror", Some("me@localhost")),
            ("", "mirror", Some("")),
            ("docker.io", "https://mirror", Some("https://mirror")),
            ("docker.io", "mirror/", Some("mirror/")),
        ] {
            let registries = Registries::new().access(registry, Access::new().mirror(mirror));
            assert_eq!(registries.shared.settings.wrong.as_deref(), wrong);
            // The first one is told.
            let registries = registries.access("also wrong", Access::new());
            let first = format!("{:?} is no registry's name", wrong.unwrap_or("also wrong"));
            let error = registries.tags("registry.invalid/x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&first), "{error}");
        }
    }

    #[test]
    fn settings_go_to_any_thread() {
        fn assert<T: Send + Sync + Clone>() {}
        assert::<Registries>();
        assert::<Access>();
    }
}
