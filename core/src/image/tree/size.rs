//! What a file or a tree takes of the disk.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::merged::{Directory, identity};
use super::unreadable;
use crate::{Error, Result};

/// The bytes that the file system has given out for `path` and everything below it; none if it is
/// not there.
pub(in crate::image) fn disk_usage(path: &Path) -> Result<u64> {
    let failed = |errno| Error::os("measure", path.display().to_string(), errno);
    let stat = match rustix::fs::lstat(path) {
        Err(Errno::NOENT) => return Ok(0),
        stat => stat.map_err(failed)?,
    };
    let mut seen = HashSet::new();
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(bytes(&stat, &mut seen));
    }
    match Directory::open(&[path]) {
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(0),
        root => Ok(bytes(&stat, &mut seen) + contents(&root?, b"", &mut seen)?),
    }
}

/// What is in `dir`. Nothing of skep's making is deeper than layers may be.
fn contents(dir: &Directory, path: &[u8], seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let failed = |errno| unreadable(path, errno);
    let mut sum = 0;
    for found in dir.entries(true).map_err(failed)? {
        sum += bytes(&found.stat, seen);
        if found.is_directory()
            && let Some(inner) = dir.enter(&found).map_err(failed)?
        {
            sum += contents(&inner, &[path, b"/", &*found.name].concat(), seen)?;
        }
    }
    Ok(sum)
}

/// Of a file with several names, once.
fn bytes(stat: &Stat, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let several = stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
    if several && !seen.insert(identity(stat)) { 0 } else { stat.st_blocks as u64 * 512 }
}
