//! A little room on the store's disk, kept for making more: removing an image writes a new index
//! first, and on a full disk that would be the one thing that cannot be done.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::layout::Layout;
use crate::Result;

/// More than the index of a thousand images.
const SIZE: u64 = 256 << 10;

impl Layout {
    /// Keeps room, if there is some and none is kept.
    pub(super) fn keep_reserve(&self) {
        let path = self.reserve();
        if path.exists() {
            return;
        }
        let kept = File::create_new(&path).and_then(|mut file| {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE) {
                Err(Errno::OPNOTSUPP) => file.write_all(&[0; SIZE as usize]),
                result => Ok(result?),
            }
        });
        if kept.is_err() {
            let _ = fs::remove_file(path);
        }
    }

    /// Does `work`, which is to make room. If there is none for `work` itself, it is done again with
    /// what was kept: a first attempt that failed must have changed nothing.
    pub(super) fn with_reserve<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        let full = |errno| matches!(errno, Some(nix::libc::ENOSPC | nix::libc::EDQUOT));
        let result = match work() {
            Err(error) if full(error.errno()) && fs::remove_file(self.reserve()).is_ok() => work(),
            result => result,
        };
        self.keep_reserve();
        result
    }

    fn reserve(&self) -> PathBuf {
        self.path("images.reserve")
    }
}
