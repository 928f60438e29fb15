//! What is taken from which registry.

use std::collections::BTreeMap;

use super::key::PublicKey;
use super::payload::SignedName;
use crate::image::Reference;
use crate::{Error, Result};

/// What images must be signed by, by where they come from.
///
/// A registry, or a part of one, is a prefix of names as [`Reference`] completes them:
/// `docker.io`, `docker.io/library`, `localhost:5000/team/app`. A prefix ends where a part of the
/// name does, and of those that fit, the longest counts, alone. It is the name that is asked for
/// that counts, and not the mirror that answers. A registry's port is a part of its name, so that
/// a list of what is refused has gaps: what must be safe has [`Requirement::Reject`] for a default.
///
/// ```
/// use skep::image::signature::{Policy, PublicKey, Requirement, Signed};
///
/// # let pem = include_bytes!("testdata/p256.pub");
/// let ours = PublicKey::from_pem(pem)?;
/// let policy = Policy::new(Requirement::Reject)
///     .prefix("registry.example/team", Signed::by([ours])?)?
///     .prefix("docker.io/library", Requirement::Accept)?;
/// # let _ = skep::image::registry::PullOptions::new().policy(&policy);
/// # Ok::<(), skep::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    default: Requirement,
    /// By names with the domain in lower case.
    prefixes: BTreeMap<String, Requirement>,
}

/// What an image must fulfil.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing: any image is taken.
    Accept,
    /// What cannot be fulfilled: no image is taken, and no registry asked.
    Reject,
    /// Signatures.
    Signed(Signed),
}

/// Signatures by given keys.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Each once.
    pub(super) keys: Vec<PublicKey>,
    pub(super) least: usize,
    identity: Identity,
}

/// Which name an image must have been signed under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// The repository that is pulled from. If the signature names a tag, and the image is pulled
    /// by one, it must be the same. The default: cosign signs no tag, skopeo and podman do.
    #[default]
    SignedTag,
    /// The repository and the tag that are pulled, or the repository alone if the image is pulled
    /// by its digest: `matchRepoDigestOrExact` of containers-policy.json. What was signed without
    /// a tag is taken by its digest only.
    Exact,
    /// The repository that is pulled from, with any tag: `matchRepository`. An older image of the
    /// repository can be passed off as a newer one.
    Repository,
    /// This repository, with any tag: `exactRepository`. For copies of what was signed elsewhere.
    Named(Reference),
}

impl Default for Policy {
    fn default() -> Self {
        Policy::new(Requirement::Accept)
    }
}

impl From<Signed> for Requirement {
    fn from(signed: Signed) -> Self {
        Requirement::Signed(signed)
    }
}

impl Policy {
    /// The same for whatever has no prefix of its own.
    pub fn new(default: impl Into<Requirement>) -> Self {
        Policy { default: default.into(), prefixes: BTreeMap::new() }
    }

    /// Sets what is taken from the registry, or part of one, that `prefix` names.
    ///
    /// # Errors
    /// `InvalidInput` if it begins with no registry's name, or has a tag or digest.
    pub fn prefix(mut self, prefix: &str, requirement: impl Into<Requirement>) -> Result<Self> {
        let invalid = || {
            Error::invalid_input("set the policy for", format!("{prefix:?}"))
                .cause("it is no part of a complete name")
                .fix("write HOST[:PORT][/PATH], for instance docker.io/library")
        };
        // Parsed as the beginning of a name, it must be all that is before that name's end.
        let parsed = Reference::parse(&format!("{prefix}/any")).map_err(|_| invalid())?;
        let path = parsed.path().strip_suffix("any").ok_or_else(invalid)?;
        let (first, rest) = prefix.split_once('/').unwrap_or((prefix, ""));
        // `docker.io/any` is completed to `docker.io/library/any`.
        let path = if rest.is_empty() { "" } else { path.trim_end_matches('/') };
        let named = first.contains(['.', ':', '[']) || first == "localhost";
        if !named || path != rest {
            return Err(invalid());
        }
        self.prefixes.insert(key(parsed.domain(), path), requirement.into());
        Ok(self)
    }

