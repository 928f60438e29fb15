//! Writes tar archives as a stream: ustar, with PAX records for what that cannot say.
//!
//! What goes in comes out of [`Archive`](super::Archive) again, to the nanosecond and the byte.
//! The same entries are the same archive: nothing is added that they do not have, neither names of
//! users nor numbers of processes. Holes are not told apart from zeros.
//!
//! Source: pax(1) in POSIX.1-2017

use std::io::{self, Seek, SeekFrom, Write};

use super::{BLOCK, Entry, Kind, Time};

/// What fits the fields for owners, and those for sizes and times: octal digits and a NUL.
const MAX_OWNER: u64 = 0o777_7777;
const MAX_SIZE: u64 = 0o777_7777_7777;

/// Bytes of the name and of the link's target in a header.
const SHORT: usize = 100;

/// Writes an archive entry by entry.
pub(crate) struct Writer<W> {
    output: W,
    /// Data that the current entry still wants, and the padding behind it.
    left: u64,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        Writer { output, left: 0, padding: 0 }
    }

    /// Writes an entry's header. For a file, `entry.size` bytes of [`data`](Self::data) follow; its
    /// segments are not looked at.
    pub(crate) fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_entry()?;
        let records = records(entry);
        if !records.is_empty() {
            let size = records.len() as u64;
            self.output.write_all(&extension(size))?;
            self.output.write_all(&records)?;
            self.output.write_all(zeros(size))?;
        }
        self.output.write_all(&header(entry))?;
        self.left = stored_size(entry);
        self.padding = zeros(self.left).len();
        Ok(())
    }

    /// Writes the next piece of the current file's data.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(miscounted)?;
        self.output.write_all(bytes)
    }

    /// Writes the archive's end, and returns what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.output.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.output)
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(miscounted());
        }
        let padding = std::mem::take(&mut self.padding);
        self.output.write_all(&ZEROS[..padding])
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file whose size is not known: [`end_open`](Self::end_open) says that its data ends.
    pub(crate) fn begin_open(&mut self, entry: &Entry) -> io::Result<()> {
        self.begin(&Entry { size: 0, ..entry.clone() })?;
        self.left = u64::MAX;
        Ok(())
    }

    /// Ends the file that was begun open, whose header is written again with its size.
    pub(crate) fn end_open(&mut self, entry: &Entry) -> io::Result<()> {
        let size = u64::MAX - std::mem::take(&mut self.left);
        let end = self.output.stream_position()?;
        self.output.seek(SeekFrom::Start(end - size - BLOCK))?;
        self.output.write_all(&header(&Entry { size, ..entry.clone() }))?;
        self.output.seek(SeekFrom::Start(end))?;
        self.padding = zeros(size).len();
        Ok(())
    }
}

const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// What fills the last block of `size` bytes.
fn zeros(size: u64) -> &'static [u8] {
    &ZEROS[..(size.wrapping_neg() % BLOCK) as usize]
}

fn miscounted() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "an entry's data is not of the announced size")
}

fn stored_size(entry: &Entry) -> u64 {
    if entry.kind == Kind::File { entry.size } else { 0 }
}

/// The entry's name as the archive has it: a directory's ends in a slash.
fn name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.name.clone();
    if entry.kind == Kind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// Whether a header can have this text. Others than ASCII have no encoding there.
fn fits(text: &[u8]) -> bool {
    text.len() <= SHORT && text.is_ascii()
}

