//! What the fuzz targets reach of the registry client: every parser of what a registry, its token
//! server or a file of credentials says. It exists with `--cfg fuzzing` only.

use super::client::{Action, Client};
use super::settings::Registries;
use super::url::{Url, next_link};
use super::{challenge, credentials, download, failure, retry, token};
use crate::image::manifest::Index;

/// One answer; its first byte says which part of one it is.
pub fn answer(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => document(bytes),
        1 => drop(token::token(bytes)),
        2 => drop(failure::message(bytes)),
        3 => each_text(bytes, |text| assert!(challenge::parse(text).len() <= text.len())),
        4 => each_text(bytes, location),
        5 => {
            each_text(bytes, |text| assert!(next_link(text).is_none_or(|to| to.len() < text.len())))
        }
        6 => each_text(bytes, |text| _ = download::range_start(text)),
        _ => each_text(bytes, |text| _ = retry::after(text)),
    }
}

/// A file of credentials: the first line asks for a registry and a repository, the rest is it.
pub fn credentials(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let name = String::from_utf8_lossy(&bytes[..end]);
    let (registry, repository) = name.split_once('/').unwrap_or((&name, ""));
    credentials::look_up(&bytes[end..], registry, repository);
}

fn each_text(bytes: &[u8], parse: impl Fn(&str)) {
    // Headers that are not UTF-8 are not read.
    if let Ok(text) = str::from_utf8(bytes) {
        parse(text);
    }
}

/// A body: a list of tags, a list of referrers, a manifest whose media type is in question. The
/// header is what stands before the first NUL.
fn document(bytes: &[u8]) {
    let client = Client::new(&Registries::new(), "localhost", "a", Action::Pull);
    let end = bytes.iter().position(|byte| *byte == 0);
    let (header, body) = bytes.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\0").unwrap_or(body);
    let _ = client.media_type(&String::from_utf8_lossy(header), body);
    let _ = client.page_of_tags(body);
    let _ = client.parse::<Index>(body);
}

/// An address and what it leads to read as themselves again.
fn location(text: &str) {
    let Ok(base) = Url::parse("https://host:1/v2/a/?b", None) else { return };
    if let Ok(url) = Url::parse(text, Some(&base)) {
        let again = Url::parse(&url.to_string(), None);
        assert_eq!(again.ok(), Some(url.clone()));
        assert!(!url.authority().contains('@') && !url.to_string().contains(['\r', '\n', ' ']));
        assert!(url.same_origin(&url));
    }
}
