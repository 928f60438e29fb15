//! The 512-byte header block of a tar archive, in its dialects.

use super::Segment;
use super::sparse;

/// Who wrote the header, which says what its last third means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Before POSIX: nothing behind the link's target.
    V7,
    /// POSIX, and PAX on top of it: a prefix of the name.
    Ustar,
    /// Schilling's tar: a shorter prefix, then access and change time.
    Star,
    /// GNU: no prefix, sparse maps.
    Gnu,
}

/// One header block whose checksum is right.
pub(super) struct Block([u8; 512]);

impl Block {
    pub(super) fn new(bytes: [u8; 512]) -> Result<Self, &'static str> {
        let block = Block(bytes);
        let stored = number(&block.0[148..156]).ok_or("a header's checksum is malformed")?;
        // The checksum field counts as spaces; ancient writers summed signed bytes.
        let rest = || block.0[..148].iter().chain(&block.0[156..]);
        let spaces = 8 * i64::from(b' ');
        let unsigned = spaces + rest().map(|byte| i64::from(*byte)).sum::<i64>();
        let signed = spaces + rest().map(|byte| i64::from(*byte as i8)).sum::<i64>();
        // A fuzzer cannot guess a sum.
        if stored == unsigned || stored == signed || cfg!(fuzzing) {
            Ok(block)
        } else {
            Err("a header's checksum is wrong")
        }
    }

    pub(super) fn flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn flavour(&self) -> Flavour {
        match &self.0[257..265] {
            b"ustar  \0" => Flavour::Gnu,
            magic if magic.starts_with(b"ustar\0") => match &self.0[508..512] {
                b"tar\0" => Flavour::Star,
                _ => Flavour::Ustar,
            },
            _ => Flavour::V7,
        }
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[0..100]);
        let prefix = match self.flavour() {
            Flavour::Ustar => text(&self.0[345..500]),
            Flavour::Star => text(&self.0[345..476]),
            Flavour::Gnu | Flavour::V7 => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn target(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> &[u8] {
        &self.0[100..108]
    }

    pub(super) fn uid(&self) -> &[u8] {
        &self.0[108..116]
    }

    pub(super) fn gid(&self) -> &[u8] {
        &self.0[116..124]
    }

    pub(super) fn size(&self) -> &[u8] {
        &self.0[124..136]
    }

    pub(super) fn mtime(&self) -> &[u8] {
        &self.0[136..148]
    }

    pub(super) fn device(&self) -> (&[u8], &[u8]) {
        match self.flavour() {
            Flavour::V7 => (b"", b""),
            _ => (&self.0[329..337], &self.0[337..345]),
        }
    }

    /// A GNU sparse file's size with its holes.
    pub(super) fn sparse_size(&self) -> &[u8] {
        &self.0[483..495]
    }

    /// Adds the header's part of a GNU sparse map; whether further blocks of it follow.
    pub(super) fn sparse_part(&self, map: &mut Vec<Segment>) -> Result<bool, &'static str> {
        sparse::gnu_part(&self.0[386..482], map)?;
        Ok(self.0[482] != 0)
    }
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// A number field: octal digits, or big-endian two's complement if its first bit is set (GNU).
/// An empty field is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        return binary(field);
    }
    let text = field.iter().copied().skip_while(|byte| *byte == b' ');
    let digits = text.take_while(|byte| !matches!(byte, 0 | b' '));
    let mut number = 0i64;
    for digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return None;
        }
        number = number.checked_mul(8)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(number)
}

fn binary(field: &[u8]) -> Option<i64> {
    // The first bit is the marker, the second the sign.
    let negative = field[0] & 0x40 != 0;
    let mut number: i64 = if negative { -1 } else { 0 };
    for (i, byte) in field.iter().enumerate() {
        let byte = match (i, negative) {
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        number = number.checked_mul(256)?.checked_add(i64::from(byte))?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644", Some(0o644)),
            (b"\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"8", None),
            (b"-1", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"777777777777777777777777", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
