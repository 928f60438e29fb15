//! The keeper's program as a file that can be executed and not overwritten.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result};

static PROGRAM: &[u8] = include_bytes!(env!("SKEP_KEEPER_BLOB"));

/// Where the keeper runs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A sealed memory file: nothing on disk, nothing to overwrite (CVE-2019-5736).
    Memory,
    /// A read-only file in the store, where memory files may not be executed.
    Store,
}

/// Opens the program for execution: from memory, or, where `vm.memfd_noexec` or a policy forbids
/// that, from a file in `store`.
///
/// # Errors
/// `Unsupported` in a build without a keeper; what the file system says otherwise.
pub(crate) fn open(store: &Path) -> Result<(OwnedFd, Origin)> {
    if PROGRAM.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, "start", "the keeper")
            .cause("this build of skep has none (documentation or miri)"));
    }
    match in_memory() {
        Ok(file) => Ok((file, Origin::Memory)),
        Err(Errno::ACCESS | Errno::PERM | Errno::NOSYS) => Ok((in_store(store)?, Origin::Store)),
        Err(errno) => Err(Error::os("create", "a memory file for the keeper", errno)),
    }
}

/// The program as a file in `store`, for a memory file that turned out not to be executable.
pub(crate) fn in_store(store: &Path) -> Result<OwnedFd> {
    let path = store.join(format!("keeper-{}", env!("CARGO_PKG_VERSION")));
    let failed =
        |error: io::Error| Error::os("prepare the keeper in", path.display().to_string(), error);
    if let Ok(file) = intact(&path) {
        return Ok(file.into());
    }
    // Beside and renamed: another process may be executing the one that is there.
    let beside = store.join(format!("keeper-{}.tmp", crate::id::random()));
    let written = write(&beside).and_then(|()| std::fs::rename(&beside, &path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&beside);
        return Err(failed(error));
    }
    Ok(intact(&path).map_err(failed)?.into())
}

fn in_memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag and need none.
    let file = match rustix::fs::memfd_create(c"skep-keeper", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"skep-keeper", flags),
        result => result,
    }?;
    let mut left = PROGRAM;
    while !left.is_empty() {
        let written = rustix::io::write(&file, left)?;
        left = &left[written..];
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file)
}

/// The file at `path` if it is the program and nobody but its owner could have changed it.
fn intact(path: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut bytes = Vec::new();
    (&mut file).take(PROGRAM.len() as u64 + 1).read_to_end(&mut bytes)?;
    let ours = rustix::process::geteuid().as_raw();
    use std::os::unix::fs::MetadataExt;
    if bytes == PROGRAM && metadata.uid() == ours && metadata.mode() & 0o7777 == 0o500 {
        return Ok(file);
    }
    Err(io::Error::from(io::ErrorKind::InvalidData))
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(PROGRAM)?;
    file.set_permissions(Permissions::from_mode(0o500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_small() {
        assert!(!PROGRAM.is_empty());
        assert!(PROGRAM.len() < 32 * 1024, "the keeper has grown to {} bytes", PROGRAM.len());
    }

    #[test]
    fn a_changed_file_in_the_store_is_replaced() {
        let store = tempfile::tempdir().unwrap();
        in_store(store.path()).unwrap();
        let path = store.path().join(format!("keeper-{}", env!("CARGO_PKG_VERSION")));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"#!/bin/sh\n").unwrap();
        in_store(store.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), PROGRAM);
    }
}
