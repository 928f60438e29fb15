//! What is written through an overlay, committed, exported, squashed and compared: the kernel's own
//! overlay and umoci are the judges.

mod trees;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use skep::ErrorKind;
use skep::image::{ArchiveFormat, ChangeKind, Commit, Image, Images, RunConfig};
use trees::{File, assert_same, describe, merged, overlay, path_of, tree};

/// cap_net_raw=ep.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: overlays need root");
    }
    root
}

/// A store with an image of two layers, and a container's directories.
struct Bench {
    dir: tempfile::TempDir,
    base: Image,
}

impl Bench {
    fn new() -> Bench {
        // On a tmpfs, if there is one: nothing here is about disks, which are busy.
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("skep");
        let dir = builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap();
        for name in ["store", "upper", "work", "first", "second"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let first = dir.path().join("first");
        write(&first, "etc/passwd", "root");
        write(&first, "etc/issue", "Debian");
        write(&first, "usr/share/doc/a/copyright", "free");
        write(&first, "usr/share/doc/b/copyright", "free");
        write(&first, "usr/bin/tool", "binary");
        fs::hard_link(first.join("usr/bin/tool"), first.join("usr/bin/alias")).unwrap();
        symlink("usr/bin", first.join("bin")).unwrap();
        write(&first, "var/cache/x", "cached");
        fs::set_permissions(first.join("var"), fs::Permissions::from_mode(0o750)).unwrap();
        let images = Images::open(&dir.path().join("store")).unwrap();
        let base = images.import(archive(&dir, &first), Some("base:1")).unwrap();
        let second = dir.path().join("second");
        write(&second, "etc/motd", "hello");
        write(&second, "opt/app/main", "program");
        let commit = Commit::new().reference("base:2").time(UNIX_EPOCH);
        let base = base.commit(&second, &commit).unwrap();
        Bench { dir, base }
    }

    fn images(&self) -> Images {
        Images::open(&self.path("store")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn upper(&self) -> PathBuf {
        self.path("upper")
    }

    /// The container's root.
    fn root(&self) -> OwnedFd {
        let (upper, work) = (self.upper(), self.path("work"));
        overlay(&self.base.layers().unwrap(), Some((&upper, &work)))
    }
}

/// What GNU tar makes of a directory.
fn archive(dir: &tempfile::TempDir, tree: &Path) -> PathBuf {
    let path = dir.path().join("archive.tar");
    run(Command::new("tar").arg("-C").arg(tree).arg("-cf").arg(&path).arg("."));
    path
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(root: &Path, name: &str, content: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Everything that a container may do to its files.
fn change(root: &Path) {
    write(root, "etc/passwd", "root and others");
    fs::remove_file(root.join("etc/issue")).unwrap();
    fs::remove_dir_all(root.join("usr/share/doc/a")).unwrap();
    // Opaque, with other contents.
    fs::remove_dir_all(root.join("usr/share/doc/b")).unwrap();
    write(root, "usr/share/doc/b/new", "new");
    // A directory in the place of a file, and the other way round.
    fs::remove_file(root.join("opt/app/main")).unwrap();
    write(root, "opt/app/main/inner", "inner");
    fs::remove_dir_all(root.join("var/cache")).unwrap();
    write(root, "var/cache", "a file");
    // One of two links is written to.
    write(root, "usr/bin/alias", "changed");
    write(root, "new/f", "x");
    fs::hard_link(root.join("new/f"), root.join("new/g")).unwrap();
    symlink("../../outside", root.join("new/link")).unwrap();
    fs::set_permissions(root.join("new/f"), fs::Permissions::from_mode(0o6711)).unwrap();
    chown(root.join("new/g"), Some(3_000_000), Some(33)).unwrap();
    rustix::fs::setxattr(
        root.join("new/f"),
        "security.capability",
        CAPABILITY,
        XattrFlags::empty(),
    )
    .unwrap();
    rustix::fs::setxattr(root.join("new"), "user.note", b"a=b\n\0", XattrFlags::empty()).unwrap();
    let node = |name: &str, kind: FileType, device: u64| {
        rustix::fs::mknodat(CWD, root.join(name), kind, Mode::RUSR, device).unwrap();
    };
    node("new/fifo", FileType::Fifo, 0);
    node("new/null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("new/socket", FileType::Socket, 0);
    let long = "d".repeat(120);
    write(root, &format!("new/{long}/{long}/file"), "deep");
    write(root, "new/schön", "not ASCII");
    fs::write(root.join("new").join(OsStr::from_bytes(b"\xff\xfe")), "not UTF-8").unwrap();
    symlink("t".repeat(300), root.join("new/long-link")).unwrap();
    fs::File::create(root.join("new/sparse")).unwrap().set_len(3 << 20).unwrap();
    let old = fs::File::options().write(true).open(root.join("new/g")).unwrap();
    old.set_modified(UNIX_EPOCH - Duration::from_millis(1500)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).unwrap();
}

/// What an archive can have of a tree.
fn without_sockets(mut tree: BTreeMap<PathBuf, File>) -> BTreeMap<PathBuf, File> {
    tree.retain(|_, file| file.mode & 0o170_000 != 0o140_000);
    tree
}

/// The same without overlayfs, which counts a lower file's names, hidden ones too.
fn without_hidden_names(mut tree: BTreeMap<PathBuf, File>) -> BTreeMap<PathBuf, File> {
    let tool = tree.get_mut(Path::new("usr/bin/tool")).unwrap();
    assert_eq!(tool.links, 2);
    tool.links = 1;
    tree
}

#[test]
fn a_committed_layer_shows_what_the_container_saw() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let root = bench.root();
    change(&path_of(&root));
    let seen = without_sockets(tree(&path_of(&root)));
    let image = bench.base.commit(bench.upper(), &Commit::new().reference("app:1")).unwrap();
    assert_eq!(image.references()[0].to_string(), "docker.io/library/app:1");
    assert_eq!(image.manifest().layers.len(), 3);
    assert_same(&merged(&image.layers().unwrap()), &seen);
    assert_eq!(seen[Path::new("new/f")].xattrs.len(), 1);
    assert!(!seen.contains_key(Path::new("usr/share/doc/b/copyright")));

    let seen = without_hidden_names(seen);
    let squashed = image.squash(&Commit::new().reference("flat:1")).unwrap();
    assert_eq!(squashed.manifest().layers.len(), 1);
    assert_same(&tree(&squashed.layers().unwrap()[0]), &seen);
    assert_eq!(squashed.diff(&image).unwrap(), []);

    let exported = bench.path("exported.tar");
    image.export(&exported).unwrap();
    let imported = bench.images().import(&exported, None).unwrap();
    assert_same(&tree(&imported.layers().unwrap()[0]), &seen);
    // GNU tar is the judge of the archive itself.
    let extracted = bench.path("extracted");
    fs::create_dir(&extracted).unwrap();
    let gnu = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
    run(Command::new("tar").arg("-C").arg(&extracted).args(gnu).arg(&exported));
    assert_same(&tree(&extracted), &seen);
}

#[test]
fn umoci_unpacks_what_is_committed_and_saved() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let root = bench.root();
    change(&path_of(&root));
    let seen = without_hidden_names(without_sockets(tree(&path_of(&root))));
    bench.base.commit(bench.upper(), &Commit::new().reference("localhost/app:1")).unwrap();
    let saved = bench.path("saved.tar");
    bench.images().save(&["localhost/app:1"], &saved, ArchiveFormat::Oci).unwrap();
    let layout = bench.path("layout");
    fs::create_dir(&layout).unwrap();
    run(Command::new("tar").arg("-C").arg(&layout).arg("-xf").arg(&saved));
    let bundle = bench.path("bundle");
    let image = format!("{}:localhost/app:1", layout.display());
    let umoci = Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle).output();
    let Ok(umoci) = umoci else {
        assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "umoci is missing");
        return eprintln!("skipped: umoci is missing");
    };
    assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
    assert_same(&tree(&bundle.join("rootfs")), &seen);
}

#[test]
fn podman_unpacks_what_is_committed_and_saved() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let root = bench.root();
    change(&path_of(&root));
    let seen = without_hidden_names(without_sockets(tree(&path_of(&root))));
    bench.base.commit(bench.upper(), &Commit::new().reference("localhost/app:1")).unwrap();
    let saved = bench.path("saved.tar");
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        bench.images().save(&["localhost/app:1"], &saved, format).unwrap();
        let storage = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
        let podman = || {
            let mut podman = Command::new("podman");
            podman.arg("--root").arg(storage.path().join("root"));
            podman
                .arg("--runroot")
                .arg(storage.path().join("run"))
                .args(["--storage-driver", "vfs"]);
            podman
        };
        if podman().arg("version").output().is_err() {
            assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "podman is missing");
            return eprintln!("skipped: podman is missing");
        }
        run(podman().args(["load", "--input"]).arg(&saved));
        let mounted = run(podman().args(["image", "mount", "localhost/app:1"]));
        let mut theirs = tree(Path::new(mounted.trim()));
        for (name, theirs) in &mut theirs {
            // podman 4.3 leaves the root the date of its unpacking, and others none before 1970.
            let date = seen.get(name).map(|seen| seen.mtime).unwrap_or_default();
            if name == Path::new("") || (date.0 < 0 && theirs.mtime == (0, 0)) {
                theirs.mtime = date;
            }
        }
        assert_same(&theirs, &seen);
    }
}

