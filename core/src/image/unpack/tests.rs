//! Unpacking against the real kernel: what overlayfs will see, and that nothing gets out.

use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::*;
use crate::image::fixture::{Tar, is_root, read};

mod hostile;

/// Layers unpacked on top of each other, beside a file that nobody may touch.
struct Bench {
    dir: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        std::fs::write(dir.path().join("outside"), "untouched").unwrap();
        Bench { dir, layers: Vec::new() }
    }

    fn layer(&mut self, tar: Tar) -> Result<PathBuf> {
        let root = self.dir.path().join(self.layers.len().to_string());
        std::fs::create_dir(&root).unwrap();
        let mut lowers = Lowers::default();
        for layer in &self.layers {
            lowers.push(open_root(rustix::fs::CWD, layer).unwrap());
        }
        let fd = open_root(rustix::fs::CWD, &root).unwrap();
        let bytes = tar.end();
        let result = unpack(&mut Archive::new(&*bytes, "it"), fd.as_fd(), &lowers, "layer 1");
        self.layers.push(root.clone());
        assert_eq!(read(&self.dir.path().join("outside")).unwrap(), "untouched");
        result.map(|()| root)
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = std::fs::symlink_metadata(path);
    metadata.is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

fn is_opaque(path: &Path) -> bool {
    xattr(path, tree::OPAQUE).as_deref() == Some(b"y")
}

#[test]
fn attributes_are_those_of_the_archive() {
    if !is_root() {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut bench = Bench::new();
    let root = bench
        .layer(
            Tar::new()
                .pax(&[
                    ("uid", b"1000"),
                    ("gid", b"3000000"),
                    ("mtime", b"1234.5"),
                    ("SCHILY.xattr.security.capability", capability),
                    ("SCHILY.xattr.user.line", b"a\nb=c\0"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.mine", b"y"),
                ])
                .header(b'0', "f", "", 4, |block| block[100..107].copy_from_slice(b"0006755"))
                .data(b"data")
                .header(b'5', "d", "", 0, |block| block[100..107].copy_from_slice(b"0001777"))
                .file("d/inner", b"")
                .add(b'6', "fifo", "", b"")
                .header(b'3', "null", "", 0, |block| {
                    block[329..336].copy_from_slice(b"0000001");
                    block[337..344].copy_from_slice(b"0000003");
                })
                .symlink("link", "/outside"),
        )
        .unwrap();
    let file = root.join("f");
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&file)), (1000, 3_000_000, 0o6755));
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1234, 500_000_000));
    assert_eq!(read(&file).unwrap(), "data");
    assert_eq!(xattr(&file, "security.capability").unwrap(), capability);
    assert_eq!(xattr(&file, "user.line").unwrap(), b"a\nb=c\0");
    for dropped in ["trusted.overlay.redirect", "user.overlay.opaque", "trusted.mine"] {
        assert_eq!(xattr(&file, dropped), None, "{dropped}");
    }
    let directory = root.join("d");
    assert_eq!(mode(&directory), 0o1777);
    assert_eq!(std::fs::metadata(&directory).unwrap().mtime(), 1000);
    assert!(std::fs::metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    assert_eq!(std::fs::metadata(root.join("null")).unwrap().rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(std::fs::read_link(root.join("link")).unwrap(), Path::new("/outside"));
    assert_eq!(std::fs::symlink_metadata(root.join("link")).unwrap().mtime(), 1000);
}

/// In a thread of its own, whose umask is nobody else's.
#[test]
fn modes_and_owners_are_those_of_the_archive_wherever_it_is_unpacked() {
    if !is_root() {
        return;
    }
    let mode =
        |octal: &'static [u8; 7]| move |b: &mut [u8; 512]| b[100..107].copy_from_slice(octal);
    for umask in [0, 0o022, 0o077, 0o777] {
        let attributes = std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            rustix::process::umask(umask.into());
            let bench = Bench::new();
            // New files get this group, and new directories the bit as well.
            std::os::unix::fs::chown(bench.dir.path(), None, Some(1234)).unwrap();
            let setgid = std::fs::Permissions::from_mode(0o2777);
            std::fs::set_permissions(bench.dir.path(), setgid).unwrap();
            let mut bench = bench;
            let tar = Tar::new()
                .header(b'0', "f", "", 1, mode(b"0004755"))
                .data(b"1")
                .header(b'0', "w", "", 0, mode(b"0000666"))
                .header(b'0', "none", "", 0, mode(b"0000000"))
                .header(b'5', "d", "", 0, mode(b"0001777"))
                .header(b'5', "s", "", 0, mode(b"0002755"))
                .header(b'0', "s/f", "", 0, mode(b"0000644"))
                .header(b'5', "s/d", "", 0, mode(b"0000755"))
                .header(b'6', "s/fifo", "", 0, mode(b"0000622"))
                .file("implied/f", b"");
            let root = bench.layer(tar).unwrap();
            let of = |name: &str| {
                let file = std::fs::symlink_metadata(root.join(name)).unwrap();
                (file.mode() & 0o7777, file.uid(), file.gid())
            };
            let names =
                ["f", "w", "none", "d", "s", "s/f", "s/d", "s/fifo", "implied", "implied/f", "."];
            names.map(of)
        });
        let modes = [0o4755, 0o666, 0, 0o1777, 0o2755, 0o644, 0o755, 0o622, 0o755, 0o644, 0o755];
        assert_eq!(attributes.join().unwrap(), modes.map(|mode| (mode, 0, 0)), "{umask:o}");
    }
}

