//! Sparse files: the four ways in which GNU tar and PAX say where the data is.
//!
//! Source: <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>

use super::header::number;
use super::pax::decimal;

/// More segments than any real file has; the map is kept in memory.
const MAX_SEGMENTS: usize = 1 << 20;

const TOO_MANY: &str = "a sparse file has more than a million segments";
const MALFORMED: &str = "a sparse file's map is malformed";

/// A piece of a sparse file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// What the PAX records say of a sparse file, in their versions 0.0, 0.1 and 1.0.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Option<Vec<Segment>>,
    /// 0.0: the offset whose length is yet to come.
    offset: Option<u64>,
}

impl Pax {
    /// Takes a record; whether it was one of a sparse file.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> Result<bool, &'static str> {
        let Some(key) = key.strip_prefix(b"GNU.sparse.") else {
            return Ok(false);
        };
        let number = || decimal(value).ok_or(MALFORMED);
        match key {
            b"major" => self.major = Some(number()?),
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => drop(self.map.get_or_insert_default()),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(MALFORMED)?;
                push(self.map.get_or_insert_default(), offset, number()?)?;
            }
            b"map" => self.map = Some(comma_separated(value)?),
            _ => {}
        }
        Ok(true)
    }
}

fn comma_separated(value: &[u8]) -> Result<Vec<Segment>, &'static str> {
    let mut map = Vec::new();
    if value.is_empty() {
        return Ok(map);
    }
    let mut numbers = value.split(|byte| *byte == b',');
    while let Some(offset) = numbers.next() {
        let length = numbers.next().ok_or(MALFORMED)?;
        push(&mut map, decimal(offset).ok_or(MALFORMED)?, decimal(length).ok_or(MALFORMED)?)?;
    }
    Ok(map)
}

/// PAX 1.0: a count, then offset and length each on a line of their own.
#[derive(Default)]
pub(super) struct LeadingMap {
    digits: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    map: Vec<Segment>,
}

impl LeadingMap {
    /// Takes one block or a piece of it; whether the map is complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<bool, &'static str> {
        for byte in bytes {
            if *byte != b'\n' {
                self.digits.push(*byte);
                if self.digits.len() > 20 {
                    return Err(MALFORMED);
                }
                continue;
            }
            let number = decimal(&self.digits).ok_or(MALFORMED)?;
            self.digits.clear();
            match (self.count, self.offset.take()) {
                (None, _) => self.count = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(_), Some(offset)) => push(&mut self.map, offset, number)?,
            }
            if self.count == Some(self.map.len() as u64) && self.offset.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn finish(self) -> Vec<Segment> {
        self.map
    }
}

/// The pairs of numbers in a GNU header or in a block that extends it; an empty one ends them.
pub(super) fn gnu_part(fields: &[u8], map: &mut Vec<Segment>) -> Result<(), &'static str> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        let field = |bytes| number(bytes).and_then(|n| u64::try_from(n).ok()).ok_or(MALFORMED);
        push(map, field(&pair[..12])?, field(&pair[12..])?)?;
    }
    Ok(())
}

/// A block that extends a GNU header; whether another one follows.
pub(super) fn extended_part(
    block: &[u8; 512],
    map: &mut Vec<Segment>,
) -> Result<bool, &'static str> {
    gnu_part(&block[..504], map)?;
    Ok(block[504] != 0)
}

fn push(map: &mut Vec<Segment>, offset: u64, length: u64) -> Result<(), &'static str> {
    if map.len() == MAX_SEGMENTS {
        return Err(TOO_MANY);
    }
    map.push(Segment { offset, length });
    Ok(())
}

/// Checks that the segments ascend, fit the file's `size` and are `data` bytes together.
pub(super) fn check(map: &[Segment], data: u64, size: u64) -> Result<(), &'static str> {
    let mut end = 0u64;
    let mut total = 0u64;
    for segment in map {
        if segment.offset < end {
            return Err("a sparse file's segments overlap");
        }
        end = segment.offset.checked_add(segment.length).ok_or(MALFORMED)?;
        total += segment.length;
    }
    if end > size || total != data || i64::try_from(size).is_err() {
        return Err("a sparse file's map does not fit its size");
    }
    Ok(())
}