    /// What is said about `reference`.
    pub(in crate::image) fn rule(&self, reference: &Reference) -> Rule<'_> {
        let name = key(reference.domain(), reference.path());
        let mut prefix = &*name;
        loop {
            if let Some((prefix, requirement)) = self.prefixes.get_key_value(prefix) {
                return Rule { prefix: Some(prefix), requirement };
            }
            match prefix.rsplit_once('/') {
                Some((shorter, _)) => prefix = shorter,
                None => return Rule { prefix: None, requirement: &self.default },
            }
        }
    }
}

fn key(domain: &str, path: &str) -> String {
    let domain = domain.to_ascii_lowercase();
    if path.is_empty() { domain } else { format!("{domain}/{path}") }
}

impl Signed {
    /// By at least one of `keys`.
    ///
    /// # Errors
    /// `InvalidInput` without keys.
    pub fn by(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self> {
        Signed::by_at_least(1, keys)
    }

    /// By at least so many different ones of `keys`. The same key counts once.
    ///
    /// # Errors
    /// `InvalidInput` for none, or for more than there are.
    pub fn by_at_least(least: usize, keys: impl IntoIterator<Item = PublicKey>) -> Result<Self> {
        let mut each: Vec<PublicKey> = Vec::new();
        for key in keys {
            if !each.contains(&key) {
                each.push(key);
            }
        }
        if least == 0 || least > each.len() {
            let subject = format!("signatures by {least} of {} keys", each.len());
            return Err(Error::invalid_input("require", subject)
                .cause("it must be at least 1, and not more than there are keys"));
        }
        Ok(Signed { keys: each, least, identity: Identity::default() })
    }

    /// Sets which name the image must have been signed under.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// Whether what was signed as `signed` is what is asked for as `asked`.
    pub(super) fn takes(&self, asked: &Reference, signed: &SignedName) -> bool {
        let repository = |wanted: &Reference| {
            wanted.path() == signed.reference.path()
                && wanted.domain().eq_ignore_ascii_case(signed.reference.domain())
        };
        // With a digest, a tag beside it says nothing.
        let tag = asked.tag().filter(|_| asked.digest().is_none());
        match &self.identity {
            Identity::SignedTag => {
                let same = |tag| signed.tag().is_none_or(|signed| signed == tag);
                repository(asked) && tag.is_none_or(same)
            }
            Identity::Exact => repository(asked) && (tag.is_none() || tag == signed.tag()),
            Identity::Repository => repository(asked),
            Identity::Named(name) => repository(name),
        }
    }
}

/// What a policy says about one image.
#[derive(Debug)]
pub(in crate::image) struct Rule<'a> {
    /// `None` for the default.
    prefix: Option<&'a str>,
    requirement: &'a Requirement,
}

