//! What an archive may try, and what becomes of it: refused, or confined to the layer.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

use super::*;

/// The names in a directory, sorted.
fn names(path: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_vec()).collect();
    names.sort();
    names
}

/// The cause of a refusal.
#[track_caller]
fn refused(bench: &mut Bench, tar: Tar) -> String {
    let error = bench.layer(tar).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    error.to_string()
}

#[test]
fn names_are_bytes() {
    if !is_root() {
        return;
    }
    let tar = Tar::new()
        .header(b'0', "", "", 0, |block| block[..3].copy_from_slice(b"\xff\xfea"))
        .pax(&[("path", b"\xc3\x28/\x80")])
        .file("x", b"")
        .add(b'L', "long", "", b"\xe2\x82\n\x1b\0")
        .file("x", b"")
        .header(b'2', "link", "", 0, |block| block[157] = 0xff);
    let root = Bench::new().layer(tar);
    // Its directory is gone with its bench.
    assert!(root.is_ok());
    let mut bench = Bench::new();
    let tar = Tar::new().pax(&[("path", b"\xc3\x28/\x80")]).file("x", b"");
    let root = bench.layer(tar).unwrap();
    assert_eq!(names(&root), [b"\xc3\x28"]);
}

#[test]
fn neither_names_nor_symlinks_make_a_layer_deep() {
    if !is_root() {
        return;
    }
    let deep = "d/".repeat(2000);
    let mut bench = Bench::new();
    let text = refused(&mut bench, Tar::new().pax(&[("path", deep.as_bytes())]).dir("x"));
    assert!(text.contains("256 directories deep"), "{text}");
    let text = refused(&mut bench, Tar::new().pax(&[("path", &b"d/".repeat(10_000))]).dir("x"));
    assert!(text.contains("longer than 4095 bytes"), "{text}");
    // Each step goes through a symlink to the end of the one before.
    let down = "d/".repeat(200);
    let tar = Tar::new()
        .pax(&[("path", down.as_bytes())])
        .dir("x")
        .pax(&[("linkpath", down.as_bytes())])
        .symlink("s", "x")
        .pax(&[("path", format!("s/{down}").as_bytes())])
        .dir("x");
    let text = refused(&mut bench, tar);
    assert!(text.contains("256 directories deep"), "{text}");
}

#[test]
fn a_path_longer_than_the_kernels_is_refused() {
    if !is_root() {
        return;
    }
    let down = format!("{}/", "d".repeat(250)).repeat(16);
    let tar = Tar::new()
        .pax(&[("path", down.as_bytes())])
        .dir("x")
        .pax(&[("linkpath", down.as_bytes())])
        .symlink("s", "x")
        .pax(&[("path", format!("s/{down}").as_bytes())])
        .dir("x");
    refused(&mut Bench::new(), tar);
}

