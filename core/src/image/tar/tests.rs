//! The reader against archives of every dialect, and against bytes that are none.

use super::*;
use crate::image::fixture::{Tar, octal};
use proptest::prelude::*;

fn entries(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(bytes, "the archive");
    let mut entries = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut data = Vec::new();
        archive.copy(archive.data, |piece| {
            data.extend_from_slice(piece);
            Ok::<_, Error>(())
        })?;
        entries.push((entry, data));
    }
    archive.finish()?;
    Ok(entries)
}

fn names(tar: Tar) -> Vec<String> {
    let entries = entries(&tar.end()).unwrap();
    entries.into_iter().map(|(entry, _)| String::from_utf8(entry.name).unwrap()).collect()
}

#[test]
fn names_come_from_the_last_that_says_them() {
    let long = "n".repeat(300);
    let tar = Tar::new()
        .file("plain", b"1")
        .header(b'0', "name", "", 0, |block| block[345..351].copy_from_slice(b"prefix"))
        .add(b'L', "././@LongLink", "", format!("{long}\0").as_bytes())
        .file("cut", b"")
        .pax(&[("path", b"pax"), ("comment", b"x")])
        .add(b'L', "././@LongLink", "", b"gnu\0")
        .file("cut", b"")
        .add(b'g', "global", "", b"12 path=all\n")
        .header(b'0', "gnu-has-no-prefix", "", 0, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[345..351].copy_from_slice(b"000000");
        })
        .header(b'0', "v7/", "", 0, |block| block[257..265].fill(0));
    assert_eq!(names(tar), ["plain", "prefix/name", &long, "pax", "gnu-has-no-prefix", "v7/"]);
}

#[test]
fn the_pax_size_counts() {
    let tar = Tar::new()
        .pax(&[("size", b"5")])
        .header(b'0', "f", "", 0, |_| {})
        .data(b"hello")
        .file("next", b"x");
    let entries = entries(&tar.end()).unwrap();
    assert_eq!((entries[0].0.size, &*entries[0].1), (5, &b"hello"[..]));
    assert_eq!(entries[1].0.name, b"next");
}

#[test]
fn links_have_no_data_whatever_their_size_says() {
    let tar = Tar::new().header(b'1', "l", "f", 700, |_| {}).file("next", b"x");
    let entries = entries(&tar.end()).unwrap();
    assert_eq!((entries[0].0.kind, entries[0].0.size), (Kind::Hardlink, 0));
    assert_eq!(entries[1].0.name, b"next");
}

/// CVE-2025-62518: an archive in an archive, which a reader with the wrong size takes for entries.
#[test]
fn data_is_never_taken_for_entries() {
    let inner = Tar::new().file("evil", b"evil").end();
    let size = inner.len().to_string();
    let pax = |size: &str| Tar::new().pax(&[("size", size.as_bytes())]);
    let with_size =
        |tar: Tar, flag, name, size| tar.header(flag, name, "", size, |_| {}).data(&inner);
    let stored = inner.len() as u64;
    for tar in [
        // The PAX size counts, whatever ustar's says.
        with_size(pax(&size), b'0', "f", 0),
        with_size(pax(&size), b'0', "f", 512),
        // It is not the size of the header of the long name between.
        with_size(pax(&size).add(b'L', "long", "", b"f\0"), b'0', "x", 0),
        // What an extended header holds is no entry either.
        with_size(Tar::new(), b'g', "global", stored).file("f", b""),
        with_size(Tar::new(), b'7', "f", stored),
    ] {
        assert_eq!(names(tar.file("end", b"")), ["f", "end"]);
    }
    for tar in [
        with_size(Tar::new(), b'0', "d/", stored),
        with_size(Tar::new(), 0, "d/", stored),
        with_size(pax(&size), b'0', "d/", 0),
        with_size(Tar::new(), b'Z', "unknown", stored),
    ] {
        let kind = entries(&tar.end()).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::Unsupported), "{kind:?}");
    }
}

/// So many empty files, one block each.
struct Endless {
    block: Vec<u8>,
    left: usize,
}

impl io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let blocks = (buffer.len() / 512).min(self.left);
        buffer[..blocks * 512].chunks_exact_mut(512).for_each(|b| b.copy_from_slice(&self.block));
        self.left -= blocks;
        Ok(blocks * 512)
    }
}