#[test]
fn whiteouts_hide_the_lower_layers_only() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().dir("d").file("d/old", b"").file("gone", b"").dir("both")).unwrap();
    let tar = Tar::new()
        .file(".wh.gone", b"")
        .file("kept", b"1")
        .file(".wh.kept", b"")
        .file(".wh.late", b"")
        .add(b'3', "device", "", b"")
        .file("late", b"2")
        .dir("d")
        .file("d/new", b"")
        .file("d/.wh..wh..opq", b"")
        .file(".wh.both", b"")
        .dir("both")
        .dir("reverse")
        .file(".wh.reverse", b"")
        .file(".wh..wh.plnk", b"");
    let root = bench.layer(tar).unwrap();
    assert!(is_whiteout(&root.join("gone")) && is_whiteout(&root.join("device")));
    assert_eq!(read(&root.join("kept")).unwrap(), "1");
    assert_eq!(read(&root.join("late")).unwrap(), "2");
    assert!(is_opaque(&root.join("d")) && root.join("d/new").exists());
    assert!(is_opaque(&root.join("both")) && is_opaque(&root.join("reverse")));
    let mut names: Vec<_> =
        std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["both", "d", "device", "gone", "kept", "late", "reverse"]);
}

#[test]
fn an_opaque_root_hides_each_lower_name() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().file("a", b"").dir("d").file("d/x", b"").file("f", b"")).unwrap();
    let root = bench.layer(Tar::new().file(".wh..wh..opq", b"").dir("d").file("f", b"2")).unwrap();
    assert!(is_whiteout(&root.join("a")));
    assert!(is_opaque(&root.join("d")));
    assert_eq!(read(&root.join("f")).unwrap(), "2");
    assert!(!is_opaque(&root));
}

