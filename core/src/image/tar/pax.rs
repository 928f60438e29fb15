//! PAX records: `<length> <key>=<value>\n`, where the length alone says where the value ends.

use std::collections::BTreeMap;

use super::{Time, sparse};
use crate::{Error, ErrorKind, Result};

/// What stood in front of an entry's own header.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) pax: Pax,
    /// GNU's long name and long link target.
    pub(super) name: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
}

/// The records of one PAX header that mean something to skep.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: sparse::Pax,
}

/// Parses a PAX header's data.
pub(super) fn parse(mut data: &[u8], subject: &str) -> Result<Pax> {
    let invalid = |cause| Error::new(ErrorKind::InvalidData, "read", subject).cause(cause);
    let mut pax = Pax::default();
    // The last record of a key counts, except in sparse maps, which repeat theirs.
    let mut xattrs = BTreeMap::new();
    while !data.is_empty() {
        let (key, value, rest) =
            record(data).ok_or_else(|| invalid("a PAX record is malformed"))?;
        data = rest;
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            xattrs.insert(name.to_vec(), value.to_vec());
            continue;
        }
        if pax.sparse.record(key, value).map_err(invalid)? || value.is_empty() {
            continue;
        }
        let number = || decimal(value).ok_or_else(|| invalid("a PAX number is malformed"));
        match key {
            b"path" => pax.path = Some(value.to_vec()),
            b"linkpath" => pax.linkpath = Some(value.to_vec()),
            b"size" => pax.size = Some(number()?),
            b"uid" => pax.uid = Some(number()?),
            b"gid" => pax.gid = Some(number()?),
            b"mtime" => {
                let time = time(value).ok_or_else(|| invalid("a PAX time is malformed"))?;
                pax.mtime = Some(time);
            }
            _ => {}
        }
    }
    pax.xattrs = xattrs.into_iter().collect();
    Ok(pax)
}

/// The first record's key and value, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    if length <= space || length > data.len() {
        return None;
    }
    let (record, rest) = data.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// A non-negative decimal number.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds since the epoch, perhaps negative, perhaps with a fraction.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
        nanoseconds = digits.fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        // timespec's nanoseconds count forward.
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(key: &str, value: &[u8]) -> Vec<u8> {
        let body = key.len() + value.len() + 3;
        let mut length = body + 1;
        while length != body + length.to_string().len() {
            length = body + length.to_string().len();
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_may_contain_newline_nul_and_equals() {
        let value = b"\x01\n7 a=b\n\0=";
        let data = [line("SCHILY.xattr.security.capability", value), line("path", b"x")].concat();
        let pax = parse(&data, "a layer").unwrap();
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
        assert_eq!(pax.path.unwrap(), b"x");
    }

    #[test]
    fn malformed_records_are_refused() {
        for data in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 abc\n",
            b"6 a=bc",
            b"0 a=b\n",
            b"2 a=b\n",
            b"-6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"9 size=x\n",
            b"10 uid=-1\n",
        ] {
            let error = parse(data, "a layer").err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{data:?}");
        }
    }

    #[test]
    fn times_may_be_negative_and_fractional() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-0.25", Some((-1, 750_000_000))),
            ("1.", Some((1, 0))),
            ("", None),
            (".5", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_not_panic(data: Vec<u8>) {
            let _ = parse(&data, "a layer");
        }
    }
}
