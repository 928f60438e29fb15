//! What a registry says without a store: whether it is one, digests, tags, referrers.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::Method;
use ureq::http::header::{ACCEPT, CONTENT_TYPE, LINK};

use super::client::{Action, Client};
use super::failure::{Failure, Outcome, short};
use super::parallel::Stop;
use super::settings::Registries;
use super::transport::Request;
use super::url::{Url, encode, next_link};
use crate::image::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Index, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST, is_crowded,
};
use crate::image::reference::check_tag;
use crate::image::{Descriptor, Digest, Reference};
use crate::{Error, ErrorKind, Result};

/// As many pages of a list as are followed.
const MAX_PAGES: u32 = 1000;

/// Source: <https://www.rfc-editor.org/rfc/rfc6838#section-4.2>
const MAX_MEDIA_TYPE: usize = 255;

/// Bytes of all pages of a list.
const MAX_LIST: u64 = 4 * MAX_DOCUMENT;

/// The header that says which digest an answer has.
const CONTENT_DIGEST: &str = "docker-content-digest";

impl Registries {
    /// Asks whether `registry`, for instance `localhost:5000`, is one and lets this program in.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, `NotFound` if it is something else, `PermissionDenied` if it
    /// wants other credentials, `TimedOut` if it is silent, `Io` if it is not reached.
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#determining-support>
    pub fn ping(&self, registry: &str) -> Result<()> {
        // Parsed as a part of a name, it must be all of that name's domain.
        let parsed = Reference::parse(&format!("{registry}/any/thing")).ok();
        let parsed = parsed.filter(|name| name.path() == "any/thing");
        let parsed = parsed.ok_or_else(|| {
            Error::invalid_input("ping", registry)
                .cause("it is no registry's name")
                .fix("write HOST.DOMAIN, HOST:PORT or localhost")
        })?;
        let client = Client::new(self, parsed.domain(), "", Action::Pull);
        let answer = client.send(&Request::get(client.root()));
        answer.map(drop).map_err(|failure| failure.error("ping", registry))
    }

    /// What `reference` names at its registry now: a manifest or an index, and its digest.
    ///
    /// # Errors
    /// As [`Images::pull`](crate::Images::pull).
    pub fn resolve(&self, reference: &str) -> Result<Descriptor> {
        let parsed = Reference::parse(reference)?;
        let client = Client::new(self, parsed.domain(), parsed.path(), Action::Pull);
        let manifest = client.manifest(&target(&parsed), parsed.digest());
        manifest.map(|(found, _)| found).map_err(|failure| failure.error("resolve", reference))
    }

    /// The tags of `repository`, for instance `localhost:5000/app`, in the registry's order.
    ///
    /// # Errors
    /// As [`ping`](Self::ping); `NotFound` if there is no such repository, `InvalidData` for a
    /// malformed answer, `Cancelled`.
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags>
    pub fn tags(&self, repository: &str) -> Result<Vec<String>> {
        let parsed = Reference::parse(repository)?;
        let client = Client::new(self, parsed.domain(), parsed.path(), Action::Pull);
        client.tags().map_err(|failure| failure.error("list the tags of", repository))
    }

    /// What refers to the image or artifact that `reference` names: signatures, attestations. Only
    /// those of `artifact_type`, if it is given.
    ///
    /// Each is a manifest's descriptor, whose kind is its
    /// [`artifact_type`](Descriptor::artifact_type); [`resolve`](Self::resolve) and a pull take its
    /// digest. Of a registry that does not know referrers, the index under the tag that stands for them.
    ///
    /// # Errors
    /// As [`tags`](Self::tags).
    ///
    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>
    pub fn referrers(
        &self,
        reference: &str,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let parsed = Reference::parse(reference)?;
        let client = Client::new(self, parsed.domain(), parsed.path(), Action::Pull);
        let find = || {
            let digest = match parsed.digest() {
                Some(digest) => *digest,
                None => client.manifest(&target(&parsed), None)?.0.digest,
            };
            client.referrers(&digest, artifact_type)
        };
        find().map_err(|failure| failure.error("list the referrers of", reference))
    }
}

/// What stands for a reference in a manifest's address. A digest goes before a tag.
pub(super) fn target(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => digest.to_string(),
        // One of both is always there.
        None => reference.tag().unwrap_or_default().to_owned(),
    }
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default, deserialize_with = "crate::image::null_is_default")]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MediaType {
    media_type: Option<String>,
}

