//! A real Debian image, in the three forms tools save it in, against what umoci unpacks.
//!
//! Runs when `SKEP_TEST_IMAGES` names the directory that `tests/images/make.sh` filled; needs root
//! and umoci. The layers are looked at through an overlay mounted nowhere, so that the kernel is
//! the judge of whiteouts and opaque marks.

mod trees;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep::image::Images;
use trees::{File, assert_same, describe, merged, tree};

fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("SKEP_TEST_IMAGES").map(PathBuf::from);
    if cache.is_none() {
        assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "SKEP_TEST_IMAGES is not set");
        eprintln!("skipped: SKEP_TEST_IMAGES does not name what tests/images/make.sh filled");
    }
    cache
}

fn store() -> (tempfile::TempDir, Images) {
    let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    let images = Images::open(dir.path()).unwrap();
    (dir, images)
}

#[test]
fn the_layers_are_what_umoci_unpacks() {
    let Some(cache) = cache() else { return };
    let (dir, images) = store();
    let image = images.load(cache.join("app-oci.tar")).unwrap();
    let layers = image.layers().unwrap();
    let ours = merged(&layers);

    assert_same(&ours, &by_umoci(&cache.join("app-oci"), "app", dir.path(), &ours));

    assert!(ours.len() > 2000, "{} files", ours.len());
    let file = |name: &str| ours.get(Path::new(name));
    assert!(file("etc/issue").is_none() && file("usr/share/doc/dpkg").is_none());
    assert_eq!(file("usr/lib/skep/through-usrmerge").unwrap().owner, (33, 33));
    assert_eq!(file("usr/bin/linked-sh").unwrap().contents, file("usr/bin/dash").unwrap().contents);
    assert_eq!(file("usr/bin/capable").unwrap().xattrs.len(), 2);
}

type Tree = BTreeMap<PathBuf, File>;

/// What umoci unpacks of the image `tag` in an OCI layout, in `dir`.
fn by_umoci(layout: &Path, tag: &str, dir: &Path, ours: &Tree) -> Tree {
    let started = describe(dir).mtime;
    let bundle = dir.join("bundle");
    let name = format!("{}:{tag}", layout.display());
    run(Command::new("umoci").args(["unpack", "--image", &name]).arg(&bundle));
    let mut theirs = tree(&bundle.join("rootfs"));
    take_times_of_implied(&mut theirs, started, ours);
    theirs
}

/// Directories that a layer only implies: others leave them the time of unpacking, and skep gives them
/// the lower layer's.
fn take_times_of_implied(theirs: &mut Tree, started: (i64, i64), ours: &Tree) {
    for (name, theirs) in theirs {
        if theirs.mtime >= started && theirs.mode & 0o170_000 == 0o040_000 {
            theirs.mtime = ours.get(name).map_or(theirs.mtime, |ours| ours.mtime);
        }
    }
}

/// What podman makes of it, in a storage of its own whose driver mounts nothing.
fn by_podman(layout: &Path, tag: &str, dir: &Path, ours: &Tree) -> Tree {
    let started = describe(dir).mtime;
    let at = |name: &str| dir.join(name).display().to_string();
    let podman = |arguments: &[&str]| {
        let storage = ["--storage-driver", "vfs", "--root", &at("podman"), "--runroot", &at("run")];
        run(Command::new("podman").args(storage).args(arguments).current_dir(dir))
    };
    // It makes a name of the path, which must be one.
    std::os::unix::fs::symlink(layout, dir.join("layout")).unwrap();
    let id = podman(&["pull", "--quiet", &format!("oci:layout:{tag}")]);
    let mut theirs = tree(Path::new(podman(&["image", "mount", id.trim()]).trim()));
    take_times_of_implied(&mut theirs, started, ours);
    // A root that no layer speaks of is 0555 there; skep's, as umoci's, can be written to by root.
    theirs.get_mut(Path::new("")).unwrap().mode = 0o040_755;
    theirs
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "takes a minute and the image that tests/images/big.sh makes; for hand, with --ignored"]
fn a_large_image_is_what_umoci_and_podman_unpack() {
    let cache = cache().unwrap().join("big-oci");
    let (dir, images) = store();
    let all = images.load_all(&cache).unwrap();
    // The other one, its sibling, comes second.
    let layers = all[0].layers().unwrap();
    assert!(layers.len() >= 5);
    let ours = merged(&layers);
    assert!(ours.values().map(|file| file.size).sum::<u64>() > 500 << 20);
    assert_same(&ours, &by_umoci(&cache, "big", dir.path(), &ours));
    assert_same(&ours, &by_podman(&cache, "big", dir.path(), &ours));
}

/// Not a test of its own: a process that unpacks the image and nothing else.
#[test]
fn unpacking_process() {
    let Some(directory) = std::env::var_os("SKEP_TEST_UNPACKS_IN") else { return };
    let images = Images::open(Path::new(&directory)).unwrap();
    let image = images.find(&images.list().unwrap()[0].id.to_string()).unwrap();
    let kib = |field: &str| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    // The peak begins anew: proc_pid_clear_refs(5).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = kib("VmRSS:");
    image.layers().unwrap();
    let added = kib("VmHWM:") - before;
    assert!((1024..64 << 10).contains(&added), "{added} KiB");
}

#[test]
fn unpacking_takes_little_memory() {
    let Some(cache) = cache() else { return };
    let (dir, images) = store();
    images.load(cache.join("app-oci.tar")).unwrap();
    let mut this = Command::new(std::env::current_exe().unwrap());
    this.args(["--exact", "unpacking_process"]).env("SKEP_TEST_UNPACKS_IN", dir.path());
    assert!(run(&mut this).contains("1 passed"));
    assert_ne!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn all_forms_of_the_image_have_the_same_layers() {
    let Some(cache) = cache() else { return };
    let (_dir, images) = store();
    let docker = images.load(cache.join("app.tar")).unwrap();
    let archive = images.load(cache.join("app-oci.tar")).unwrap();
    let layout = images.load(cache.join("app-oci")).unwrap();
    assert_eq!(archive.id(), layout.id());
    assert_eq!(docker.references()[0].to_string(), "localhost/app:1");
    for image in [&docker, &archive, &layout] {
        let config = &image.config().config;
        assert_eq!(config.cmd.as_deref().unwrap(), ["python3", "/srv/app.py"]);
        assert_eq!(config.env, ["PATH=/usr/local/bin:/usr/bin:/bin", "APP=skep"]);
        assert_eq!((&*config.user, &*config.working_dir), ("1000:1000", "/srv"));
        assert_eq!(config.labels["made-by"], "skep");
        assert_eq!(image.layers().unwrap(), docker.layers().unwrap());
    }
}

#[test]
fn the_root_file_system_is_imported_and_skopeo_reads_the_store() {
    let Some(cache) = cache() else { return };
    let (dir, images) = store();
    let image = images.import(cache.join("base.tar"), Some("base:1")).unwrap();
    assert!(image.layers().unwrap()[0].join("usr/bin/python3").exists());
    let layout = dir.path().join("images");
    let name = [b"oci:", layout.as_os_str().as_bytes(), b":docker.io/library/base:1"].concat();
    let skopeo = Command::new("skopeo")
        .args(["--insecure-policy", "inspect"])
        .arg(std::ffi::OsStr::from_bytes(&name))
        .output()
        .unwrap();
    assert!(skopeo.status.success(), "{}", String::from_utf8_lossy(&skopeo.stderr));
    let layer = image.manifest().layers[0].digest.to_string();
    assert!(String::from_utf8_lossy(&skopeo.stdout).contains(&layer));
}