/// The PAX records for what the header cannot have.
fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut record = |key: &[u8], value: &[u8]| push_record(&mut records, key, value);
    let name = name(entry);
    if !fits(&name) {
        record(b"path", &name);
    }
    if !fits(&entry.target) {
        record(b"linkpath", &entry.target);
    }
    for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
        if u64::from(id) > MAX_OWNER {
            record(key.as_bytes(), id.to_string().as_bytes());
        }
    }
    if stored_size(entry) > MAX_SIZE {
        record(b"size", entry.size.to_string().as_bytes());
    }
    let (seconds, nanoseconds) = entry.mtime;
    if nanoseconds != 0 || !u64::try_from(seconds).is_ok_and(|seconds| seconds <= MAX_SIZE) {
        record(b"mtime", decimal(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&[b"SCHILY.xattr.", &**name].concat(), value);
    }
    records
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    // One digit more may make it one digit longer.
    length = rest + length.to_string().len();
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with a fraction; the nanoseconds of a negative time count forward.
fn decimal((seconds, nanoseconds): Time) -> String {
    let (sign, seconds, nanoseconds) = match (seconds, nanoseconds) {
        (0.., _) => ("", seconds.unsigned_abs(), nanoseconds),
        (_, 0) => ("-", seconds.unsigned_abs(), 0),
        _ => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
    };
    match format!("{nanoseconds:09}").trim_end_matches('0') {
        "" => format!("{sign}{seconds}"),
        fraction => format!("{sign}{seconds}.{fraction}"),
    }
}

/// The header of a file with PAX records for the next entry.
fn extension(size: u64) -> [u8; BLOCK as usize] {
    let mut block = block(b"PaxHeader", 0o644, size, 0, b'x');
    seal(&mut block);
    block
}

fn header(entry: &Entry) -> [u8; BLOCK as usize] {
    let mut name = name(entry);
    if !fits(&name) {
        name.truncate(SHORT);
        name.retain(u8::is_ascii);
        // Readers that look at this one first would take a file for a directory.
        while entry.kind != Kind::Directory && name.ends_with(b"/") {
            name.pop();
        }
    }
    let flag = match entry.kind {
        Kind::File => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::CharacterDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let mut block = block(&name, entry.mode, stored_size(entry), entry.mtime.0, flag);
    let owner = |id: u32| Some(u64::from(id)).filter(|id| *id <= MAX_OWNER).unwrap_or(0);
    octal(&mut block[108..116], owner(entry.uid));
    octal(&mut block[116..124], owner(entry.gid));
    if fits(&entry.target) {
        block[157..157 + entry.target.len()].copy_from_slice(&entry.target);
    }
    if matches!(entry.kind, Kind::CharacterDevice | Kind::BlockDevice) {
        octal(&mut block[329..337], entry.device.0.into());
        octal(&mut block[337..345], entry.device.1.into());
    }
    seal(&mut block);
    block
}

/// A header of what all have. `name` fits.
fn block(name: &[u8], mode: u32, size: u64, mtime: i64, flag: u8) -> [u8; BLOCK as usize] {
    let mut block = ZEROS;
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], (mode & 0o7777).into());
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    if size <= MAX_SIZE {
        octal(&mut block[124..136], size);
    } else {
        // GNU's form, which all readers know: a file's size may be known too late for a record.
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    let mtime = u64::try_from(mtime).ok().filter(|seconds| *seconds <= MAX_SIZE);
    octal(&mut block[136..148], mtime.unwrap_or(0));
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

/// Sets the checksum, for which its own field counts as spaces.
fn seal(block: &mut [u8; BLOCK as usize]) {
    block[148..156].fill(b' ');
    let sum = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// Digits with a NUL behind them. `number` fits.
fn octal(field: &mut [u8], number: u64) {
    let digits = format!("{number:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
    if let Some(end) = field.last_mut() {
        *end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Archive;
    use super::*;
    use proptest::prelude::*;

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for entry in entries {
            writer.begin(entry).unwrap();
            if entry.kind == Kind::File {
                writer.data(&vec![b'x'; entry.size as usize]).unwrap();
            }
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Vec<Entry> {
        let mut archive = Archive::new(bytes, "an archive");
        let mut entries = Vec::new();
        while let Some(entry) = archive.next().unwrap() {
            entries.push(entry);
        }
        assert!(archive.finish().unwrap().1, "it has no end");
        entries
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::File),
            Just(Kind::Directory),
            Just(Kind::Symlink),
            Just(Kind::Hardlink),
            Just(Kind::CharacterDevice),
            Just(Kind::BlockDevice),
            Just(Kind::Fifo),
        ]
    }

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'/'), b'a'..=b'z', 1..=255u8];
        prop::collection::vec(byte, 1..220)
    }

    prop_compose! {
        fn entries()(
            kind in kinds(),
            name in texts(),
            target in texts(),
            mode in 0..=0o7777u32,
            owners in (0..u32::MAX, 0..u32::MAX),
            mtime in (-20_000_000_000..20_000_000_000i64, 0..1_000_000_000u32, any::<bool>()),
            device in (1..4096u32, 0..0x10_0000u32),
            size in 0..2000u64,
            xattrs in prop::collection::btree_map("[a-z.]{1,90}", any::<Vec<u8>>(), 0..3),
        ) -> Entry {
            let is_link = matches!(kind, Kind::Symlink | Kind::Hardlink);
            let is_device = matches!(kind, Kind::CharacterDevice | Kind::BlockDevice);
            let mut name = name;
            while kind != Kind::Directory && name.ends_with(b"/") {
                name.pop();
            }
            if name.is_empty() {
                name.push(b'n');
            }
            if kind == Kind::Directory && !name.ends_with(b"/") {
                name.push(b'/');
            }
            Entry {
                kind,
                name,
                target: if is_link { target } else { Vec::new() },
                mode,
                uid: owners.0,
                gid: owners.1,
                mtime: (mtime.0, if mtime.2 { 0 } else { mtime.1 }),
                device: if is_device { device } else { (0, 0) },
                size: if kind == Kind::File { size } else { 0 },
                segments: None,
                xattrs: xattrs.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entries in prop::collection::vec(entries(), 0..6)) {
            prop_assert_eq!(read(&written(&entries)), entries);
        }
    }

    fn file(name: &[u8]) -> Entry {
        Entry {
            kind: Kind::File,
            name: name.to_vec(),
            target: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (1000, 0),
            device: (0, 0),
            size: 0,
            segments: None,
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn what_ustar_can_say_has_no_records() {
        let bytes = written(&[Entry { size: 3, ..file(b"etc/hosts") }]);
        assert_eq!(bytes.len(), 4 * 512);
        assert_eq!(&bytes[..10], b"etc/hosts\0");
        assert_eq!(&bytes[124..136], b"00000000003\0");
    }

    #[test]
    fn a_long_name_cut_behind_a_slash_is_a_file_all_the_same() {
        let name = [&[b'd'; 99][..], b"/f"].concat();
        assert_eq!(read(&written(&[file(&name)])), [file(&name)]);
    }

    #[test]
    fn a_record_s_length_counts_its_own_digits() {
        for size in 80..120 {
            let mut records = Vec::new();
            push_record(&mut records, b"k", &vec![b'v'; size]);
            let length = records.len().to_string();
            assert!(records.starts_with(format!("{length} k=").as_bytes()), "{size}");
        }
    }

    #[test]
    fn data_is_as_long_as_announced() {
        let mut writer = Writer::new(Vec::new());
        writer.begin(&Entry { size: 3, ..file(b"f") }).unwrap();
        writer.data(b"ab").unwrap();
        assert!(writer.data(b"cd").is_err());
        assert!(writer.begin(&file(b"g")).is_err());
    }

    #[test]
    fn sizes_may_be_known_late_and_large() {
        let mut writer = Writer::new(io::Cursor::new(Vec::new()));
        writer.begin_open(&file(b"f")).unwrap();
        writer.data(&[b'x'; 700]).unwrap();
        writer.end_open(&file(b"f")).unwrap();
        writer.begin(&file(b"g")).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(read(&bytes), [Entry { size: 700, ..file(b"f") }, file(b"g")]);
        let large = header(&Entry { size: MAX_SIZE + 1, ..file(b"f") });
        assert_eq!(super::super::header::number(&large[124..136]), Some(MAX_SIZE as i64 + 1));
    }
}
