//! Digests, and what computes them while bytes go by.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::{Error, ErrorKind, Result};

/// The digest of a blob: `sha256:` and 64 lower-case hexadecimal digits.
///
/// Other algorithms are refused: nothing in use announces them, and each is code that hashes
/// hostile bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Parses `sha256:<64 hexadecimal digits>`.
    ///
    /// # Errors
    /// `Unsupported` for another algorithm, `InvalidData` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |kind, cause| Err(Error::new(kind, "parse digest", text).cause(cause));
        let Some((algorithm, hex)) = text.split_once(':') else {
            return refuse(ErrorKind::InvalidData, "it has no algorithm");
        };
        if algorithm != "sha256" {
            return refuse(ErrorKind::Unsupported, "only sha256 is supported");
        }
        match Digest::from_hex(hex) {
            Some(digest) => Ok(digest),
            None => refuse(ErrorKind::InvalidData, "sha256 has 64 lower-case hexadecimal digits"),
        }
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        // By a table: opening a store of a thousand layers writes some thousands.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            hex.push(digit(byte >> 4));
            hex.push(digit(byte & 15));
        }
        hex
    }

    /// The digest whose [`hex`](Self::hex) is `hex`, if it is one.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Digest::parse(text)
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Digest::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A digest in the making.
#[derive(Clone)]
pub(crate) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Hasher(sha2::Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Hashes and counts what is read through it.
pub(crate) struct HashReader<R> {
    inner: R,
    hasher: Hasher,
    count: u64,
}

impl<R: Read> HashReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        HashReader { inner, hasher: Hasher::new(), count: 0 }
    }

    /// The reader underneath, and the digest and number of the bytes read so far.
    pub(crate) fn finish(self) -> (R, (Digest, u64)) {
        (self.inner, (self.hasher.finish(), self.count))
    }
}

impl<R: Read> Read for HashReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count += n as u64;
        Ok(n)
    }
}

/// Hashes and counts what is written through it.
pub(crate) struct HashWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
    count: u64,
}

impl<W: Write> HashWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        HashWriter { inner, hasher: sha2::Sha256::new(), count: 0 }
    }

    /// The writer underneath, and the digest and number of the bytes written so far.
    pub(crate) fn finish(self) -> (W, (Digest, u64)) {
        (self.inner, (Digest(self.hasher.finalize().into()), self.count))
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.count += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parse_and_display_are_inverse() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
    }

    #[test]
    fn what_is_no_sha256_is_refused() {
        for (text, kind) in [
            ("", ErrorKind::InvalidData),
            ("sha256", ErrorKind::InvalidData),
            ("sha256:", ErrorKind::InvalidData),
            ("sha256:e3b0", ErrorKind::InvalidData),
            (&EMPTY.to_uppercase().replace("SHA", "sha"), ErrorKind::InvalidData),
            (&EMPTY.replace("e3", "../"), ErrorKind::InvalidData),
            ("sha512:00", ErrorKind::Unsupported),
        ] {
            assert_eq!(Digest::parse(text).unwrap_err().kind(), kind, "{text}");
        }
    }

    #[test]
    fn what_is_read_is_hashed_and_counted() {
        let mut reader = HashReader::new(&b"abcdef"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish().1, (Digest::of(b"abcdef"), 6));
        let mut writer = HashWriter::new(Vec::new());
        writer.write_all(b"abcdef").unwrap();
        assert_eq!(writer.finish(), (b"abcdef".to_vec(), (Digest::of(b"abcdef"), 6)));
    }
}