#[test]
fn changes_are_told_by_path() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let root = bench.root();
    change(&path_of(&root));
    let image = bench.base.commit(bench.upper(), &Commit::new()).unwrap();
    let changes = image.diff(&bench.base).unwrap();
    let of = |kind: ChangeKind| {
        let paths = changes.iter().filter(|change| change.kind == kind);
        paths.map(|change| change.path.to_str().unwrap_or("?").to_owned()).collect::<Vec<_>>()
    };
    let expected = ["/", "/etc/passwd", "/opt/app/main", "/usr/bin/alias", "/var/cache"];
    assert_eq!(of(ChangeKind::Changed), expected);
    let expected = ["/etc/issue", "/usr/share/doc/a", "/usr/share/doc/b/copyright"];
    assert_eq!(of(ChangeKind::Deleted), expected);
    let long = "d".repeat(120);
    let added = of(ChangeKind::Added);
    for name in ["/new", "/new/f", "/new/null", "/opt/app/main/inner", "/usr/share/doc/b/new", "?"]
    {
        assert!(added.iter().any(|path| path == name), "{name} of {added:?}");
    }
    assert!(added.contains(&format!("/new/{long}/{long}/file")));
    assert_eq!(added.len(), 15);
    let back = bench.base.diff(&image).unwrap();
    assert_eq!(back.iter().filter(|change| change.kind == ChangeKind::Changed).count(), 5);
    assert!(back.iter().any(|c| c.path == Path::new("/usr/share/doc/a/copyright")));
    assert_eq!(bench.base.diff(&bench.base).unwrap(), []);
}

