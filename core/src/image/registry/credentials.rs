//! Credentials: given in code, or found in the files that docker and podman keep them in.
//!
//! Source: <https://github.com/docker/cli/blob/master/docs/reference/commandline/cli.md#docker-cli-configuration-file-configjson-properties>,
//! <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::failure::{Failure, Outcome};
use crate::ErrorKind;
use crate::image::layout::read_bounded;
use crate::image::manifest::parse_document;

/// What a registry is shown to let one in. Never displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Kind);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Password {
        user: String,
        password: String,
    },
    /// For the token server, by OAuth 2.
    Identity(String),
    /// For the registry itself.
    Token(String),
}

impl Credentials {
    /// A user's name and password, or an access token in its place.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Credentials(Kind::Password { user: user.into(), password: password.into() })
    }

    /// A refresh token, docker's `identitytoken`, with which the registry's token server is asked.
    pub fn identity_token(token: impl Into<String>) -> Self {
        Credentials(Kind::Identity(token.into()))
    }

    /// A bearer token that the registry itself takes, docker's `registrytoken`.
    pub fn registry_token(token: impl Into<String>) -> Self {
        Credentials(Kind::Token(token.into()))
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The value of `Authorization` for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The files that may hold credentials, in the order in which they are asked; `variable` gives the
/// environment's, `uid` is the user's number.
pub(super) fn files(variable: impl Fn(&str) -> Option<OsString>, uid: u32) -> Vec<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = set("HOME");
    let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let runtime = set("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    let runtime = runtime.unwrap_or_else(|| format!("/run/containers/{uid}/auth.json").into());
    let config = set("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
    let docker = set("DOCKER_CONFIG").or_else(|| in_home(".docker"));
    let mut files = vec![set("REGISTRY_AUTH_FILE").unwrap_or(runtime)];
    files.extend(config.map(|dir| dir.join("containers/auth.json")));
    files.extend(docker.map(|dir| dir.join("config.json")));
    files
}

/// Where a file's word for a registry leads.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Credentials(Credentials),
    /// A helper has them, under this key.
    Helper {
        name: String,
        server: String,
    },
}

/// The first credentials that `files` have for `repository` of `registry`; a file that does not
/// exist has none. `ask` asks the helper of a name for what it has under a key.
///
/// # Errors
/// `InvalidData` if a file is malformed, what its reading says, what `ask` says.
pub(super) fn find(
    files: &[PathBuf],
    registry: &str,
    repository: &str,
    ask: impl Fn(&str, &str) -> Outcome<Option<Credentials>>,
) -> Outcome<Option<Credentials>> {
    for path in files {
        let Some(config) = read(path)? else { continue };
        let bad =
            |cause| Failure::new(ErrorKind::InvalidData, format!("{}: {cause}", path.display()));
        let found = match config.find(registry, repository).map_err(bad)? {
            Some(Word::Helper { name, server }) => ask(&name, &server)?,
            Some(Word::Credentials(credentials)) => Some(credentials),
            None => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Outcome<Option<Config>> {
    let subject = path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(crate::Error::os("open", subject, error).into()),
    };
    let parsed = parse_document(&read_bounded(file, &subject)?, &subject);
    Ok(Some(parsed.map_err(|error| without_words(error, subject))?))
}

/// The same error, without the words of the file that it may repeat: one may be a secret.
fn without_words(error: crate::Error, subject: String) -> crate::Error {
    use std::error::Error as _;
    match error.source().and_then(|source| source.downcast_ref::<serde_json::Error>()) {
        None => error,
        Some(json) => crate::Error::new(error.kind(), "read", subject).cause(format!(
            "it is malformed at line {}, column {}",
            json.line(),
            json.column()
        )),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default, deserialize_with = "crate::image::null_is_default")]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default, deserialize_with = "crate::image::null_is_default")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    /// `user:password` in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Config {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Word>, &'static str> {
        let helper = |name: &str, server: &str| {
            Some(Word::Helper { name: name.to_owned(), server: server.to_owned() })
        };
        let own = self.cred_helpers.iter().find(|(key, _)| is_registry(key, registry));
        if let Some((key, name)) = own {
            return Ok(helper(name, key));
        }
        let auth = names(registry, repository).find_map(|name| {
            self.auths.iter().find(|(key, _)| is_name(key, &name)).map(|(_, auth)| auth)
        });
        if let Some(credentials) = auth.map(Auth::credentials).transpose()?.flatten() {
            return Ok(Some(Word::Credentials(credentials)));
        }
        // docker leaves an empty entry for what its store has, or none.
        let server = if registry == "docker.io" { DOCKER_SERVER } else { registry };
        Ok(self.creds_store.as_ref().and_then(|store| helper(store, server)))
    }
}

