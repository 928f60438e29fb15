//! A process is killed in the middle of whatever it does to a store, again and again: what was
//! stored stays, and what was half done goes when the store is opened.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use skep::image::Images;

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

/// Not a test of its own: what the killed process does.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    let images = Images::open(&root.join("store")).unwrap();
    loop {
        let image = images.import(root.join("b.tar"), Some("b:1")).unwrap();
        image.layers().unwrap();
        images.tag("b:1", "b:2").unwrap();
        images.remove("b:1").unwrap();
        images.remove("b:2").unwrap();
    }
}

#[test]
fn a_store_survives_sigkill_at_any_instant() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: unpacking needs root");
        return;
    }
    let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    let root = dir.path().join("store");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(dir.path().join("a.tar"), archive(5, "a")).unwrap();
    std::fs::write(dir.path().join("b.tar"), archive(300, "b")).unwrap();
    let a = Images::open(&root).unwrap().import(dir.path().join("a.tar"), Some("a:1")).unwrap();
    a.layers().unwrap();
    let alone = names(&root);
    for round in 0..30 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .spawn();
        let mut child = Child(child.unwrap());
        // The instant is arbitrary: the assertions hold at each.
        std::thread::sleep(Duration::from_micros(5_000 + 3_700 * round));
        child.0.kill().unwrap();
        assert_eq!(child.0.wait().unwrap().signal(), Some(9), "the victim failed by itself");

        let images = Images::open(&root).unwrap();
        assert_eq!(images.find("a:1").unwrap().id(), a.id());
        for summary in images.list().unwrap() {
            let image = images.find(&summary.id.hex()).unwrap();
            let files: usize = image.layers().unwrap().iter().map(|layer| count(layer)).sum();
            assert_eq!(files, if image.id() == a.id() { 5 } else { 300 });
            if image.id() != a.id() {
                images.remove(&summary.id.hex()).unwrap();
            }
        }
        assert_eq!(names(&root), alone, "round {round}");
    }
}

/// All files of the store, but those of unpacked layers.
fn names(root: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for directory in ["images", "images/blobs/sha256", "layers", "locks", "staging"] {
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