#[test]
fn the_same_tree_is_the_same_image_at_a_fixed_time() {
    if !is_root() {
        return;
    }
    let commit = Commit::new().time(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let ids: Vec<_> = (0..2)
        .map(|_| {
            let bench = Bench::new();
            let base = bench.base.squash(&commit).unwrap();
            let root = bench.root();
            change(&path_of(&root));
            let image = base.commit(bench.upper(), &commit).unwrap();
            let file = describe(&image.layers().unwrap()[1].join("new/f"));
            assert_eq!(file.mtime, (1_700_000_000, 0));
            assert_eq!(image.config().created.as_deref(), Some("2023-11-14T22:13:20Z"));
            (*base.id(), *image.id(), *image.digest())
        })
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn what_changed_nothing_adds_no_layer() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    drop(bench.root());
    let config = RunConfig { cmd: Some(vec!["/bin/tool".into()]), ..RunConfig::default() };
    let commit = Commit::new().config(config).author("me").comment("why").created_by("tool");
    let image = bench.base.commit(bench.upper(), &commit).unwrap();
    assert_eq!(image.manifest().layers, bench.base.manifest().layers);
    assert_eq!(image.config().config.cmd.as_deref().unwrap(), ["/bin/tool"]);
    let last = image.config().history.last().unwrap();
    assert!(last.empty_layer);
    assert_eq!(last.comment.as_deref(), Some("why"));
    assert_eq!(image.config().author.as_deref(), Some("me"));
    assert_ne!(image.id(), bench.base.id());
}

#[test]
fn what_a_layer_cannot_hold_is_refused() {
    if !is_root() {
        return;
    }
    let refused = |make: &dyn Fn(&Path)| {
        let bench = Bench::new();
        make(&bench.upper());
        let before = bench.images().list().unwrap();
        let error = bench.base.commit(bench.upper(), &Commit::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(bench.images().list().unwrap(), before);
        assert_eq!(fs::read_dir(bench.path("store/staging")).unwrap().count(), 0);
        error.to_string()
    };
    let message = refused(&|upper| write(upper, "etc/.wh.passwd", ""));
    assert!(message.contains("/etc/.wh.passwd"), "{message}");
    refused(&|upper| fs::create_dir_all(upper.join("d/".repeat(257))).unwrap());
    let message = refused(&|upper| {
        fs::create_dir(upper.join("renamed")).unwrap();
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(upper.join("renamed"), "trusted.overlay.redirect", b"x", flags)
            .unwrap();
    });
    assert!(message.contains("redirect_dir"), "{message}");
    let message = refused(&|upper| {
        write(upper, "f", "");
        let flags = XattrFlags::empty();
        rustix::fs::setxattr(upper.join("f"), "trusted.overlay.metacopy", b"", flags).unwrap();
    });
    assert!(message.contains("metacopy"), "{message}");
    // As deep as it goes.
    let bench = Bench::new();
    fs::create_dir_all(bench.upper().join("d/".repeat(256))).unwrap();
    let image = bench.base.commit(bench.upper(), &Commit::new()).unwrap();
    image.layers().unwrap();
}

#[test]
fn what_belongs_to_a_host_or_has_no_form_is_left_out() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    write(&bench.upper(), "f", "x");
    let long = vec![b'v'; 5000];
    for (name, value) in [
        ("user.kept", &long[..]),
        ("user.with=sign", b"x"),
        ("user.overlay.opaque", b"y"),
        ("trusted.mine", b"x"),
    ] {
        rustix::fs::setxattr(bench.upper().join("f"), name, value, XattrFlags::empty()).unwrap();
    }
    let image = bench.base.commit(bench.upper(), &Commit::new()).unwrap();
    let file = describe(&image.layers().unwrap()[2].join("f"));
    let kept: Vec<_> = file.xattrs.into_iter().collect();
    assert_eq!(kept, [(c"user.kept".to_owned(), long)]);
}

#[test]
fn a_history_has_a_line_for_each_layer() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    write(&bench.upper(), "f", "x");
    let commit = Commit::new().comment("mine").time(UNIX_EPOCH);
    let image = bench.base.commit(bench.upper(), &commit).unwrap();
    let flat = image.squash(&commit).unwrap();
    for image in [&image, &flat] {
        let steps = image.history();
        let layers: Vec<_> = steps.iter().filter_map(|step| step.layer.clone()).collect();
        assert_eq!(layers, image.manifest().layers);
        let last = &steps[steps.len() - 1].history;
        assert_eq!(last.comment.as_deref(), Some("mine"));
        assert_eq!(last.created.as_deref(), Some("1970-01-01T00:00:00Z"));
    }
    assert_eq!((image.history().len(), flat.history().len()), (3, 4));
}

