//! Addresses: parts of them, and where a relative one leads.

use std::fmt;

use super::failure::{Failure, Outcome, short};
use crate::ErrorKind;

/// An absolute http or https address without a user name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    secure: bool,
    /// Host and perhaps port.
    authority: String,
    /// Path and query; begins with a slash.
    target: String,
}

impl Url {
    pub(super) fn new(secure: bool, authority: &str, target: String) -> Self {
        Url { secure, authority: authority.to_ascii_lowercase(), target }
    }

    /// Parses an address that a registry gave; `base` is what it is relative to.
    ///
    /// # Errors
    /// `InvalidData` for another scheme, for a user name, or for what no address holds.
    pub(super) fn parse(text: &str, base: Option<&Url>) -> Outcome<Self> {
        let invalid = || {
            let address = short(text);
            Failure::new(ErrorKind::InvalidData, format!("it leads to the bad address {address:?}"))
        };
        let text = text.split('#').next().unwrap_or_default();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(invalid());
        }
        if let Some((scheme, rest)) = text.split_once("://")
            && !scheme.contains(['/', '?'])
        {
            let secure = match scheme.to_ascii_lowercase().as_str() {
                "http" => false,
                "https" => true,
                _ => return Err(invalid()),
            };
            return Url::behind_scheme(secure, rest).ok_or_else(invalid);
        }
        let base = base.ok_or_else(invalid)?;
        if let Some(rest) = text.strip_prefix("//") {
            return Url::behind_scheme(base.secure, rest).ok_or_else(invalid);
        }
        let target = match text.as_bytes()[0] {
            b'/' => text.to_owned(),
            b'?' => format!("{}{text}", base.path()),
            _ => {
                // `path` begins with a slash.
                let directory = base.path().rfind('/').map_or("/", |at| &base.path()[..=at]);
                format!("{directory}{text}")
            }
        };
        Ok(Url { target, ..base.clone() })
    }

    fn behind_scheme(secure: bool, rest: &str) -> Option<Self> {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.into() } else { format!("/{target}") };
        let parsed: ureq::http::uri::Authority = authority.parse().ok()?;
        let valid = !parsed.host().is_empty() && !authority.contains('@');
        valid.then(|| Url::new(secure, authority, target))
    }

    pub(super) fn secure(&self) -> bool {
        self.secure
    }

    /// Host and perhaps port, in lower case.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether both are the same scheme, host and port: what credentials are for.
    pub(super) fn same_origin(&self, other: &Url) -> bool {
        self.secure == other.secure && self.host_and_port() == other.host_and_port()
    }

    /// The host alone; an IPv6 address in its brackets.
    pub(super) fn host(&self) -> &str {
        self.host_and_port().0
    }

    fn host_and_port(&self) -> (&str, &str) {
        let default = if self.secure { "443" } else { "80" };
        match self.authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (&self.authority, default),
        }
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// With one more parameter in its query.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(&format!("{key}={}", encode(value)));
        self
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

/// Percent-encodes all but what RFC 3986 leaves alone, and `/` and `:`, which queries may hold.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => encoded.push(byte.into()),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The address of a `Link` header's `rel="next"`.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc8288#section-3>
pub(super) fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = |p: &str| {
            let p: String = p.chars().filter(|c| !matches!(c, ' ' | '"')).collect();
            p.eq_ignore_ascii_case("rel=next")
        };
        parameters.split(';').any(next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn locations_are_joined() {
        let base = Url::parse("http://Host:5000/v2/a/blobs/uploads/?x=1", None).unwrap();
        for (location, expected) in [
            ("https://other/b?c=d", "https://other/b?c=d"),
            ("HTTP://other", "http://other/"),
            ("http://other?q=http://x", "http://other/?q=http://x"),
            ("//other:1/b", "http://other:1/b"),
            ("/v2/b#f", "http://host:5000/v2/b"),
            ("?y=2", "http://host:5000/v2/a/blobs/uploads/?y=2"),
            ("id", "http://host:5000/v2/a/blobs/uploads/id"),
            ("http://[::1]:5000/", "http://[::1]:5000/"),
        ] {
            let joined = Url::parse(location, Some(&base)).unwrap();
            assert_eq!(joined.to_string(), expected, "{location}");
        }
        for location in [
            "",
            "#",
            "ftp://a/",
            "http://u:p@a/",
            "http:///a",
            "http://a b/",
            "/\n",
            "http://a:x:y/",
        ] {
            let failure = Url::parse(location, Some(&base)).unwrap_err();
            assert_eq!(failure.kind, ErrorKind::InvalidData, "{location:?}");
        }
        assert!(Url::parse("/relative", None).is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a, b| Url::parse(a, None).unwrap().same_origin(&Url::parse(b, None).unwrap());
        assert!(same("https://a/x", "https://A:443/y"));
        assert!(same("http://a/x", "http://a:80/"));
        assert!(same("http://[::1]/x", "http://[::1]:80/"));
        assert!(!same("https://a/", "http://a/"));
        assert!(!same("https://a/", "https://a:5000/"));
        assert!(!same("https://a/", "https://b.a/"));
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next_link(r#"</v2/a/tags/list?last=x&n=1>; rel="next""#),
            Some("/v2/a/tags/list?last=x&n=1")
        );
        assert_eq!(next_link(r#"<a>; rel="prev", <b>;rel=next"#), Some("b"));
        assert_eq!(next_link("<a>"), None);
        assert_eq!(next_link(""), None);
    }

    proptest! {
        #[test]
        fn any_location_does_not_panic(text: String, looks in r"(https?://|//)?[a-z\[\]:@/?#.]{0,20}") {
            let base = Url::new(true, "host", "/v2/".into());
            let _ = Url::parse(&text, Some(&base));
            if let Ok(url) = Url::parse(&looks, Some(&base)) {
                prop_assert_eq!(Url::parse(&url.to_string(), None).unwrap(), url);
            }
            let _ = next_link(&text);
        }
    }
}