#[test]
fn device_numbers_are_not_cut_to_a_whiteouts() {
    if !is_root() {
        return;
    }
    let device = |major: &[u8; 8], minor: &[u8; 8]| {
        Tar::new().header(b'3', "x", "", 0, |block| {
            block[329..337].copy_from_slice(major);
            block[337..345].copy_from_slice(minor);
        })
    };
    for (major, minor) in [
        // 4096, which is 0 in 12 bits.
        (b"0010000\0", b"0000000\0"),
        // 1 << 20.
        (b"0000000\0", b"4000000\0"),
        // 1 << 32, and -1.
        (b"\x80\0\0\x01\0\0\0\0", b"0000000\0"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", b"0000000\0"),
    ] {
        let mut bench = Bench::new();
        refused(&mut bench, device(major, minor));
        assert_eq!(names(&bench.layers[0]), [b""; 0]);
    }
    let root = device(b"0007777\0", b"3777777\0");
    let mut bench = Bench::new();
    let root = bench.layer(root).unwrap();
    let expected = rustix::fs::makedev(4095, (1 << 20) - 1);
    assert_eq!(std::fs::symlink_metadata(root.join("x")).unwrap().rdev(), expected);
}

#[test]
fn numbers_at_their_ends_are_taken_or_refused() {
    if !is_root() {
        return;
    }
    let max = i64::MAX.to_string();
    let min = format!("-{max}.999999999");
    for records in [
        [("mtime", max.as_bytes()), ("uid", b"4294967294")],
        [("mtime", min.as_bytes()), ("gid", b"4294967294")],
    ] {
        let mut bench = Bench::new();
        let root = bench.layer(Tar::new().pax(&records).file("f", b"").dir("d")).unwrap();
        let metadata = std::fs::metadata(root.join("f")).unwrap();
        assert!([metadata.uid(), metadata.gid()].contains(&(u32::MAX - 1)));
    }
    for records in [
        [("uid", &b"4294967296"[..])],
        [("gid", b"18446744073709551616")],
        [("mtime", b"9223372036854775808")],
        [("size", b"18446744073709551615")],
        [("size", b"-1")],
    ] {
        refused(&mut Bench::new(), Tar::new().pax(&records).file("f", b""));
    }
}

#[test]
fn xattrs_of_overlayfs_are_dropped_everywhere() {
    if !is_root() {
        return;
    }
    let names = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.overlay.opaque",
        "trusted.overlay.whiteout",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "user.overlay.metacopy",
        "user.overlay.whiteout",
        "user.nested.overlay.opaque",
        "trusted.any",
        "security.selinux",
    ];
    let keys: Vec<String> = names.iter().map(|name| format!("SCHILY.xattr.{name}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (&**key, &b"y"[..])).collect();
    let tar = Tar::new().pax(&records).file("f", b"").pax(&records).dir("d");
    let tar = tar.pax(&records).symlink("s", "f").pax(&records).add(b'6', "p", "", b"");
    let tar = tar.pax(&records).dir("./");
    let mut bench = Bench::new();
    let root = bench.layer(tar).unwrap();
    for file in ["f", "d", "s", "p", "."] {
        let path = root.join(file);
        for name in names {
            assert_eq!(xattr(&path, name), None, "{name} of {file}");
        }
    }
}

#[test]
fn xattrs_too_large_are_refused_and_not_kept() {
    if !is_root() {
        return;
    }
    let value = vec![b'x'; 65_537];
    refused(&mut Bench::new(), Tar::new().pax(&[("SCHILY.xattr.user.x", &value)]).file("f", b""));
    let name = format!("SCHILY.xattr.user.{}", "n".repeat(300));
    refused(&mut Bench::new(), Tar::new().pax(&[(&name, b"")]).file("f", b""));
    refused(&mut Bench::new(), Tar::new().pax(&[("SCHILY.xattr.user.a\0b", b"")]).file("f", b""));
    // 4 GiB are announced, none of which is read.
    let text = refused(&mut Bench::new(), Tar::new().header(b'x', "pax", "", 4 << 30, |_| {}));
    assert!(text.contains("larger than 1 MiB"), "{text}");
}

#[test]
fn nothing_is_below_a_whiteout() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().dir("x").file("x/f", b"")).unwrap();
    let text = refused(&mut bench, Tar::new().file(".wh.x/f", b""));
    assert!(text.contains("below a whiteout"), "{text}");
    refused(&mut bench, Tar::new().file("x/.wh.y/z/f", b""));
    refused(&mut bench, Tar::new().dir("x/.wh.y/z"));
    refused(&mut bench, Tar::new().hardlink("h", ".wh.x"));
    refused(&mut bench, Tar::new().symlink("s", ".wh.y").file("s/f", b""));
    let root = bench.layer(Tar::new().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"")).unwrap();
    assert_eq!(names(&root), [b""; 0]);
}

#[test]
fn what_is_kept_until_the_end_is_bounded() {
    if !is_root() {
        return;
    }
    let long = format!("{}/", "d".repeat(250)).repeat(16);
    let mut tar = Tar::new();
    for _ in 0..9000 {
        tar = tar.pax(&[("path", long.as_bytes())]).dir("x");
    }
    let text = refused(&mut Bench::new(), tar);
    assert!(text.contains("too many directories"), "{text}");
}

