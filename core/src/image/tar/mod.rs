//! Reads tar archives as a stream: ustar, GNU and PAX, with long names, xattrs and sparse files; and
//! writes them (`write`).
//!
//! In goes any `BufRead`, out come [`Entry`]s, whose data is copied piece by piece. It creates
//! nothing and trusts nothing: sizes of what is kept in memory are bounded, names come out as the
//! archive has them. An own reader, because the tar crate loses xattr values that contain a
//! newline and gets PAX sparse 1.0 wrong.
//!
//! Source: pax(1) in POSIX.1-2017, <https://www.gnu.org/software/tar/manual/html_node/Standard.html>

mod header;
mod pax;
mod sparse;
mod write;

use std::io::{self, BufRead};

use crate::{Error, ErrorKind, Result};
use header::{Block, Flavour};
pub(crate) use sparse::Segment;
pub(crate) use write::Writer;

const BLOCK: u64 = 512;

/// The largest PAX header or GNU long name: they are kept in memory.
const MAX_EXTENSION: u64 = 1 << 20;

/// PATH_MAX: no such name could be created.
const MAX_NAME: usize = 4096;

/// The most entries of one archive; the largest images have half a million files in a layer.
const MAX_ENTRIES: u64 = 4 << 20;

/// The kernel's largest device numbers: 12 and 20 bits.
const MAX_MAJOR: u32 = (1 << 12) - 1;
const MAX_MINOR: u32 = (1 << 20) - 1;

/// Seconds since the epoch, and the nanoseconds that follow them.
pub(crate) type Time = (i64, u32);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharacterDevice,
    BlockDevice,
    Fifo,
}

/// One member of an archive, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// The name as the archive has it: never empty, no NUL, not yet safe.
    pub(crate) name: Vec<u8>,
    /// What a link names, as the archive has it.
    pub(crate) target: Vec<u8>,
    /// Permission bits, with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// The file's size, holes included.
    pub(crate) size: u64,
    /// Where the data goes, if the file is sparse.
    pub(crate) segments: Option<Vec<Segment>>,
    /// Name and value, as the archive has them: not yet safe.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads an archive entry by entry.
pub(crate) struct Archive<R> {
    input: R,
    /// Names the archive in errors.
    subject: String,
    /// Data of the current entry not yet read, and the padding behind it.
    data: u64,
    padding: u64,
    entries: u64,
    ended: bool,
    marked: bool,
}

impl<R: BufRead> Archive<R> {
    /// Reads `input`; `subject` names it in errors.
    pub(crate) fn new(input: R, subject: impl Into<String>) -> Self {
        Archive {
            input,
            subject: subject.into(),
            data: 0,
            padding: 0,
            entries: 0,
            ended: false,
            marked: false,
        }
    }