#[test]
fn implied_parents_look_like_the_lower_layers() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench
        .layer(
            Tar::new()
                .header(b'5', "./", "", 0, |block| block[100..107].copy_from_slice(b"0000711"))
                .pax(&[("uid", b"7"), ("SCHILY.xattr.user.x", b"1")])
                .header(b'5', "d", "", 0, |block| block[100..107].copy_from_slice(b"0001770"))
                .symlink("lib", "usr/lib")
                .dir("usr/lib")
                .symlink("abs", "/usr/lib/../lib"),
        )
        .unwrap();
    let root = bench
        .layer(
            Tar::new()
                .file("d/new/x", b"")
                .file("lib/y", b"y")
                .file("abs/z", b"z")
                .hardlink("lib/h", "lib/y"),
        )
        .unwrap();
    assert_eq!(mode(&root), 0o711);
    let directory = root.join("d");
    assert_eq!((mode(&directory), mode(&root.join("d/new"))), (0o1770, 0o755));
    assert_eq!(std::fs::metadata(&directory).unwrap().uid(), 7);
    assert_eq!(xattr(&directory, "user.x").unwrap(), b"1");
    assert!(std::fs::symlink_metadata(root.join("lib")).is_err());
    assert_eq!(read(&root.join("usr/lib/y")).unwrap(), "y");
    assert_eq!(read(&root.join("usr/lib/z")).unwrap(), "z");
    assert_eq!(std::fs::metadata(root.join("usr/lib/h")).unwrap().nlink(), 2);
}

#[test]
fn a_directory_in_place_of_a_lower_symlink_is_a_directory() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    bench.layer(Tar::new().symlink("lib", "usr/lib").dir("usr/lib")).unwrap();
    let tar = Tar::new().file("lib/a", b"").dir("lib").file("lib/b", b"");
    let root = bench.layer(tar).unwrap();
    assert!(root.join("usr/lib/a").exists());
    assert!(root.join("lib/b").exists() && !root.join("usr/lib/b").exists());
}

#[test]
fn what_a_layer_hid_gives_nothing_to_it() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let tar = Tar::new().header(b'5', "d", "", 0, |b| b[100..107].copy_from_slice(b"0000700"));
    bench.layer(tar.file("d/f", b"secret")).unwrap();
    let root = bench.layer(Tar::new().file(".wh.d", b"").file("d/new", b"")).unwrap();
    assert_eq!(mode(&root.join("d")), 0o755);
    assert!(is_opaque(&root.join("d")));
    let error = bench.layer(Tar::new().hardlink("h", "d/f")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn hardlinks_reach_files_of_lower_layers() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let tar = Tar::new()
        .pax(&[("uid", b"5"), ("SCHILY.xattr.user.x", b"1")])
        .file("d/f", b"lower")
        .symlink("d/s", "f");
    bench.layer(tar).unwrap();
    bench.layer(Tar::new().file("other", b"")).unwrap();
    let root = bench.layer(Tar::new().hardlink("h", "/d/f").hardlink("s", "d/s")).unwrap();
    assert_eq!(read(&root.join("h")).unwrap(), "lower");
    let (h, f) = (root.join("h").metadata().unwrap(), root.join("d/f").metadata().unwrap());
    assert_eq!((h.ino(), h.uid(), h.mtime()), (f.ino(), 5, 1000));
    assert_eq!(xattr(&root.join("h"), "user.x").unwrap(), b"1");
    assert_eq!(std::fs::read_link(root.join("s")).unwrap(), Path::new("f"));
}

#[test]
fn the_last_entry_of_a_name_counts() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let tar = Tar::new()
        .file("a", b"1")
        .file("a", b"2")
        .dir("b")
        .file("b/x", b"")
        .symlink("b", "c")
        .symlink("c", "/outside")
        .file("c", b"file")
        .file("d", b"")
        .dir("d")
        .file("d/x", b"")
        .hardlink("a", "a");
    let root = bench.layer(tar).unwrap();
    assert_eq!(read(&root.join("a")).unwrap(), "2");
    assert_eq!(std::fs::read_link(root.join("b")).unwrap(), Path::new("c"));
    assert!(std::fs::symlink_metadata(root.join("c")).unwrap().is_file());
    assert_eq!(read(&root.join("c")).unwrap(), "file");
    assert!(root.join("d/x").exists());
}

