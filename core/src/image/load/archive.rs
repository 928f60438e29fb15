//! The members of an image archive, staged in one pass.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::Source;
use crate::cancel::Cancel;
use crate::image::budget::Budget;
use crate::image::compression::Decoder;
use crate::image::layout::{StagedBlob, Staging};
use crate::image::tar::{Archive, Kind, read_error};
use crate::{Error, ErrorKind, Result};

/// Far more than the layers of all images anyone saves at once.
const MAX_MEMBERS: usize = 65_536;

/// As many links as an archive may chain.
const MAX_LINKS: usize = 8;

enum Member {
    File(StagedBlob),
    /// The clean name of another member.
    Link(String),
}

/// See the module.
pub(super) struct Members {
    subject: String,
    members: HashMap<String, Member>,
}

impl Members {
    /// Stages the archive at `path`, which may be compressed.
    pub(super) fn read(
        path: &Path,
        staging: &Staging<'_>,
        budget: &Budget,
        cancel: &Cancel,
    ) -> Result<Self> {
        let subject = path.display().to_string();
        let mut file = cancel.open(path).map_err(|e| Error::os("load image from", &*subject, e))?;
        // A pipe gives what it has, which may be less than tells the compression.
        let mut start = Vec::new();
        let read = file.by_ref().take(8).read_to_end(&mut start);
        read.map_err(|e| read_error(e, &subject))?;
        let decoder = Decoder::new(io::Cursor::new(start).chain(file))
            .map_err(|e| read_error(e, &subject))?;
        let watched = cancel.watch(decoder.within(budget));
        let mut archive = Archive::new(BufReader::with_capacity(128 << 10, watched), &*subject);
        let mut members = HashMap::new();
        while let Some(entry) = archive.next()? {
            let Some(name) = clean("", &entry.name) else {
                continue;
            };
            let member = match entry.kind {
                Kind::File if entry.segments.is_none() => {
                    let data = Data { archive: &mut archive, left: entry.size };
                    Some(Member::File(staging.blob(data, &subject)?))
                }
                Kind::Hardlink => clean("", &entry.target).map(Member::Link),
                Kind::Symlink => clean(parent(&name), &entry.target).map(Member::Link),
                _ => None,
            };
            members.extend(member.map(|member| (name, member)));
            if members.len() > MAX_MEMBERS {
                return Err(Error::new(ErrorKind::InvalidData, "load image from", subject)
                    .cause("it has more than 65536 members"));
            }
        }
        let (mut decoder, marked) = archive.finish()?;
        io::copy(&mut decoder, &mut io::sink()).map_err(|e| read_error(e, &subject))?;
        if !marked {
            return Err(Error::new(ErrorKind::InvalidData, "load image from", subject)
                .cause("it is truncated"));
        }
        Ok(Members { subject, members })
    }
}

impl Source for Members {
    fn member(&mut self, name: &str) -> Result<Option<StagedBlob>> {
        let mut name = clean("", name.as_bytes()).unwrap_or_default();
        for _ in 0..MAX_LINKS {
            match self.members.get(&name) {
                Some(Member::File(staged)) => return Ok(Some(staged.clone())),
                Some(Member::Link(target)) => name.clone_from(target),
                None => return Ok(None),
            }
        }
        Err(Error::new(ErrorKind::InvalidData, "load image from", &*self.subject)
            .cause("its links form a loop"))
    }

    fn subject(&self) -> &str {
        &self.subject
    }
}

/// The data of one entry.
struct Data<'a, R> {
    archive: &'a mut Archive<R>,
    left: u64,
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let mut filled = 0;
        let copied = self.archive.copy(n as u64, |piece| {
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
            Ok(())
        });
        copied.map_err(io::Error::other::<Error>)?;
        self.left -= n as u64;
        Ok(n)
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// `name` relative to `base`, by its text; `None` if it climbs out of the archive, is its root, or
/// is not UTF-8: an image has no such member.
fn clean(base: &str, name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok()?;
    let base = if name.starts_with('/') { "" } else { base };
    let mut components = Vec::new();
    for component in base.split('/').chain(name.split('/')) {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()?),
            component => components.push(component),
        }
    }
    (!components.is_empty()).then(|| components.join("/"))
}
