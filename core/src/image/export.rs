//! Trees out of the store: exported, and compared.

use std::io::BufWriter;
use std::path::Path;

use super::beside::Beside;
use super::handle::Image;
use super::tree::{Change, Directory, Style, capture, diff};
use crate::Result;
use crate::cancel::Cancel;
use crate::sys::sigpipe;

const OPERATION: &str = "export to";
const COMPARE: &str = "compare";

impl Image {
    /// Writes all files of the image as one tar archive, which replaces a file at `path`:
    /// [`Images::import`](super::Images::import) makes an image of it again, without the config.
    ///
    /// It is readable by its owner only, deterministic, and at `path` when it is complete.
    ///
    /// # Errors
    /// Those of [`layers`](Self::layers); `InvalidInput` without any, or if `path` is something else
    /// than a file; `Unsupported` for what no archive can hold; `ResourceExhausted` on a full disk.
    /// The former file stays then.
    pub fn export(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.cancel().run(OPERATION, &path.display().to_string(), || {
            let _lease = self.lease()?;
            export_tree(&self.root_layers("export")?, path, self.cancel())
        })
    }

    /// What is other in this image's files than in those of `base`, by path.
    ///
    /// Of a directory that was deleted only itself is among it, of one that was added everything in
    /// it. Directories that both images have from the same layers are not looked into.
    ///
    /// # Errors
    /// Those of [`layers`](Self::layers); `InvalidInput` if either has none.
    pub fn diff(&self, base: &Image) -> Result<Vec<Change>> {
        self.run(COMPARE, || {
            let _leases = (self.lease()?, base.lease()?);
            let (old, new) = (base.root_layers(COMPARE)?, self.root_layers(COMPARE)?);
            diff_trees(&old, &new, self.cancel())
        })
    }
}

/// Writes what overlayfs would show of `layers`, bottom first, as an archive.
pub(crate) fn export_tree<P: AsRef<Path>>(
    layers: &[P],
    path: &Path,
    cancel: &Cancel,
) -> Result<()> {
    sigpipe::without_file_size_signal(|| {
        let root = Directory::open(layers)?;
        let beside = Beside::create(path, OPERATION)?;
        let failed = |error| beside.failed(error);
        let output = cancel.watch(BufWriter::with_capacity(128 << 10, beside.file()));
        let (output, _) = capture(&root, Style::whole(), output, &failed)?;
        output.into_inner().into_inner().map_err(|error| failed(error.into_error()))?;
        beside.publish()
    })
}

/// What is other in `new` than in `old`, as overlayfs would show them.
pub(crate) fn diff_trees<P: AsRef<Path>, Q: AsRef<Path>>(
    old: &[P],
    new: &[Q],
    cancel: &Cancel,
) -> Result<Vec<Change>> {
    diff(&Directory::open(old)?, &Directory::open(new)?, cancel)
}
