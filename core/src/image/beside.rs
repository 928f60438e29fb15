//! A file outside the store that is there when it is complete, and not before.
//!
//! It is written without a name where the file system can (O_TMPFILE): then not even SIGKILL
//! leaves anything, but in the instant in which it takes another's place. Elsewhere it is written
//! beside its place, as `.skep-<random>`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

/// Nobody else's: images contain secrets.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// See the module. Dropped before it is [published](Beside::publish), it is gone.
#[derive(Debug)]
pub(super) struct Beside {
    /// What it is made for, in errors.
    operation: &'static str,
    subject: String,
    /// The directory of its place, and its name there.
    directory: OwnedFd,
    name: std::ffi::OsString,
    file: File,
    /// Its name until it is complete, if it has one.
    beside: Option<String>,
}

impl Beside {
    /// A file to be written for `place`, where there is none or one that it will replace.
    pub(super) fn create(place: &Path, operation: &'static str) -> Result<Self> {
        let subject = place.display().to_string();
        let failed = |error: io::Error| Error::os(operation, &*subject, error);
        let refuse = |cause| {
            Err(Error::new(ErrorKind::InvalidInput, operation, &*subject)
                .cause(cause)
                .fix("give the path of a file"))
        };
        let Some(name) = place.file_name() else { return refuse("it is no file's name") };
        match std::fs::symlink_metadata(place) {
            // A device, a pipe or a link to another place, which a file would take the place of.
            Ok(metadata) if !metadata.is_file() => return refuse("it exists and is no file"),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let (file, beside) = create_in(&directory).map_err(|errno| failed(errno.into()))?;
        let name = name.to_owned();
        let beside = Beside { operation, subject, directory, name, file, beside };
        // Explicitly: the host's umask is not ours to rely on.
        let private = rustix::fs::fchmod(&beside.file, PRIVATE);
        private.map_err(|errno| beside.failed(errno.into()))?;
        Ok(beside)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The error for a failed write to it.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        Error::os(self.operation, &*self.subject, error)
    }

    /// Gives it its name, in the place of what has that now, when it is safely on the disk.
    pub(super) fn publish(mut self) -> Result<()> {
        let published = self.file.sync_all().and_then(|()| Ok(self.rename()?));
        published.map_err(|error| self.failed(error))
    }

    fn rename(&mut self) -> rustix::io::Result<()> {
        if self.beside.is_none() {
            match self.link(&self.name) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
            // linkat(2) replaces nothing.
            let beside = name_beside();
            self.link(&beside)?;
            self.beside = Some(beside);
        }
        if let Some(beside) = &self.beside {
            rustix::fs::renameat(&self.directory, beside, &self.directory, &self.name)?;
            self.beside = None;
        }
        Ok(())
    }

    fn link(&self, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
        // AT_EMPTY_PATH would want CAP_DAC_READ_SEARCH.
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, file, &self.directory, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = rustix::fs::unlinkat(&self.directory, beside, AtFlags::empty());
        }
    }
}

fn create_in(directory: &OwnedFd) -> rustix::io::Result<(File, Option<String>)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, PRIVATE) {
        // The file system has none; before Linux 3.11 nobody had.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        result => return result.map(|file| (file.into(), None)),
    }
    let beside = name_beside();
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, &beside, flags, PRIVATE)?;
    Ok((file.into(), Some(beside)))
}

fn name_beside() -> String {
    format!(".skep-{}", crate::id::random())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_there_when_it_is_complete() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let place = dir.path().join("f");
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        for content in ["new", "replaced"] {
            let before = names();
            let beside = Beside::create(&place, "save images to").unwrap();
            beside.file().write_all(content.as_bytes()).unwrap();
            assert_eq!(names(), before, "nothing is seen of it");
            beside.publish().unwrap();
            assert_eq!(std::fs::read_to_string(&place).unwrap(), content);
            assert_eq!(names(), 1);
        }
        drop(Beside::create(&place, "save images to").unwrap());
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_named_file_goes_with_its_owner() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let mut beside = Beside::create(&dir.path().join("f"), "save images to").unwrap();
        let name = name_beside();
        beside.link(&name).unwrap();
        beside.beside = Some(name);
        drop(beside);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "former").unwrap();
        // As /dev/stdout is, if a shell has that written to a file.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("f", &link).unwrap();
        for place in [dir.path(), &link, Path::new("/dev/null"), Path::new("/"), Path::new("..")] {
            let error = Beside::create(place, "save images to").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        let missing = dir.path().join("no/f");
        let error = Beside::create(&missing, "save images to").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
