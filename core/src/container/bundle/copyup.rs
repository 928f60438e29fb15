//! The mount option `tmpcopyup`, where nothing is to be copied.
//!
//! podman gives it to every tmpfs: the new file system starts with what the directory below it
//! holds. Mostly that is nothing, and the option is left out; where it is not, compiling refuses it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;

use crate::sys::path::open_in_root;

const OPTION: &str = "tmpcopyup";

/// Takes the option from each mount whose destination is missing or empty in `root`.
pub(super) fn lower(spec: &mut Spec, root: BorrowedFd<'_>) {
    let mounts = spec.mounts_mut().get_or_insert_default();
    let all: Vec<_> = mounts.iter().map(|mount| mount.destination().clone()).collect();
    for (index, mount) in mounts.iter_mut().enumerate().filter(|(_, mount)| asks(mount)) {
        // What an earlier mount brings is not to be seen yet.
        let covered = all[..index].iter().any(|above| mount.destination().starts_with(above));
        if !covered && is_empty(root, mount.destination()) == Ok(true) {
            let options = mount.options_mut().get_or_insert_default();
            options.retain(|option| option != OPTION);
        }
    }
}

fn asks(mount: &Mount) -> bool {
    mount.options().iter().flatten().any(|option| option == OPTION)
}

/// Whether there is nothing at `path` of the container.
fn is_empty(root: BorrowedFd<'_>, path: &Path) -> Result<bool, Errno> {
    let directory = match open_in_root(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(true),
        directory => directory?,
    };
    let mut names =
        Dir::read_from(directory.as_fd())?.map(|entry| entry.map(|e| e.file_name().to_owned()));
    names.try_fold(true, |empty, name| {
        let name = name?;
        Ok(empty && matches!(name.to_bytes(), b"." | b".."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_is_missing_or_empty_in_the_root() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        fs::create_dir_all(root.path().join("full/lock")).unwrap();
        // Resolved inside the root: never the host's /etc.
        symlink("/etc", root.path().join("link")).unwrap();
        let held = fs::File::open(root.path()).unwrap();
        let empty = |path: &str| is_empty(held.as_fd(), Path::new(path));
        assert_eq!(empty("/missing"), Ok(true));
        assert_eq!(empty("/empty"), Ok(true));
        assert_eq!(empty("/full"), Ok(false));
        assert_eq!(empty("/full/lock"), Ok(true));
        assert_eq!(empty("/link"), Ok(true));
        assert_eq!(empty("/../../etc"), Ok(true));
    }
}
