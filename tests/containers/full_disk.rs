//! A full disk: an error of its own kind, and a store as it was before.
//!
//! The disk is a tmpfs in a mount namespace of the test's own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use skep::image::{ArchiveFormat, Commit, Prune};
use skep::{Engine, Error, ErrorKind, Root};
use skep_tests::machine::with_private_mounts;
use skep_tests::temporary;
use tempfile::TempDir;

const DISK: usize = 12 << 20;

/// A small disk with a store on it, and room beside it for what fills it.
struct Disk(TempDir);

impl Disk {
    fn new() -> Disk {
        let directory = temporary("skep-disk-");
        let size = format!("size={DISK}");
        let flags = MsFlags::empty();
        mount(Some("skep"), directory.path(), Some("tmpfs"), flags, Some(size.as_str())).unwrap();
        Disk(directory)
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Takes all that is left, until what is returned is dropped.
    fn fill(&self) -> Filler {
        let path = self.0.path().join("filler");
        let mut file = File::create(&path).unwrap();
        // Page by page, until there is none.
        while file.write_all(&[1; 4096]).is_ok() {}
        Filler(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Every file below `path` with its size, sorted.
fn content(path: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut left = vec![path.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let size = if metadata.is_file() { metadata.len() } else { 0 };
            if metadata.is_dir() {
                left.push(entry.path());
            }
            found.push((entry.path(), size));
        }
    }
    found.sort();
    found
}

/// A tar of one file of `size` bytes.
fn archive(size: usize) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().prefix("skep-full-").tempfile().unwrap();
    let mut tar = tar::Builder::new(file.as_file());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size as u64);
    header.set_cksum();
    tar.append_data(&mut header, "data", &vec![7; size][..]).unwrap();
    tar.finish().unwrap();
    drop(tar);
    file
}

#[track_caller]
fn is_full<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert_eq!(error.errno(), Some(nix::libc::ENOSPC), "{error}");
    assert!(error.to_string().ends_with("; make room on its file system"), "{error}");
}

#[test]
fn an_image_that_does_not_fit_is_not_there() {
    with_private_mounts("full_disk::an_image_that_does_not_fit_is_not_there", || {
        let disk = Disk::new();
        let engine = Engine::open(disk.store()).unwrap();
        let images = engine.images();
        images.import(archive(1000).path(), Some("localhost/small:1")).unwrap();
        let before = content(&disk.store());

        is_full(images.import(archive(DISK).path(), Some("localhost/large:1")));
        assert_eq!(content(&disk.store()), before);
        assert_eq!(images.list().unwrap().len(), 1);

        // There is room for the archive and none for its files.
        let image = images.import(archive(DISK / 3 * 2).path(), None).unwrap();
        let before = content(&disk.store());
        is_full(image.layers());
        assert_eq!(content(&disk.store()), before);
        images.remove(&image.id().to_string()).unwrap();

        // The other is well.
        assert_eq!(images.find("localhost/small:1").unwrap().layers().unwrap().len(), 1);
    });
}

#[test]
fn a_start_and_a_store_that_do_not_fit_leave_nothing() {
    with_private_mounts("full_disk::a_start_and_a_store_that_do_not_fit_leave_nothing", || {
        let disk = Disk::new();
        let filler = disk.fill();
        is_full(Engine::open(disk.store()));
        assert_eq!(content(&disk.store()), [], "nothing half made");
        drop(filler);

        // What a store gets at its first container, such as its lock, stays.
        let first = Engine::open(disk.store()).unwrap();
        assert!(first.command(Root::host()).arg("true").status().unwrap().success());
        drop(first);
        let engine = Engine::open(disk.store()).unwrap();
        let before = content(&disk.store());
        let filler = disk.fill();
        is_full(engine.command(Root::host()).arg("true").status());
        assert_eq!(content(&disk.store()), before);
        drop(filler);
        assert!(engine.command(Root::host()).arg("true").status().unwrap().success());
    });
}

#[test]
fn what_cannot_be_written_is_not_there_and_what_is_not_needed_goes() {
    let name = "full_disk::what_cannot_be_written_is_not_there_and_what_is_not_needed_goes";
    with_private_mounts(name, || {
        let disk = Disk::new();
        let engine = Engine::open(disk.store()).unwrap();
        let images = engine.images();
        let image = images.import(archive(1 << 20).path(), Some("localhost/a:1")).unwrap();
        image.layers().unwrap();
        images.import(archive(2 << 20).path(), Some("localhost/b:1")).unwrap();
        let (saved, upper) = (disk.0.path().join("saved.tar"), disk.0.path().join("upper"));
        fs::write(&saved, "former").unwrap();
        fs::create_dir(&upper).unwrap();
        fs::write(upper.join("f"), "x").unwrap();
        // Its file stays.
        drop(image.lease().unwrap());
        let filler = disk.fill();
        let before = content(disk.0.path());

        is_full(images.save(&["localhost/a:1"], &saved, ArchiveFormat::Oci));
        is_full(image.export(&saved));
        is_full(image.commit(&upper, &Commit::new()));
        is_full(image.squash(&Commit::new()));
        assert_eq!(content(disk.0.path()), before);
        assert_eq!(fs::read(&saved).unwrap(), b"former");

        // There is no room for an index either, and a removal is to make some.
        images.remove("localhost/b:1").unwrap();
        assert_eq!(images.list().unwrap().len(), 1);
        image.commit(&upper, &Commit::new().reference("localhost/c:1")).unwrap();
        drop(filler);
        let _filler = disk.fill();
        assert_eq!(images.prune(Prune::Unused).unwrap().images.len(), 2);
        assert_eq!(images.list().unwrap(), []);
    });
}