#[test]
fn a_layer_has_a_limit_if_it_is_given_one() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    fs::File::create(bench.upper().join("a")).unwrap().set_len(1000).unwrap();
    let limited = |bytes| bench.base.commit(bench.upper(), &Commit::new().max_size(bytes));
    limited(1000).unwrap();
    assert_eq!(limited(999).unwrap_err().kind(), ErrorKind::ResourceExhausted);
    // Nobody would live to see all of its zeros written.
    fs::File::create(bench.upper().join("b")).unwrap().set_len(1 << 42).unwrap();
    let error = limited(1 << 30).unwrap_err();
    assert!(error.to_string().contains("/b"), "{error}");
    assert_eq!(fs::read_dir(bench.path("store/staging")).unwrap().count(), 0);
}

#[test]
fn an_image_that_is_gone_or_has_no_name_is_told() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let bad = Commit::new().reference("Bad");
    let error = bench.base.commit(bench.upper(), &bad).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    bench.images().remove("base:2").unwrap();
    let error = bench.base.commit(bench.upper(), &Commit::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A generator of numbers, the same ones each time (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Something that a container might do, at one of few names, so that much meets.
fn change_at_random(root: &Path, random: &mut Random) {
    let depth = 1 + random.below(3);
    let name: PathBuf = (0..depth).map(|_| ["a", "b", "c"][random.below(3) as usize]).collect();
    let path = root.join(&name);
    let other = root.join(["a", "b", "c"][random.below(3) as usize]);
    // What fails (a parent that is a file) is not done.
    let _ = match random.below(8) {
        0 => fs::create_dir_all(&path),
        1 => fs::write(&path, name.as_os_str().as_bytes()),
        2 => fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)),
        3 => symlink("b", &path),
        4 => fs::hard_link(&other, &path),
        5 => {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700 + random.below(64) as u32))
        }
        6 => fs::rename(&path, &other),
        _ => fs::remove_dir_all(&path).and_then(|()| fs::create_dir(&path)),
    };
}