    /// The next entry, or `None` at the end. What was left of the current one's data is skipped.
    ///
    /// # Errors
    /// `InvalidData` if the archive is malformed or truncated, `Unsupported` for an entry of an
    /// unknown type.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = pax::Extensions::default();
        while let Some(block) = self.block()? {
            match block.flag() {
                b'x' => extensions.pax = pax::parse(&self.extension(&block)?, &self.subject)?,
                b'L' => extensions.name = Some(self.extension(&block)?),
                b'K' => extensions.target = Some(self.extension(&block)?),
                // Go's archive/tar, and so docker, applies no global headers either.
                b'g' => drop(self.extension(&block)?),
                // A GNU volume label names the tape.
                b'V' => self.enter(0),
                _ => return self.entry(&block, extensions).map(Some),
            }
        }
        Ok(None)
    }

    /// Hands the current entry's next `length` bytes to `sink`, piece by piece.
    pub(crate) fn copy<E: From<Error>>(
        &mut self,
        length: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if length > self.data {
            return Err(self.invalid("an entry has less data than announced").into());
        }
        let mut left = length;
        while left > 0 {
            let buffered = match self.input.fill_buf() {
                Ok([]) => return Err(self.invalid("it is truncated").into()),
                Ok(buffered) => buffered,
                Err(error) => return Err(read_error(error, &self.subject).into()),
            };
            let n = buffered.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&buffered[..n])?;
            self.input.consume(n);
            left -= n as u64;
            self.data -= n as u64;
        }
        Ok(())
    }

    /// Reads to the end of the input, past the archive's end, and returns the input and whether
    /// the archive had its end marker. A digest covers those bytes, too.
    pub(crate) fn finish(mut self) -> Result<(R, bool)> {
        while self.next()?.is_some() {}
        let drained = io::copy(&mut self.input, &mut io::sink());
        drained.map_err(|error| read_error(error, &self.subject))?;
        Ok((self.input, self.marked))
    }

    fn entry(&mut self, block: &Block, extensions: pax::Extensions) -> Result<Entry> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.invalid("it has more than four million entries"));
        }
        let pax::Extensions { pax, name, target } = extensions;
        let kind = self.kind(block, name.as_deref().unwrap_or(&block.name()))?;
        let stored = match kind {
            Kind::File => pax.size.map_or_else(|| self.number(block.size()), Ok)?,
            // Go's archive/tar skips such data, GNU tar does, and others read it as entries: what
            // one sees, another does not.
            Kind::Directory
                if block.flag() != b'5'
                    && (pax.size.unwrap_or(0), self.number(block.size())?) != (0, 0) =>
            {
                return Err(self.invalid("a directory has data"));
            }
            // Go's archive/tar: whatever their size field says, no data follows these.
            _ => 0,
        };
        self.enter(stored);
        let mut entry = Entry {
            kind,
            name: until_nul(name.unwrap_or_else(|| block.name())),
            target: until_nul(target.unwrap_or_else(|| block.target())),
            mode: self.number(block.mode())? as u32 & 0o7777,
            uid: self.id(pax.uid, block.uid())?,
            gid: self.id(pax.gid, block.gid())?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => (self.signed(block.mtime())?, 0),
            },
            device: (0, 0),
            size: stored,
            segments: None,
            xattrs: pax.xattrs,
        };
        if matches!(kind, Kind::CharacterDevice | Kind::BlockDevice) {
            let (major, minor) = block.device();
            entry.device = (self.device(major, MAX_MAJOR)?, self.device(minor, MAX_MINOR)?);
        }
        entry.name = pax.path.unwrap_or(entry.name);
        entry.target = pax.linkpath.unwrap_or(entry.target);
        if kind == Kind::File {
            self.sparse(block, pax.sparse, &mut entry)?;
        }
        self.check_names(&entry)?;
        Ok(entry)
    }

    /// Finds out whether a file is sparse, in any of the four ways to say so.
    fn sparse(&mut self, block: &Block, pax: sparse::Pax, entry: &mut Entry) -> Result<()> {
        if let Some(name) = &pax.name {
            entry.name = name.clone();
        }
        let map = if block.flag() == b'S' && block.flavour() == Flavour::Gnu {
            Some(self.gnu_map(block, &mut entry.size)?)
        } else if pax.major == Some(1) {
            entry.size = pax.real_size.ok_or_else(|| self.invalid("a sparse file has no size"))?;
            Some(self.leading_map()?)
        } else if let Some(map) = pax.map {
            entry.size = pax.real_size.ok_or_else(|| self.invalid("a sparse file has no size"))?;
            Some(map)
        } else {
            None
        };
        if let Some(map) = &map {
            sparse::check(map, self.data, entry.size).map_err(|cause| self.invalid(cause))?;
        }
        entry.segments = map;
        Ok(())
    }

    /// The map of an old GNU sparse file: in the header, and in blocks that follow it.
    fn gnu_map(&mut self, block: &Block, size: &mut u64) -> Result<Vec<Segment>> {
        *size = self.number(block.sparse_size())?;
        let mut map = Vec::new();
        let mut more = block.sparse_part(&mut map);
        while let Ok(true) = more {
            let mut bytes = [0; BLOCK as usize];
            self.fill(&mut bytes)?;
            more = sparse::extended_part(&bytes, &mut map);
        }
        more.map_err(|cause| self.invalid(cause))?;
        Ok(map)
    }

    /// The map of a PAX 1.0 sparse file: decimal lines in front of its data, in whole blocks.
    fn leading_map(&mut self) -> Result<Vec<Segment>> {
        let mut map = sparse::LeadingMap::default();
        let mut result = Ok(false);
        while let Ok(false) = result {
            self.copy(BLOCK.min(self.data.max(1)), |piece| {
                if let Ok(false) = result {
                    result = map.feed(piece);
                }
                Ok::<_, Error>(())
            })?;
        }
        result.map_err(|cause| self.invalid(cause))?;
        Ok(map.finish())
    }

    /// The next header block, or `None` at the archive's or the input's end.
    fn block(&mut self) -> Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        self.copy(self.data, |_| Ok::<_, Error>(()))?;
        self.data = std::mem::take(&mut self.padding);
        self.copy(self.data, |_| Ok::<_, Error>(()))?;
        let at_end = self.input.fill_buf().map(<[u8]>::is_empty);
        if at_end.map_err(|error| read_error(error, &self.subject))? {
            self.ended = true;
            return Ok(None);
        }
        let mut bytes = [0; BLOCK as usize];
        self.fill(&mut bytes)?;
        if bytes.iter().all(|byte| *byte == 0) {
            // Two such blocks are asked for; one is what some writers leave.
            self.ended = true;
            self.marked = true;
            return Ok(None);
        }
        Block::new(bytes).map(Some).map_err(|cause| self.invalid(cause))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(|error| read_error(error, &self.subject))
    }

    /// The data of a header that extends the next one.
    fn extension(&mut self, block: &Block) -> Result<Vec<u8>> {
        let size = self.number(block.size())?;
        if size > MAX_EXTENSION {
            return Err(self.invalid("an extended header is larger than 1 MiB"));
        }
        self.enter(size);
        let mut bytes = Vec::new();
        self.copy(size, |piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, Error>(())
        })?;
        Ok(bytes)
    }

    /// Begins an entry with `size` bytes of data.
    fn enter(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK;
    }

    fn kind(&self, block: &Block, name: &[u8]) -> Result<Kind> {
        Ok(match block.flag() {
            // Before POSIX, a directory was a file whose name ends in a slash.
            b'0' | 0 if name.ends_with(b"/") => Kind::Directory,
            b'0' | b'7' | 0 => Kind::File,
            b'S' if block.flavour() == Flavour::Gnu => Kind::File,
            b'1' => Kind::Hardlink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            flag => {
                let cause = format!("an entry has the unknown type {:?}", char::from(flag));
                return Err(Error::new(ErrorKind::Unsupported, "read", &*self.subject).cause(cause));
            }
        })
    }

    fn check_names(&self, entry: &Entry) -> Result<()> {
        let link = matches!(entry.kind, Kind::Symlink | Kind::Hardlink);
        if entry.name.is_empty() {
            return Err(self.invalid("an entry has no name"));
        }
        if link && entry.target.is_empty() {
            return Err(self.invalid("a link has no target"));
        }
        for name in [&entry.name, &entry.target] {
            if name.contains(&0) {
                return Err(self.invalid("a name contains NUL"));
            }
            if name.len() >= MAX_NAME {
                return Err(self.invalid("a name is longer than 4095 bytes"));
            }
        }
        Ok(())
    }

    fn number(&self, field: &[u8]) -> Result<u64> {
        u64::try_from(self.signed(field)?).map_err(|_| self.invalid("a number is negative"))
    }

    fn signed(&self, field: &[u8]) -> Result<i64> {
        header::number(field).ok_or_else(|| self.invalid("a number is malformed"))
    }

    fn device(&self, field: &[u8], most: u32) -> Result<u32> {
        match u32::try_from(self.number(field)?) {
            Ok(number) if number <= most => Ok(number),
            // Cut to its last bits it would be another device, or overlayfs's whiteout.
            _ => Err(self.invalid("a device's number is too large")),
        }
    }

    fn id(&self, pax: Option<u64>, field: &[u8]) -> Result<u32> {
        let id = pax.map_or_else(|| self.number(field), Ok)?;
        // (uid_t)-1 means "leave it" to chown(2).
        match u32::try_from(id) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(self.invalid("an owner does not fit 32 bits")),
        }
    }

    fn invalid(&self, cause: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidData, "read", &*self.subject).cause(cause)
    }
}

/// The error for a failed read of foreign bytes: decompressors report malformed input without an
/// errno.
pub(crate) fn read_error(error: io::Error, subject: &str) -> Error {
    // An archive within an archive: the inner reader said already what is wrong.
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    if error.raw_os_error().is_some() {
        return Error::os("read", subject, error);
    }
    let kind = error.kind();
    let invalid = Error::new(ErrorKind::InvalidData, "read", subject).with_source(error);
    match kind {
        io::ErrorKind::UnexpectedEof => invalid.cause("it is truncated"),
        io::ErrorKind::Unsupported => invalid.with_kind(ErrorKind::Unsupported),
        _ => invalid,
    }
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

#[cfg(test)]
mod tests;
