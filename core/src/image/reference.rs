//! References: what people type to name an image, made complete as docker does.
//!
//! `[domain[:port]/]path[:tag][@digest]`. Without a domain it is `docker.io`, without a slash in
//! its path there it is in `library`, and without tag and digest its tag is `latest`.
//!
//! Source: <https://github.com/distribution/reference/blob/main/reference.go>

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;
use crate::{Error, ErrorKind, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
/// What the same registry was called when it was the index's.
const LEGACY_DOMAIN: &str = "index.docker.io";
const DEFAULT_TAG: &str = "latest";

/// The longest path, and as much again for a domain.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// The complete name of an image, for instance `docker.io/library/debian:latest`.
///
/// Parsing what it displays gives it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and completes `text`.
    ///
    /// # Errors
    /// `InvalidInput` with the reason, `Unsupported` for a digest that is not sha256.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |cause: &'static str| {
            Error::new(ErrorKind::InvalidInput, "parse reference", format!("{text:?}"))
                .cause(cause)
                .fix("write [HOST[:PORT]/]NAME[:TAG][@DIGEST]")
        };
        if Digest::from_hex(text).is_some() {
            return Err(refuse("64 hexadecimal digits are an image's id"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(rest);
        // A colon behind the last slash begins a tag: a port would have a slash behind it.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if let Some(domain) = domain {
            check_domain(domain).map_err(refuse)?;
        }
        check_path(path).map_err(refuse)?;
        if let Some(tag) = tag {
            check_tag(tag).map_err(refuse)?;
        }
        let reference = complete(domain, path, tag, digest);
        if reference.path.len() > MAX_NAME || reference.domain.len() > MAX_NAME {
            return Err(refuse("its domain or path is longer than 255 characters"));
        }
        Ok(reference)
    }

    /// The registry's host and perhaps port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path below its domain: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `None` if there is a digest and no tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The same without its tag, if it has a digest.
    pub(crate) fn without_tag(mut self) -> Self {
        self.tag = self.tag.filter(|_| self.digest.is_none());
        self
    }

    /// The digest of the manifest or index.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

fn complete(
    domain: Option<&str>,
    path: &str,
    tag: Option<&str>,
    digest: Option<Digest>,
) -> Reference {
    let domain = match domain {
        None | Some(LEGACY_DOMAIN) => DEFAULT_DOMAIN,
        Some(domain) => domain,
    };
    let path = match path.contains('/') || domain != DEFAULT_DOMAIN {
        true => path.to_owned(),
        false => format!("library/{path}"),
    };
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Reference { domain: domain.to_owned(), path, tag, digest }
}

/// A first component is a domain if it has a dot or a colon, or is `localhost`.
fn split_domain(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':', '[']) => {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn parse_digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => error.with_kind(ErrorKind::InvalidInput),
        _ => error,
    })
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("its domain has no closing bracket")?;
            let address = host.parse::<std::net::Ipv6Addr>();
            // An IPv4 address as its end is nothing that docker takes.
            if address.is_err() || host.contains('.') {
                return Err("its domain is not an IPv6 address");
            }
            match port.strip_prefix(':') {
                None if port.is_empty() => return Ok(()),
                port => ("", port.map(Some).ok_or("its domain has something behind the bracket")?),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if port.is_some_and(|port| !digits(port) || port.parse::<u16>().is_err()) {
        return Err("its port is not a number up to 65535");
    }
    if domain.starts_with('[') || host.split('.').all(is_label) {
        Ok(())
    } else {
        Err("its domain is not a host name")
    }
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it names no repository");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("repository names are lower case");
    }
    if path.split('/').all(is_component) {
        Ok(())
    } else {
        Err("a repository name is made of a-z, 0-9 and single separators (. _ __ -) between them")
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(*first)
        && alphanumeric(*last)
        && bytes.split(|byte| alphanumeric(*byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__")
                || separator.iter().all(|byte| *byte == b'-')
        })
}

