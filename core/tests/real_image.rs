//! A real Debian image, in the three forms tools save it in, against what umoci unpacks.
//!
//! Runs when `SKEP_TEST_IMAGES` names the directory that `tests/images/make.sh` filled; needs root
//! and umoci. The layers are looked at through an overlay mounted nowhere, so that the kernel is
//! the judge of whiteouts and opaque marks.

mod trees;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use skep::image::Images;
use trees::{assert_same, describe, merged, tree};

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

    let started = describe(dir.path()).mtime;
    let bundle = dir.path().join("bundle");
    let mut name = cache.join("app-oci").into_os_string();
    name.push(":app");
    let umoci = Command::new("umoci").args(["unpack", "--image"]).arg(name).arg(&bundle).output();
    let umoci = umoci.unwrap();
    assert!(umoci.status.success(), "{}", String::from_utf8_lossy(&umoci.stderr));
    let mut theirs = tree(&bundle.join("rootfs"));
    for (name, theirs) in &mut theirs {
        // Directories that the upper layer only implies: umoci leaves them the time of unpacking.
        if theirs.mtime >= started && theirs.mode & 0o170_000 == 0o040_000 {
            theirs.mtime = ours.get(name).map_or(theirs.mtime, |ours| ours.mtime);
        }
    }
    assert_same(&ours, &theirs);

    assert!(ours.len() > 2000, "{} files", ours.len());
    let file = |name: &str| ours.get(Path::new(name));
    assert!(file("etc/issue").is_none() && file("usr/share/doc/dpkg").is_none());
    assert_eq!(file("usr/lib/skep/through-usrmerge").unwrap().owner, (33, 33));
    assert_eq!(file("usr/bin/linked-sh").unwrap().contents, file("usr/bin/dash").unwrap().contents);
    assert_eq!(file("usr/bin/capable").unwrap().xattrs.len(), 2);
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
