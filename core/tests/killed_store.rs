//! A process is killed in the middle of whatever it does to a store, again and again: what was
//! stored stays, and what was half done goes when the store is opened.
//!
//! `SKEP_TEST_KILLS` says how often, 40 times if it does not.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use skep::image::{ArchiveFormat, Commit, Digest, Images, Prune};

/// Tells the copy of this program that is to be killed where its store is.
const VICTIM: &str = "SKEP_TEST_VICTIM";

/// Ends the child also if the test fails.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory on a tmpfs, if there is one: it is not the power that fails here, and a sync of a busy
/// disk is most of what all this takes.
fn in_memory() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("skep");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap()
}

fn archive(files: usize, salt: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for i in 0..files {
        let mut header = tar::Header::new_ustar();
        header.set_size(salt.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("d{}/{i}", i % 7), salt.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Does everything there is to do with `b.tar` and `upper`, and leaves nothing. The ids of all
/// images there were, with the number of their files.
fn work(root: &Path) -> HashMap<Digest, usize> {
    let images = Images::open(&root.join("store")).unwrap();
    let commit = Commit::new().time(UNIX_EPOCH);
    let b = images.import(root.join("b.tar"), Some("b:1")).unwrap();
    b.layers().unwrap();
    images.tag("b:1", "b:2").unwrap();
    let c = b.commit(root.join("upper"), &commit.clone().reference("c:1")).unwrap();
    c.layers().unwrap();
    let flat = c.squash(&commit.reference("c:1")).unwrap();
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        images.save(&["b:2", "c:1"], root.join("saved.tar"), format).unwrap();
    }
    // What was c:1 has lost its name.
    images.prune(Prune::Nameless).unwrap();
    images.remove("b:1").unwrap();
    images.remove("b:2").unwrap();
    images.remove("c:1").unwrap();
    images.prune(Prune::Files).unwrap();
    HashMap::from([(*b.id(), 300), (*c.id(), 320), (*flat.id(), 320)])
}

/// Not a test of its own: what the killed process does.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    loop {
        work(&root);
    }
}

#[test]
fn a_store_survives_sigkill_at_any_instant() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: unpacking needs root");
        return;
    }
    let dir = in_memory();
    let root = dir.path().join("store");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(dir.path().join("a.tar"), archive(5, "a")).unwrap();
    std::fs::write(dir.path().join("b.tar"), archive(300, "b")).unwrap();
    for i in 0..20 {
        std::fs::create_dir_all(dir.path().join("upper/u")).unwrap();
        std::fs::write(dir.path().join(format!("upper/u/{i}")), "u").unwrap();
    }
    let a = Images::open(&root).unwrap().import(dir.path().join("a.tar"), Some("a:1")).unwrap();
    a.layers().unwrap();
    let alone = names(&root);
    let begun = Instant::now();
    let mut files = work(dir.path());
    let once = begun.elapsed();
    files.insert(*a.id(), 5);
    assert_eq!(names(&root), alone, "undisturbed");
    let kills = std::env::var("SKEP_TEST_KILLS").map_or(40, |kills| kills.parse().unwrap());
    for round in 0..kills {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .spawn();
        let mut child = Child(child.unwrap());
        // The instant is arbitrary: the assertions hold at each. The golden ratio spreads them.
        let fraction = (f64::from(round) * 0.618_033_988).fract();
        std::thread::sleep(Duration::from_millis(5) + once.mul_f64(fraction));
        child.0.kill().unwrap();
        assert_eq!(child.0.wait().unwrap().signal(), Some(9), "the victim failed by itself");
        check(dir.path(), a.id(), &files);
        assert_eq!(names(&root), alone, "round {round}");
    }
}

/// Opens the store, looks whether every image in it is whole, and removes all but `a`. What was
/// saved is whole, too.
fn check(dir: &Path, a: &Digest, files: &HashMap<Digest, usize>) {
    let images = Images::open(&dir.join("store")).unwrap();
    assert_eq!(images.find("a:1").unwrap().id(), a);
    assert_eq!(images.disk_usage().unwrap().unneeded, 0, "opening sweeps all");
    for summary in images.list().unwrap() {
        let image = images.find(&summary.id.hex()).unwrap();
        // Reads every blob and checks its digest.
        let whole = dir.join("whole.tar");
        images.save(&[summary.id.hex()], &whole, ArchiveFormat::Docker).unwrap();
        let found: usize = image.layers().unwrap().iter().map(|layer| count(layer)).sum();
        assert_eq!(found, files[image.id()]);
        if image.id() != a {
            images.remove(&summary.id.hex()).unwrap();
        }
    }
    let saved = dir.join("saved.tar");
    if saved.exists() {
        let elsewhere = in_memory();
        let loaded = Images::open(elsewhere.path()).unwrap().load_all(&saved).unwrap();
        assert!(loaded.len() == 2 && loaded.iter().all(|image| files.contains_key(image.id())));
    }
}

/// All files of the store, but those of unpacked layers, and those of leases, which mean nothing
/// where nobody holds them.
fn names(root: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for directory in ["images", "images/blobs/sha256", "layers", "staging"] {
        let entries = std::fs::read_dir(root.join(directory)).unwrap();
        names.extend(entries.map(|entry| entry.unwrap().path()));
    }
    names.sort();
    names
}

fn count(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| if e.file_type().unwrap().is_dir() { count(&e.path()) } else { 1 }).sum()
}