/// Looks a registry up in a file's bytes.
#[cfg(fuzzing)]
pub(super) fn look_up(file: &[u8], registry: &str, repository: &str) {
    if let Ok(config) = parse_document::<Config>(file, "the file") {
        let _ = config.find(registry, repository);
    }
}

/// What docker keeps docker.io's credentials under.
const DOCKER_SERVER: &str = "https://index.docker.io/v1/";

impl Auth {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let set = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Credentials::registry_token(token)));
        }
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Some(Credentials::identity_token(token)));
        }
        if let Some(auth) = set(&self.auth) {
            const BAD: &str = "an auth is not user:password in base64";
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| BAD)?;
            let text = String::from_utf8(bytes).map_err(|_| BAD)?;
            // docker pads passwords with zero bytes.
            let (user, password) = text.trim_end_matches('\0').split_once(':').ok_or(BAD)?;
            return Ok(Some(Credentials::password(user, password)));
        }
        match (set(&self.username), set(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Credentials::password(user, password))),
            _ => Ok(None),
        }
    }
}

/// What a registry and its repository may be called in `auths`, the longest first.
fn names(registry: &str, repository: &str) -> impl Iterator<Item = String> {
    let mut name = format!("{registry}/{repository}");
    let lengths = std::iter::successors(Some(name.len()), {
        let name = name.clone();
        move |length| name[..*length].rfind('/')
    });
    let lengths: Vec<usize> = lengths.collect();
    lengths.into_iter().map(move |length| {
        name.truncate(length);
        name.clone()
    })
}

/// Whether `key` of a file names `name`, a registry with perhaps a part of a repository.
fn is_name(key: &str, name: &str) -> bool {
    match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        // An address: `https://index.docker.io/v1/`.
        Some(address) => is_registry(address.split('/').next().unwrap_or_default(), name),
        None => key == name || is_registry(key, name),
    }
}