#[test]
fn a_million_entries_are_read_and_four_are_too_many() {
    let block = Tar::new().file("f", b"").0;
    // A hundred thousand where nothing is optimised.
    let many = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let mut archive =
        Archive::new(io::BufReader::new(Endless { block: block.clone(), left: many }), "it");
    let mut count = 0;
    while archive.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, many);
    let mut archive = Archive::new(io::BufReader::new(Endless { block, left: 2 }), "it");
    archive.entries = MAX_ENTRIES - 1;
    assert!(archive.next().unwrap().is_some());
    assert_eq!(archive.next().unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn old_gnu_sparse_maps_are_read() {
    let mut extended = [0; 512];
    octal(&mut extended[0..12], 8192);
    octal(&mut extended[12..24], 2);
    let tar = Tar::new()
        .header(b'S', "s", "", 3, |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            octal(&mut block[386..398], 0);
            octal(&mut block[398..410], 1);
            block[482] = 1;
            octal(&mut block[483..495], 9000);
        })
        .data(&extended)
        .data(b"abc");
    let entries = entries(&tar.end()).unwrap();
    let (entry, data) = &entries[0];
    assert_eq!((entry.size, &**data), (9000, &b"abc"[..]));
    let segments = entry.segments.as_ref().unwrap();
    assert_eq!(segments[0], Segment { offset: 0, length: 1 });
    assert_eq!(segments[1], Segment { offset: 8192, length: 2 });
}

#[test]
fn malformed_archives_are_refused() {
    let sparse = |map: &[u8]| {
        let pax: &[(&str, &[u8])] = &[("GNU.sparse.realsize", b"10"), ("GNU.sparse.map", map)];
        Tar::new().pax(pax).file("f", b"abc")
    };
    let huge = |flag| Tar::new().header(flag, "x", "", MAX_EXTENSION + 1, |_| {});
    for (what, tar, kind) in [
        ("checksum", Tar([b'x'; 512].to_vec()), ErrorKind::InvalidData),
        ("no name", Tar::new().file("", b""), ErrorKind::InvalidData),
        ("NUL", Tar::new().pax(&[("path", b"a\0b")]).file("x", b""), ErrorKind::InvalidData),
        ("no target", Tar::new().symlink("a", ""), ErrorKind::InvalidData),
        ("long", Tar::new().pax(&[("path", &[b'x'; 4096])]).file("x", b""), ErrorKind::InvalidData),
        ("pax bomb", huge(b'x'), ErrorKind::InvalidData),
        ("name bomb", huge(b'L'), ErrorKind::InvalidData),
        ("owner", Tar::new().pax(&[("uid", b"4294967295")]).file("x", b""), ErrorKind::InvalidData),
        ("type", Tar::new().add(b'M', "x", "", b""), ErrorKind::Unsupported),
        ("overlap", sparse(b"0,2,1,1"), ErrorKind::InvalidData),
        ("beyond", sparse(b"0,1,9,2"), ErrorKind::InvalidData),
        ("too little", sparse(b"0,4"), ErrorKind::InvalidData),
        ("overflow", sparse(b"18446744073709551615,3"), ErrorKind::InvalidData),
        ("odd", sparse(b"0,3,4"), ErrorKind::InvalidData),
    ] {
        assert_eq!(entries(&tar.end()).unwrap_err().kind(), kind, "{what}");
    }
}

#[test]
fn truncation_anywhere_is_seen() {
    let bytes = Tar::new().pax(&[("path", b"name")]).file("x", &[7; 700]).end();
    for length in 0..bytes.len() - 512 {
        let mut archive = Archive::new(&bytes[..length], "the archive");
        let result = loop {
            match archive.next() {
                Ok(Some(_)) => {}
                Ok(None) => break archive.finish().map(|(_, marked)| marked),
                Err(error) => break Err(error),
            }
        };
        match result {
            Ok(marked) => assert!(!marked, "cut at {length}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidData, "cut at {length}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_do_not_panic(bytes: Vec<u8>) {
        let _ = entries(&bytes);
    }

    #[test]
    fn any_header_does_not_panic(flag: u8, at in 0usize..500, patch in prop::array::uniform12(any::<u8>())) {
        let tar = Tar::new().header(flag, "name", "target", 3, |block| {
            block[at..at + 12].copy_from_slice(&patch);
        });
        let _ = entries(&tar.data(b"abc").end());
    }
}