impl Client {
    /// The manifest or index called `target`, which has `digest` if that is known.
    pub(super) fn manifest(
        &self,
        target: &str,
        digest: Option<&Digest>,
    ) -> Outcome<(Descriptor, Vec<u8>)> {
        let accept = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST].join(", ");
        let request = Request::get(self.url(&format!("manifests/{target}")))
            .header(ACCEPT.as_str(), accept)
            .self_certifying(digest.is_some());
        let response = self.send(&request)?;
        let announced = response.header(CONTENT_DIGEST).and_then(|text| Digest::parse(text).ok());
        let media_type = response.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_owned();
        let bytes = response.read(MAX_DOCUMENT)?;
        let found = Digest::of(&bytes);
        for wanted in digest.into_iter().chain(&announced) {
            if found != *wanted {
                let cause = format!("{}: the manifest {wanted} hashes to {found}", self.host());
                return Err(Failure::new(ErrorKind::DigestMismatch, cause));
            }
        }
        let media_type = self.media_type(&media_type, &bytes)?;
        Ok((Descriptor::new(&media_type, found, bytes.len() as u64), bytes))
    }

    /// The media type of a document: its own word and the header's must be the same
    /// (CVE-2021-41190).
    pub(super) fn media_type(&self, header: &str, bytes: &[u8]) -> Outcome<String> {
        let header = header.split(';').next().unwrap_or_default().trim();
        let own: MediaType = self.parse(bytes)?;
        if own.media_type.as_ref().is_some_and(|own| own.len() > MAX_MEDIA_TYPE) {
            return Err(self.malformed("a media type is longer than 255 bytes".to_owned()));
        }
        let known = header.starts_with("application/vnd.");
        match own.media_type {
            Some(own) if known && own != header => Err(self.malformed(format!(
                "the manifest says that it is a {:?}, its header that it is a {header:?}",
                short(&own)
            ))),
            Some(own) => Ok(own),
            None => Ok(header.to_owned()),
        }
    }

    fn tags(&self) -> Outcome<Vec<String>> {
        let mut tags = Vec::new();
        self.pages(self.url("tags/list"), |page| {
            tags.extend(self.page_of_tags(page)?);
            Ok(())
        })?;
        Ok(tags)
    }

    pub(super) fn page_of_tags(&self, page: &[u8]) -> Outcome<Vec<String>> {
        let page: Tags = self.parse(page)?;
        match page.tags.iter().find(|tag| check_tag(tag).is_err()) {
            Some(bad) => Err(self.malformed(format!("{:?} is no tag", short(bad)))),
            None => Ok(page.tags),
        }
    }

    pub(super) fn referrers(
        &self,
        digest: &Digest,
        kind: Option<&str>,
    ) -> Outcome<Vec<Descriptor>> {
        let mut url = self.url(&format!("referrers/{digest}"));
        if let Some(kind) = kind {
            url = url.with("artifactType", kind);
        }
        let mut found = Vec::new();
        let pages = self.pages(url, |page| {
            found.extend(self.parse::<Index>(page)?.manifests);
            Ok(())
        });
        match pages {
            Err(failure) if failure.status == Some(404) => {
                found = self.tagged_referrers(digest)?;
            }
            pages => pages?,
        }
        // A registry may leave that to its clients.
        found.retain(|d| kind.is_none_or(|kind| d.artifact_type() == Some(kind)));
        Ok(found)
    }

    /// Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>
    fn tagged_referrers(&self, digest: &Digest) -> Outcome<Vec<Descriptor>> {
        match self.manifest(&format!("sha256-{}", digest.hex()), None) {
            Ok((_, bytes)) => Ok(self.parse::<Index>(&bytes)?.manifests),
            Err(failure) if failure.status == Some(404) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// Follows a list from page to page.
    fn pages(&self, first: Url, mut each: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let (mut url, mut left) = (first, MAX_LIST);
        for _ in 0..MAX_PAGES {
            let response = self.send(&Request::get(url))?;
            let link = response.header(LINK.as_str()).and_then(next_link);
            let next = link.map(|link| Url::parse(link, Some(&response.url))).transpose()?;
            next.iter().try_for_each(|next| response.check_safe(next))?;
            let page = response.read(MAX_DOCUMENT.min(left))?;
            left -= page.len() as u64;
            each(&page)?;
            match next {
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
        Err(self.malformed(format!("the list has more than {MAX_PAGES} pages")))
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Outcome<T> {
        if is_crowded(bytes) {
            return Err(self.malformed("it has too many objects or values".to_owned()));
        }
        serde_json::from_slice(bytes).map_err(|error| self.malformed(error.to_string()))
    }

    fn malformed(&self, why: String) -> Failure {
        let cause = format!("{}: its answer is malformed: {}", self.host(), short(&why));
        Failure::new(ErrorKind::InvalidData, cause)
    }

    /// Whether the repository has a blob.
    pub(super) fn has_blob(&self, digest: &Digest, stop: &Stop) -> Outcome<bool> {
        let url = self.url(&format!("blobs/{digest}"));
        match self.send_until(&Request::new(Method::HEAD, url), stop) {
            Ok(_) => Ok(true),
            Err(failure) if failure.status == Some(404) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Puts a manifest under `target`, a tag or its digest.
    pub(super) fn put_manifest(
        &self,
        target: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Outcome<Digest> {
        let digest = Digest::of(bytes);
        let request = Request::new(Method::PUT, self.url(&format!("manifests/{}", encode(target))))
            .payload(super::transport::Payload::Bytes { media_type, bytes });
        let response = self.send(&request)?;
        match response.header(CONTENT_DIGEST).map(Digest::parse) {
            Some(Ok(stored)) if stored != digest => Err(Failure::new(
                ErrorKind::DigestMismatch,
                format!("{} stored the manifest {digest} as {stored}", self.host()),
            )),
            _ => Ok(digest),
        }
    }
}