#[test]
fn hardlinks_are_to_what_the_layer_shows() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().file("f", b"secret").file("d/f", b"secret")).unwrap();
    bench.layer(Tar::new().file(".wh.f", b"").file("d/.wh..wh..opq", b"")).unwrap();
    for target in ["f", "d/f"] {
        let text = refused(&mut bench, Tar::new().hardlink("h", target));
        assert!(text.contains("does not exist"), "{text}");
        bench.layers.pop();
        std::fs::remove_dir_all(bench.dir.path().join(bench.layers.len().to_string())).unwrap();
    }
    // To a symlink is to the symlink, wherever it leads.
    let root = bench.layer(Tar::new().symlink("s", "/outside").hardlink("h", "s")).unwrap();
    let (s, h) = (root.join("s"), root.join("h"));
    let inode = |path: &Path| std::fs::symlink_metadata(path).unwrap().ino();
    assert_eq!(inode(&s), inode(&h));
    assert_eq!(std::fs::read_link(h).unwrap(), Path::new("/outside"));
}

#[test]
fn kinds_replace_each_other_from_layer_to_layer() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().dir("d").file("d/x", b"1").file("f", b"1").symlink("s", "d")).unwrap();
    let tar = Tar::new().file("d", b"2").dir("f").file("f/y", b"2").dir("s").file("s/z", b"2");
    let root = bench.layer(tar).unwrap();
    assert!(std::fs::symlink_metadata(root.join("d")).unwrap().is_file());
    assert_eq!(names(&root.join("f")), [b"y"]);
    assert_eq!(names(&root.join("s")), [b"z"]);
    assert_eq!(names(&root), [b"d", b"f", b"s"]);
    // On top, what the middle one made is what counts.
    let text = refused(&mut bench, Tar::new().hardlink("h", "d/x"));
    assert!(text.contains("does not exist"), "{text}");
}

#[test]
fn holes_are_not_copied_up() {
    if !is_root() {
        return;
    }
    let size = 64u64 << 30;
    let map = format!("0,3,{size},2");
    let real = (size + 2).to_string();
    let mut bench = Bench::new();
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.size", real.as_bytes()), ("GNU.sparse.map", map.as_bytes())];
    bench.layer(Tar::new().pax(records).file("f", b"abcde")).unwrap();
    let root = bench.layer(Tar::new().hardlink("h", "f")).unwrap();
    let file = std::fs::File::open(root.join("h")).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), size + 2);
    assert!(metadata.blocks() < 1000, "{} blocks", metadata.blocks());
    let mut ends = [0; 5];
    file.read_exact_at(&mut ends[..3], 0).unwrap();
    file.read_exact_at(&mut ends[3..], size).unwrap();
    assert_eq!(&ends, b"abcde");
}

#[test]
fn holes_and_copies_count() {
    if !is_root() {
        return;
    }
    let unpack_within = |most: u64, layers: Vec<Tar>| -> Result<()> {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let mut lowers = Lowers::within(&crate::image::budget::Budget::new(Some(most), 0));
        for (i, tar) in layers.into_iter().enumerate() {
            let root = dir.path().join(i.to_string());
            std::fs::create_dir(&root).unwrap();
            let fd = open_root(rustix::fs::CWD, &root).unwrap();
            unpack(&mut Archive::new(&*tar.end(), "it"), fd.as_fd(), &lowers, "it")?;
            lowers.push(fd);
        }
        Ok(())
    };
    let sparse = || {
        let records: &[(&str, &[u8])] = &[("GNU.sparse.size", b"1000"), ("GNU.sparse.map", b"0,3")];
        Tar::new().pax(records).file("f", b"abc")
    };
    let copied = || vec![sparse(), Tar::new().hardlink("a", "f"), Tar::new().hardlink("b", "f")];
    unpack_within(997, vec![sparse()]).unwrap();
    unpack_within(997 + 2000, copied()).unwrap();
    for (most, layers) in [(996, vec![sparse()]), (996 + 2000, copied())] {
        let error = unpack_within(most, layers).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        assert!(error.to_string().contains(&format!("more than {most} bytes")), "{error}");
    }
}
