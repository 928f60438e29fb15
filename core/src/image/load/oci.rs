//! OCI image layouts, as directories and as archives of one.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::{Candidate, Source, check_names, document, missing, read_staged};
use crate::image::config::ImageConfig;
use crate::image::layout::{StagedBlob, Staging, check_blob};
use crate::image::manifest::{Descriptor, Index, REF_NAME, is_index, is_manifest, resolve};
use crate::image::platform::{Platform, choose};
use crate::image::store::reference_of;
use crate::sys::path::open_beneath;
use crate::{Error, ErrorKind, Result};

/// The images of a layout.
pub(super) fn candidates(source: &mut impl Source, _: &Staging<'_>) -> Result<Vec<Candidate>> {
    let index = Index::parse(&document(source, "index.json")?, "index.json")?;
    let mut candidates: Vec<Candidate> = Vec::new();
    let chosen = chosen(&index);
    check_names(chosen.len(), source.subject())?;
    for top in chosen {
        let candidate = candidate(source, top)?;
        let same = candidates.iter_mut().find(|c| c.manifest.digest == candidate.manifest.digest);
        match same {
            Some(same) => same.references.extend(candidate.references),
            None => candidates.push(candidate),
        }
    }
    Ok(candidates)
}

/// One descriptor a name: several of the same name are for several platforms. Those without a
/// name are an image each, unless they are for another platform. What is no image is left out.
fn chosen(index: &Index) -> Vec<&Descriptor> {
    let images = index.manifests.iter().filter(|d| is_index(d) || is_manifest(d));
    let mut names: BTreeMap<String, Vec<&Descriptor>> = BTreeMap::new();
    let mut chosen = Vec::new();
    for descriptor in images {
        let name = reference_of(descriptor).map(|reference| reference.to_string());
        match name.or_else(|| descriptor.annotations.get(REF_NAME).cloned()) {
            Some(name) => names.entry(name).or_default().push(descriptor),
            None if descriptor.platform.as_ref().is_none_or(Platform::is_host) => {
                chosen.push(descriptor);
            }
            None => {}
        }
    }
    let host = Platform::host();
    let named = names.values().filter_map(|group| choose(&host, group.iter().copied()));
    named.chain(chosen).collect()
}

fn candidate(source: &mut impl Source, top: &Descriptor) -> Result<Candidate> {
    let mut blobs = Vec::new();
    let (descriptor, _, manifest) = resolve(top, &Platform::host(), |descriptor| {
        let staged = blob(source, descriptor)?;
        let bytes = read_staged(&staged, &descriptor.digest.to_string())?;
        // Indexes on the way are not kept: the image is one platform's.
        blobs.clear();
        blobs.push(staged);
        Ok(bytes)
    })?;
    let staged = blob(source, &manifest.config)?;
    let subject = manifest.config.digest.to_string();
    ImageConfig::parse(&read_staged(&staged, &subject)?, &manifest, &subject)?;
    blobs.push(staged);
    for layer in &manifest.layers {
        blobs.push(blob(source, layer)?);
    }
    // A foreign archive must not say which image a digest means.
    let name = reference_of(top).filter(|name| {
        name.digest().is_none_or(|digest| [top.digest, descriptor.digest].contains(digest))
    });
    Ok(Candidate {
        manifest: Descriptor { platform: None, annotations: BTreeMap::new(), ..descriptor },
        config: manifest.config,
        blobs,
        references: name.into_iter().collect(),
    })
}

/// Stages a blob and checks it against its descriptor.
fn blob(source: &mut impl Source, descriptor: &Descriptor) -> Result<StagedBlob> {
    let name = format!("blobs/sha256/{}", descriptor.digest.hex());
    let staged = source.member(&name)?.ok_or_else(|| missing(source.subject(), &name))?;
    check_blob(descriptor, staged.digest, staged.size)?;
    Ok(staged)
}

/// A layout in a directory.
pub(super) struct Directory<'a> {
    subject: String,
    dir: File,
    staging: &'a Staging<'a>,
    staged: HashMap<String, StagedBlob>,
}

impl<'a> Directory<'a> {
    pub(super) fn open(path: &Path, staging: &'a Staging<'a>) -> Result<Self> {
        let subject = path.display().to_string();
        let dir = File::open(path).map_err(|e| Error::os("load image from", &*subject, e))?;
        Ok(Directory { subject, dir, staging, staged: HashMap::new() })
    }
}

impl Source for Directory<'_> {
    fn member(&mut self, name: &str) -> Result<Option<StagedBlob>> {
        if let Some(staged) = self.staged.get(name) {
            return Ok(Some(staged.clone()));
        }
        let invalid = |cause: &str| {
            Error::new(ErrorKind::InvalidData, "load image from", &*self.subject)
                .cause(format!("{name} {cause}"))
        };
        let failed = |errno| Error::os("open", format!("{}/{name}", self.subject), errno);
        // NONBLOCK: a fifo must not make it wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match open_beneath(self.dir.as_fd(), name, flags) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::XDEV | Errno::LOOP) => return Err(invalid("is or is behind a symlink")),
            // A socket.
            Err(Errno::NXIO) => return Err(invalid("is no file")),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(invalid("is no file"));
        }
        let file = File::from(file);
        let staged = self.staging.blob(file, name)?;
        self.staged.insert(name.to_owned(), staged.clone());
        Ok(Some(staged))
    }

    fn subject(&self) -> &str {
        &self.subject
    }
}