#[test]
fn a_replaced_directory_is_not_dated_through_its_successor() {
    if !is_root() {
        return;
    }
    let tar = Tar::new()
        .pax(&[("mtime", b"5")])
        .dir("a/b")
        .dir("c/b")
        .symlink("a", "c")
        .dir("d/b")
        .symlink("d", "/");
    let mut bench = Bench::new();
    let root = bench.layer(tar).unwrap();
    assert_eq!(std::fs::metadata(root.join("c/b")).unwrap().mtime(), 1000);
    assert_eq!(std::fs::read_link(root.join("d")).unwrap(), Path::new("/"));
}

#[test]
fn symlinks_lead_nowhere_but_into_the_layer() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    let outside = bench.dir.path().display().to_string();
    let tar = Tar::new()
        .symlink("a", &outside)
        .file("a/outside", b"mine")
        .symlink("b", "../../../../..")
        .file("b/outside", b"mine")
        .symlink("c", "/proc/self/cwd")
        .file("c/x", b"")
        .hardlink("d", &format!("{outside}/outside"))
        .file("d", b"more");
    let root = bench.layer(tar).unwrap();
    assert_eq!(read(&root.join(outside.trim_start_matches('/')).join("outside")).unwrap(), "mine");
    assert_eq!(read(&root.join("outside")).unwrap(), "mine");
    assert!(root.join("proc/self/cwd/x").exists());
}

#[test]
fn hostile_entries_are_refused() {
    if !is_root() {
        return;
    }
    for (what, tar, cause) in [
        ("climbing", Tar::new().file("a/../../outside", b""), "climbs"),
        ("climbing", Tar::new().file("../outside", b""), "climbs"),
        ("climbing link", Tar::new().hardlink("a", "../outside"), "climbs"),
        ("absolute link", Tar::new().hardlink("a", "/etc/passwd"), "does not exist"),
        ("link to a directory", Tar::new().dir("d").hardlink("a", "d"), "is a directory"),
        ("link to the root", Tar::new().hardlink("a", "/"), "does not exist"),
        ("link to a whiteout", Tar::new().file(".wh.x", b"").hardlink("a", "x"), "not exist"),
        ("link into itself", Tar::new().file("a/b", b"").hardlink("a", "a/b"), "not exist"),
        ("below a file", Tar::new().file("a", b"").file("a/b", b""), "no directory"),
        ("loop", Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b""), "os error 40"),
        ("root as a file", Tar::new().file(".", b""), "root"),
        ("root as a link", Tar::new().symlink(".", "/etc"), "root"),
        ("whiteout of the root", Tar::new().file(".wh.", b""), "names no file"),
        ("whiteout of .", Tar::new().file("d/.wh..", b""), "names no file"),
        ("whiteout of ..", Tar::new().file("d/.wh...", b""), "names no file"),
        ("long component", Tar::new().pax(&[("path", &[b'x'; 256])]).file("x", b""), "36"),
    ] {
        let mut bench = Bench::new();
        let error = bench.layer(tar).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{what}: {error}");
        assert!(error.to_string().contains(cause), "{what}: {error}");
    }
}

#[test]
fn sparse_files_have_their_holes() {
    if !is_root() {
        return;
    }
    let map_1_0 = [b"1\n8192\n5\n".to_vec(), vec![0; 503], b"tail!".to_vec()].concat();
    let tar = Tar::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"v1.0"),
            ("GNU.sparse.realsize", b"8197"),
        ])
        .file("GNUSparseFile.0/v1.0", &map_1_0)
        .pax(&[("GNU.sparse.size", b"8197"), ("GNU.sparse.map", b"0,1,8192,4")])
        .file("v0.1", b"hail!")
        .pax(&[
            ("GNU.sparse.size", b"8197"),
            ("GNU.sparse.numblocks", b"1"),
            ("GNU.sparse.offset", b"8192"),
            ("GNU.sparse.numbytes", b"5"),
        ])
        .file("v0.0", b"tail!");
    let root = {
        let mut bench = Bench::new();
        let root = bench.layer(tar).unwrap();
        for (name, first) in [("v1.0", 0), ("v0.1", b'h'), ("v0.0", 0)] {
            let bytes = std::fs::read(root.join(name)).unwrap();
            assert_eq!((bytes.len(), bytes[0]), (8197, first), "{name}");
            let end: &[u8] = if name == "v0.1" { b"ail!\0" } else { b"tail!" };
            assert_eq!(&bytes[8192..], end, "{name}");
        }
        root
    };
    assert!(!root.exists());
}