#[test]
fn layers_merge_as_overlayfs_merges_them() {
    if !is_root() {
        return;
    }
    for seed in 0..30 {
        let bench = Bench::new();
        let mut random = Random(seed);
        let mut image = bench.base.clone();
        for layer in 0..4 {
            let (upper, work) =
                (bench.path(&format!("u{layer}")), bench.path(&format!("w{layer}")));
            fs::create_dir(&upper).unwrap();
            fs::create_dir(&work).unwrap();
            let before = image.clone();
            let root = overlay(&before.layers().unwrap(), Some((&upper, &work)));
            for _ in 0..12 {
                change_at_random(&path_of(&root), &mut random);
            }
            let seen = tree(&path_of(&root));
            drop(root);
            image = before.commit(&upper, &Commit::new()).unwrap();
            let mut ours = merged(&image.layers().unwrap());
            if image.manifest().layers.len() == before.manifest().layers.len() {
                // Nothing was left of it but the directory's date.
                ours.get_mut(Path::new("")).unwrap().mtime = seen[Path::new("")].mtime;
            }
            assert_same(&ours, &seen);
            assert_is_diff(
                &merged(&before.layers().unwrap()),
                &ours,
                &image.diff(&before).unwrap(),
            );
        }
        let mut kernel = merged(&image.layers().unwrap());
        let flat = image.squash(&Commit::new()).unwrap();
        let mut flat = tree(&flat.layers().unwrap()[0]);
        for file in kernel.values_mut().chain(flat.values_mut()) {
            // Overlayfs counts the names that are hidden.
            file.links = 0;
        }
        assert_same(&flat, &kernel);
    }
}

/// Asserts that `changes` are what is other in `new` than in `old`.
fn assert_is_diff(
    old: &BTreeMap<PathBuf, File>,
    new: &BTreeMap<PathBuf, File>,
    changes: &[skep::image::Change],
) {
    let mut expected = Vec::new();
    let absolute = |name: &Path| Path::new("/").join(name);
    for (name, file) in new {
        let is_directory = file.mode & 0o170_000 == 0o040_000;
        match old.get(name) {
            None => expected.push((absolute(name), ChangeKind::Added)),
            Some(was) => {
                let dated = (was.mtime == file.mtime) || is_directory;
                let same = (was.mode, was.owner, was.size, &was.contents, &was.xattrs)
                    == (file.mode, file.owner, file.size, &file.contents, &file.xattrs);
                if !same || !dated {
                    expected.push((absolute(name), ChangeKind::Changed));
                }
            }
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        // Only the topmost of what is gone, unless a file took its place.
        let parent = new.get(name.parent().unwrap());
        if parent.is_some_and(|parent| parent.mode & 0o170_000 == 0o040_000) {
            expected.push((absolute(name), ChangeKind::Deleted));
        }
    }
    expected.sort();
    let mut found: Vec<_> = changes.iter().map(|c| (c.path.clone(), c.kind)).collect();
    found.sort();
    assert_eq!(found, expected);
}

/// Tells a copy of this program that it may open few files.
const FEW_FILES: &str = "SKEP_TEST_FEW_FILES";

#[test]
fn many_layers_need_few_open_files() {
    if !is_root() {
        return;
    }
    if std::env::var_os(FEW_FILES).is_none() {
        let script = r#"ulimit -n 256 && exec "$0" --exact many_layers_need_few_open_files"#;
        let program = std::env::current_exe().unwrap();
        run(Command::new("sh").args(["-c", script]).arg(program).env(FEW_FILES, "1"));
        return;
    }
    let bench = Bench::new();
    let mut image = bench.base.clone();
    for layer in 0..130 {
        let upper = bench.path("one");
        write(&upper, &format!("{}{layer}", "d/".repeat(20)), "x");
        image = image.commit(&upper, &Commit::new()).unwrap();
        fs::remove_dir_all(&upper).unwrap();
    }
    let changes = image.diff(&bench.base).unwrap();
    assert_eq!(changes.len(), 20 + 130);
    image.export(bench.path("exported.tar")).unwrap();
}