fn is_registry(key: &str, name: &str) -> bool {
    let docker =
        |name: &str| matches!(name, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    key == name || (docker(key) && docker(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find_in(json: &str, registry: &str, repository: &str) -> Result<Option<Word>, &'static str> {
        serde_json::from_str::<Config>(json).unwrap().find(registry, repository)
    }

    #[test]
    fn files_are_where_docker_and_podman_have_them() {
        let files = |variables: &[(&str, &str)]| -> Vec<String> {
            let variable =
                |name: &str| variables.iter().find(|(k, _)| *k == name).map(|(_, v)| v.into());
            files(variable, 7).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(files(&[]), ["/run/containers/7/auth.json"]);
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r"), ("DOCKER_CONFIG", "")]),
            [
                "/r/containers/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json"
            ]
        );
        assert_eq!(
            files(&[
                ("REGISTRY_AUTH_FILE", "/a"),
                ("DOCKER_CONFIG", "/d"),
                ("XDG_CONFIG_HOME", "/c")
            ]),
            ["/a", "/c/containers/auth.json", "/d/config.json"]
        );
    }

    #[test]
    fn the_longest_name_has_the_credentials() {
        // The words are users and passwords: r:r, n:n, p:p, d:d, u:p.
        let json = r#"{"auths": {
            "reg:5000": {"auth": "cjpy"},
            "reg:5000/name": {"auth": "bjpu"},
            "reg:5000/name/path": {"auth": "cDpw"},
            "https://index.docker.io/v1/": {"auth": "ZDpk"},
            "identity": {"auth": "cjpy", "identitytoken": "it"},
            "token": {"registrytoken": "rt"},
            "plain": {"username": "u", "password": "p"},
            "padded": {"auth": "dTpwAAA="},
            "empty": {}
        }}"#;
        let same = |name: &str| Some(Credentials::password(name, name));
        for (registry, repository, expected) in [
            ("reg:5000", "other", same("r")),
            ("reg:5000", "nam", same("r")),
            ("reg:5000", "name", same("n")),
            ("reg:5000", "name/x", same("n")),
            ("reg:5000", "name/path/deep", same("p")),
            ("docker.io", "library/debian", same("d")),
            ("reg", "x", None),
            ("identity", "x", Some(Credentials::identity_token("it"))),
            ("token", "x", Some(Credentials::registry_token("rt"))),
            ("plain", "x", Some(Credentials::password("u", "p"))),
            ("padded", "x", Some(Credentials::password("u", "p"))),
            ("empty", "x", None),
        ] {
            let expected = expected.map(Word::Credentials);
            assert_eq!(
                find_in(json, registry, repository),
                Ok(expected),
                "{registry}/{repository}"
            );
        }
    }

    #[test]
    fn helpers_are_asked_under_dockers_keys() {
        let json = r#"{"credsStore": "store", "credHelpers": {"reg:1": "own"}, "auths": {
            "reg:2": {"auth": "cjpy"}, "reg:3": {}
        }}"#;
        let helper =
            |name: &str, server: &str| Word::Helper { name: name.into(), server: server.into() };
        for (registry, expected) in [
            ("reg:1", helper("own", "reg:1")),
            ("reg:2", Word::Credentials(Credentials::password("r", "r"))),
            ("reg:3", helper("store", "reg:3")),
            ("docker.io", helper("store", DOCKER_SERVER)),
        ] {
            assert_eq!(find_in(json, registry, "x"), Ok(Some(expected)), "{registry}");
        }
    }

    #[test]
    fn what_is_malformed_is_said() {
        for auth in ["!", "YWI=", "/w=="] {
            let json = format!(r#"{{"auths": {{"a": {{"auth": "{auth}"}}}}}}"#);
            assert!(find_in(&json, "a", "x").is_err(), "{auth}");
        }
        let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert_eq!(find(std::slice::from_ref(&path), "a", "b", |_, _| Ok(None)).unwrap(), None);
        std::fs::write(&path, "{").unwrap();
        let error = find(std::slice::from_ref(&path), "a", "b", |_, _| Ok(None))
            .unwrap_err()
            .error("pull", "a/b");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("config.json"), "{error}");
    }

    #[test]
    fn what_a_malformed_file_holds_is_not_repeated() {
        let directory = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let path = directory.path().join("config.json");
        for json in [
            r#"{"auths": {"a": {"username": "u", "password": 12345678}}}"#,
            r#"{"auths": {"a": "12345678"}}"#,
            r#"{"auths": {"a": {"auth": ["12345678"]}}, "credsStore": {}}"#,
        ] {
            std::fs::write(&path, json).unwrap();
            let found = find(std::slice::from_ref(&path), "a", "b", |_, _| Ok(None));
            let error = found.unwrap_err().error("pull", "a/b");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains("config.json"), "{error}");
            assert!(!format!("{error} {error:?}").contains("12345678"), "{error:?}");
        }
    }

    #[test]
    fn credentials_are_not_displayed() {
        let credentials = Credentials::password("user", "secret");
        assert_eq!(format!("{credentials:?}"), "Credentials(..)");
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    proptest! {
        #[test]
        fn any_config_does_not_panic(key: String, auth: String, registry: String, path: String) {
            let json = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let _ = find_in(&json, &registry, &path);
        }
    }
}