/// GNU tar itself, in the four forms it has: more segments than two extended headers take.
#[test]
fn sparse_files_of_gnu_tar_are_read() {
    use std::os::unix::fs::FileExt;
    if !is_root() {
        return;
    }
    let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("holes")).unwrap();
    for i in 0..60u64 {
        file.write_all_at(&[i as u8 + 1; 5000], i * 65_536).unwrap();
    }
    file.set_len(60 * 65_536).unwrap();
    std::fs::write(dir.path().join("after"), "after").unwrap();
    let expected = std::fs::read(dir.path().join("holes")).unwrap();
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = std::process::Command::new("tar")
            .args(["-c", "--sparse", "-C"])
            .arg(dir.path())
            .args(format)
            .args(["holes", "after"])
            .output();
        let Ok(output) = output else {
            eprintln!("skipped: no tar");
            return;
        };
        // Small enough only if it was written as sparse.
        assert!(output.status.success() && output.stdout.len() < 1 << 20, "{format:?}");
        let mut bench = Bench::new();
        let root = bench.layer(Tar(output.stdout)).unwrap();
        assert!(std::fs::read(root.join("holes")).unwrap() == expected, "{format:?}");
        assert_eq!(read(&root.join("after")).unwrap(), "after", "{format:?}");
        let blocks = std::fs::metadata(root.join("holes")).unwrap().blocks();
        assert!(blocks * 512 < 1 << 20, "{format:?}: {blocks} blocks");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Whatever the archives say, in whatever order: nothing beside the layers changes, and the
    /// only failures are refusals.
    #[test]
    fn nothing_gets_out(entries in proptest::collection::vec(entry(), 1..24), cut in 0usize..24) {
        if !is_root() {
            return Ok(());
        }
        let mut bench = Bench::new();
        let top = bench.dir.path().display().to_string();
        let (lower, upper) = entries.split_at(cut.min(entries.len()));
        for layer in [lower, upper] {
            let tar = layer.iter().fold(Tar::new(), |tar, (flag, name, target)| {
                tar.add(*flag, name, &target.replace('@', &top), b"")
            });
            if let Err(error) = bench.layer(tar) {
                proptest::prop_assert_eq!(error.kind(), ErrorKind::InvalidData, "{}", error);
            }
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&top).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        proptest::prop_assert_eq!(names, ["0", "1", "outside"]);
        let outside = std::fs::metadata(bench.dir.path().join("outside")).unwrap();
        proptest::prop_assert_eq!((outside.nlink(), outside.mode() & 0o777), (1, 0o644));
    }
}

/// A member whose names meet often: `@` is the directory that holds the layers.
fn entry() -> impl proptest::strategy::Strategy<Value = (u8, String, String)> {
    use proptest::prelude::*;
    let component = prop_oneof![
        5 => "[abc]",
        1 => Just("..".to_owned()),
        1 => "\\.wh\\.[abc]",
        1 => Just(".wh..wh..opq".to_owned()),
        1 => Just("outside".to_owned()),
    ];
    let name = proptest::collection::vec(component, 1..4).prop_map(|name| name.join("/"));
    let target = prop_oneof![
        "[abc](/[abc])?",
        Just("/".to_owned()),
        Just("@/outside".to_owned()),
        Just("@".to_owned()),
        Just("..".to_owned()),
        Just("../../..".to_owned()),
        Just("../outside".to_owned()),
    ];
    (proptest::sample::select(&b"0125"[..]), name, target)
}