impl<'a> Rule<'a> {
    /// The signatures that it wants, if any. `subject` is the image as the caller named it.
    ///
    /// # Errors
    /// `PermissionDenied` if the image is rejected whatever it is.
    pub(in crate::image) fn signed(&self, subject: &str) -> Result<Option<&'a Signed>> {
        match self.requirement {
            Requirement::Accept => Ok(None),
            Requirement::Signed(signed) => Ok(Some(signed)),
            Requirement::Reject => Err(self.refusal(subject, "rejects all images")),
        }
    }

    /// The error for an image that it refuses: the policy for it `does` what is said.
    pub(in crate::image) fn refusal(&self, subject: &str, does: &str) -> Error {
        let whose = match self.prefix {
            Some(prefix) => format!("the policy for {prefix}"),
            None => "the policy's default".to_owned(),
        };
        Error::new(crate::ErrorKind::PermissionDenied, "accept", subject)
            .cause(format!("{whose} {does}"))
            .fix(match self.requirement {
                Requirement::Reject => "set a prefix for what is to be accepted",
                _ => "have it signed, or give the key that has signed it",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::image::Digest;
    use crate::image::signature::payload::Payload;
    use proptest::prelude::*;

    fn key(pem: &str) -> PublicKey {
        PublicKey::from_pem(pem.as_bytes()).unwrap()
    }

    fn prefix_of(policy: &Policy, name: &str) -> Option<String> {
        policy.rule(&Reference::parse(name).unwrap()).prefix.map(str::to_owned)
    }

    #[test]
    fn the_longest_prefix_counts_and_ends_where_a_part_does() {
        let prefixes = [
            "docker.io",
            "docker.io/library/debian",
            "docker.io/team",
            "Registry.example/a",
            "localhost:5000",
            "[::1]:5000/a",
        ];
        let policy = prefixes.iter().fold(Policy::default(), |policy, prefix| {
            policy.prefix(prefix, Requirement::Accept).unwrap()
        });
        for (name, expected) in [
            ("debian:12", Some("docker.io/library/debian")),
            ("debian-slim", Some("docker.io")),
            ("team/a/b", Some("docker.io/team")),
            ("teams/a", Some("docker.io")),
            ("registry.EXAMPLE/a/b/c:1", Some("registry.example/a")),
            ("registry.example/a", Some("registry.example/a")),
            ("registry.example/ab", None),
            ("registry.example:443/a", None),
            ("localhost:5000/x", Some("localhost:5000")),
            ("localhost:50001/x", None),
            ("[::1]:5000/a:1", Some("[::1]:5000/a")),
            ("quay.io/a", None),
        ] {
            assert_eq!(prefix_of(&policy, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for prefix in [
            "",
            "debian",
            "library",
            "library/debian",
            "docker.io/",
            "docker.io/A",
            "/a",
            "a b",
            "docker.io/a:1",
            "localhost:5000/a//b",
            "https://docker.io",
            "docker.io/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            let error = Policy::default().prefix(prefix, Requirement::Reject).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{prefix:?}");
        }
        let policy = Policy::default().prefix("index.docker.io", Requirement::Reject).unwrap();
        assert_eq!(prefix_of(&policy, "debian").as_deref(), Some("docker.io"));
    }

    proptest! {
        #[test]
        fn a_prefix_is_that_of_the_names_in_it(
            any: String, looks in r"[a-zA-Z.:\[\]0-9]{1,8}(/[a-z0-9._-]{1,5}){0,3}",
        ) {
            for prefix in [any, looks] {
                let Ok(policy) = Policy::default().prefix(&prefix, Requirement::Reject) else {
                    continue;
                };
                let name = format!("{prefix}/repository/name");
                prop_assert!(prefix_of(&policy, &name).is_some(), "{prefix}");
            }
        }
    }

    #[test]
    fn the_same_key_counts_once() {
        let p256 = || key(include_str!("testdata/p256.pub"));
        let ed25519 = || key(include_str!("testdata/ed25519.pub"));
        assert_eq!(Signed::by([]).unwrap_err().kind(), ErrorKind::InvalidInput);
        for least in [0, 2, 3] {
            let error = Signed::by_at_least(least, [p256(), p256()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{least}");
        }
        assert_eq!(Signed::by_at_least(2, [p256(), ed25519()]).unwrap().keys.len(), 2);
    }

    #[test]
    fn the_name_it_was_signed_under_decides() {
        use Identity::*;
        let digest = Digest::of(b"");
        let takes = |identity: &Identity, asked: &str, name: &str| {
            let payload = serde_json::json!({"critical": {
                "type": "cosign container image signature",
                "image": {"docker-manifest-digest": digest},
                "identity": {"docker-reference": name},
            }});
            let payload = Payload::parse(payload.to_string().as_bytes()).unwrap();
            let signed = Signed::by([key(include_str!("testdata/rsa.pub"))]).unwrap();
            let asked = Reference::parse(asked).unwrap();
            signed.identity(identity.clone()).takes(&asked, &payload.name)
        };
        let by_digest = format!("r.io/a:2@{digest}");
        let named = Named(Reference::parse("r.io/b").unwrap());
        for (asked, name, accepted) in [
            ("r.io/a:1", "r.io/a:1", [true, true, true, false]),
            ("r.io/a:1", "r.io/a", [true, false, true, false]),
            ("r.io/a:1", "R.io/a", [true, false, true, false]),
            ("r.io/a", "r.io/a", [true, false, true, false]),
            ("r.io/a:1", "r.io/a:2", [false, false, true, false]),
            (&*by_digest, "r.io/a:1", [true, true, true, false]),
            (&*by_digest, "r.io/a", [true, true, true, false]),
            ("r.io/a:1", "r.io/b:1", [false, false, false, true]),
            ("r.io/a:1", "s.io/a:1", [false, false, false, false]),
            ("debian:1", "index.docker.io/library/debian", [true, false, true, false]),
        ] {
            let found = [&SignedTag, &Exact, &Repository, &named];
            assert_eq!(found.map(|i| takes(i, asked, name)), accepted, "{asked} {name}");
        }
    }
}