/// What is wrong with a tag.
pub(super) fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().ok_or("its tag is empty")?;
    if tag.len() > MAX_TAG {
        return Err("its tag is longer than 128 characters");
    }
    if word(first) && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-')) {
        Ok(())
    } else {
        Err("a tag is made of A-Z, a-z, 0-9, _, . and -, and does not begin with . or -")
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Reference::parse(text)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (text, expected) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:12", "docker.io/library/debian:12"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/debian", "docker.io/library/debian:latest"),
            ("index.docker.io/debian", "docker.io/library/debian:latest"),
            ("docker.io/a/b/c:1", "docker.io/a/b/c:1"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("quay.io/a/b:V1.0-x_y", "quay.io/a/b:V1.0-x_y"),
            ("EXAMPLE.com:80/a", "EXAMPLE.com:80/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("[fe80::1]/a:t", "[fe80::1]/a:t"),
            ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g:latest"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_digest_stands_beside_or_instead_of_a_tag() {
        let both = Reference::parse(&format!("a:1@sha256:{HEX}")).unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/a:1@sha256:{HEX}"));
        let alone = Reference::parse(&format!("localhost:1/a@sha256:{HEX}")).unwrap();
        assert_eq!((alone.tag(), alone.digest().unwrap().hex()), (None, HEX.to_owned()));
        assert_eq!(alone.to_string(), format!("localhost:1/a@sha256:{HEX}"));
    }

    #[test]
    fn what_docker_refuses_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it names no repository"),
            ("Debian", "repository names are lower case"),
            ("Foo/bar", "repository names are lower case"),
            ("docker.io/Foo", "repository names are lower case"),
            (HEX, "64 hexadecimal digits are an image's id"),
            ("a:", "its tag is empty"),
            ("a:-x", "a tag is made of"),
            ("a//b", "a repository name is made of"),
            ("/a", "a repository name is made of"),
            ("a/", "a repository name is made of"),
            ("a..b", "a repository name is made of"),
            ("a___b", "a repository name is made of"),
            ("-a", "a repository name is made of"),
            ("a b", "a repository name is made of"),
            ("../a", "its domain is not a host name"),
            ("a.b:x/c", "its port is not a number"),
            ("a.b:99999/c", "its port is not a number"),
            ("[::1/a", "its domain has no closing bracket"),
            ("[x]/a", "its domain is not an IPv6 address"),
            ("[::1]5000/a", "its domain has something behind the bracket"),
            ("-a.b/c", "its domain is not a host name"),
            ("a@sha256:00", "sha256 has 64"),
            ("a@b@c", "it has no algorithm"),
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let error = Reference::parse("a@sha512:00").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(Reference::parse(&"a".repeat(300)).is_err());
        assert!(Reference::parse(&format!("a:{}", "t".repeat(129))).is_err());
    }

    /// The vectors of `reference_test.go` and `normalize_test.go`, with what becomes of each.
    #[test]
    fn the_distributions_names_are_taken() {
        let long = format!("{}a:tag-puts-this-over-max", "a/".repeat(127));
        let digest = format!("sha256:{}", "f".repeat(64));
        for (text, domain, path, tag) in [
            ("test_com", "docker.io", "library/test_com", "latest"),
            ("test.com:tag", "docker.io", "library/test.com", "tag"),
            ("test.com:5000", "docker.io", "library/test.com", "5000"),
            ("test.com/repo:tag", "test.com", "repo", "tag"),
            ("test:5000/repo", "test:5000", "repo", "latest"),
            ("test:5000/repo:tag", "test:5000", "repo", "tag"),
            (&format!("test:5000/repo@{digest}"), "test:5000", "repo", ""),
            (&format!("test:5000/repo:tag@{digest}"), "test:5000", "repo", "tag"),
            (&format!("localhost:8080@{digest}"), "docker.io", "library/localhost", "8080"),
            (&format!("localhost@{digest}"), "docker.io", "library/localhost", ""),
            ("lowercase:Uppercase", "docker.io", "library/lowercase", "Uppercase"),
            (&long, "docker.io", &long[..255], "tag-puts-this-over-max"),
            ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", "latest"),
            ("b.gcr.io/test.example.com/my-app:t.x", "b.gcr.io", "test.example.com/my-app", "t.x"),
            ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com"),
            ("foo_bar.com:8080", "docker.io", "library/foo_bar.com", "8080"),
            ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080"),
            ("192.168.1.1", "docker.io", "library/192.168.1.1", "latest"),
            ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050"),
            ("[2001:db8::1]/repo", "[2001:db8::1]", "repo", "latest"),
            ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", "tag"),
            ("[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", "latest"),
            ("docker-rules/docker", "docker.io", "docker-rules/docker", "latest"),
            ("docker---rules/docker", "docker.io", "docker---rules/docker", "latest"),
            ("dock__er/docker", "docker.io", "dock__er/docker", "latest"),
            ("index.docker.io/library/debian", "docker.io", "library/debian", "latest"),
            ("docker.io/library/foo/bar", "docker.io", "library/foo/bar", "latest"),
            ("Asdf.com/foo/bar", "Asdf.com", "foo/bar", "latest"),
            ("r.io/foo/p--id.module--n.v---s--n", "r.io", "foo/p--id.module--n.v---s--n", "latest"),
            (&format!("docker.io/{HEX}"), "docker.io", &format!("library/{HEX}"), "latest"),
            (&HEX[..63], "docker.io", &format!("library/{}", &HEX[..63]), "latest"),
        ] {
            let parsed = Reference::parse(text).unwrap();
            let tag_found = parsed.tag().unwrap_or_default();
            assert_eq!((parsed.domain(), parsed.path(), tag_found), (domain, path, tag), "{text}");
            assert_eq!(parsed.digest().is_some(), text.contains('@'), "{text}");
        }
    }

    /// The same files' vectors that are refused; and, against docker, which takes `Foo` of
    /// `Foo/bar` for a host (its own comment calls that incorrect), names with an upper-case
    /// first component that is no host.
    #[test]
    fn the_distributions_bad_names_are_refused() {
        let digest = format!("sha256:{}", "f".repeat(64));
        let too_long = format!("{}a:tag", "a/".repeat(128));
        let namespace = format!("{}/docker", "this_is_too_long".repeat(17));
        for text in [
            "",
            ":justtag",
            &format!("@{digest}"),
            "repo@sha256:ffffffffffffffffffffffffffffffffff",
            &format!("validname@invaliddigest:{}", "f".repeat(64)),
            "Uppercase:tag",
            "test:5000/Uppercase/lowercase:tag",
            &too_long,
            "aa/asdf$$^/aa",
            "[2001:db8::1]",
            "[2001:db8::1]:5000",
            "[2001:db8::1]:tag",
            "[fe80::1%eth0]:5000/repo",
            "[fe80::1%@invalidzone]:5000/repo",
            "https://github.com/docker/docker",
            "docker/Docker",
            "-docker",
            "-docker/docker",
            "-docker.io/docker/docker",
            "docker///docker",
            "docker.io/docker/Docker",
            "docker.io/docker///docker",
            "[fc00::1]",
            "[fc00::1]:5000",
            "fc00::1:5000/debian",
            "[2001:db8:3:4::192.0.2.33]:5000/debian",
            HEX,
            "docker-/docker",
            "-docker-/docker",
            "____/____",
            "_docker/_docker",
            "dock..er/docker",
            "dock_.er/docker",
            "dock-.er/docker",
            "docker/",
            &namespace,
            "foo.com/",
            "foo.com:http/bar",
            "a^a",
            "a-/a/a/a",
            "foo.com/a-/a/a",
            "foo/bar-",
            "foo/-bar",
            "_foo/bar",
            "foo_bar.com:8080/app",
            "docker_/docker_",
            "example.com/__underscore/myimage",
            "example.com/..dots/myimage",
            "example.com/.dots/myimage",
            "example.com/nodouble..dots/myimage",
            "docker./docker",
            ".docker/docker",
            "do..cker/docker",
            "do__cker:8080/docker",
            "Foo/FarB",
            "registry.com:8080/myapp@sha256:badbadbadbad",
            "registry.com:8080/myapp:invalid~tag",
            "registry.com:8080/myapp@bad",
            "[fd00:1:2::3]75050/a",
            "[fd00:1:2::3]::75050/a",
            "[fd00123123123]:7505/a",
            "ab-.com/a",
            "ab.-com/a",
            "Docker/docker",
            "Foo/bar",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_taken(
            domain in r"([a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?\.[A-Za-z0-9]{1,4}(:[0-9]{1,4})?/)?",
            path in r"[a-z0-9]{1,4}(/[a-z0-9]{1,4}((\.|_|__|-{1,3}|/)[a-z0-9]{1,4}){0,5})?",
            tag in r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?",
        ) {
            let parsed = Reference::parse(&format!("{domain}{path}{tag}")).unwrap();
            prop_assert!(parsed.path().ends_with(&path));
            prop_assert_eq!(parsed.tag().unwrap(), tag.strip_prefix(':').unwrap_or("latest"));
        }

        #[test]
        fn every_part_is_what_was_written(
            domain in r"localhost(:[1-9][0-9]{0,3})?|[a-z0-9]{1,5}:[1-9][0-9]{0,3}|\[[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}\](:[1-9][0-9]{0,3})?|\[[0-9a-f]{0,4}::[0-9a-f]{1,4}\]|([A-Z0-9]{1,4}\.){1,3}[a-z]{2}",
            path in r"[a-z0-9]{1,6}((\.|_|__|-{1,3}|/)[a-z0-9]{1,6}){0,4}",
            tag in prop::option::of(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
            digest in prop::option::of("[0-9a-f]{64}"),
        ) {
            let mut text = format!("{domain}/{path}");
            text.extend(tag.iter().map(|tag| format!(":{tag}")));
            text.extend(digest.iter().map(|digest| format!("@sha256:{digest}")));
            let parsed = Reference::parse(&text).unwrap();
            prop_assert_eq!((parsed.domain(), parsed.path()), (&*domain, &*path));
            let implied = if digest.is_none() { Some("latest") } else { None };
            prop_assert_eq!(parsed.tag(), tag.as_deref().or(implied));
            prop_assert_eq!(parsed.digest().map(Digest::hex), digest);
        }

        #[test]
        fn an_upper_case_letter_in_a_path_is_the_reason(
            domain in r"(localhost:5000/|\[::1\]:5000/|a\.b/)?",
            path in "[a-z]{1,4}(/[a-z]{1,4}){0,2}",
            at: prop::sample::Index,
            letter in "[A-Z]",
        ) {
            let mut path = path;
            let at = at.index(path.len() + 1);
            path.insert_str(at, &letter);
            let error = Reference::parse(&format!("{domain}{path}:Tag")).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::InvalidInput);
            prop_assert!(error.to_string().contains("repository names are lower case"), "{}", error);
        }

        #[test]
        fn any_text_does_not_panic(text: String) {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn what_is_displayed_is_parsed_again(
            text in r"([a-zA-Z.\[\]:0-9]{1,8}/)?[a-z0-9._/-]{1,12}(:[\w.-]{1,5})?"
        ) {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }
}
