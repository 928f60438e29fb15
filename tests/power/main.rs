//! A store on a disk whose power is cut: `tests/vm/power-cut` runs this in a virtual machine that it
//! kills. Elsewhere it does nothing.
//!
//! `SKEP_TEST_POWER` says what is to be done, with the disk that is /dev/vdb:
//!
//! - `unpack`: makes two images, unpacks one, says so, and is cut off in the middle of the other;
//! - `again`: looks whether all is well, makes a third image and is cut off when that is unpacked;
//! - `look`: looks whether that is whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use skep::image::{Commit, Images, Prune};

/// What the script cuts the power at.
const CUT: &str = "cut the power now";

/// Of the layer that is cut off: all of them, those that the kernel has written back by then, and those
/// that are there.
const FILES: usize = 2500;
const WRITTEN_BACK: usize = 400;
const BEFORE_CUT: usize = 800;

#[test]
fn power() {
    let Ok(what) = std::env::var("SKEP_TEST_POWER") else { return };
    let disk = Path::new("/tmp/power");
    fs::create_dir(disk).unwrap();
    mount(Some("/dev/vdb"), disk, Some("ext4"), MsFlags::empty(), None::<&str>).unwrap();
    let store = disk.join("store");
    match what.as_str() {
        "unpack" => unpack(&store),
        "again" => again(&store),
        "look" => look(&store),
        other => panic!("{other}"),
    }
}

fn unpack(store: &Path) {
    fs::create_dir(store).unwrap();
    let images = Images::open(store).unwrap();
    let a = images.import(archive("a", 300), Some("a:1")).unwrap();
    a.layers().unwrap();
    println!("a:1 is unpacked");
    let upper = tempfile::tempdir().unwrap();
    for (name, content) in files("b", FILES) {
        let path = upper.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let b = a.commit(upper.path(), &Commit::new().reference("b:1")).unwrap();
    std::thread::spawn({
        let staging = store.join("staging");
        move || {
            let wait_for = |number| {
                while count(&staging) < number {
                    std::thread::yield_now();
                }
            };
            wait_for(WRITTEN_BACK);
            // As the kernel does, at any moment.
            rustix::fs::sync();
            wait_for(BEFORE_CUT);
            println!("{CUT}");
        }
    });
    b.layers().unwrap();
    panic!("the power was not cut in the middle");
}

fn again(store: &Path) {
    let left = count(&store.join("staging"));
    println!("{left} files were left half way");
    assert!((WRITTEN_BACK..FILES).contains(&left));
    let images = Images::open(store).unwrap();
    assert_eq!(count(&store.join("staging")), 0);
    assert_eq!(images.disk_usage().unwrap().unneeded, 0);
    assert_eq!(images.prune(Prune::Files).unwrap(), Default::default());
    assert_eq!(images.list().unwrap().len(), 2);
    let a = images.find("a:1").unwrap();
    let layers: Vec<PathBuf> =
        fs::read_dir(store.join("layers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(layers, [a.layers().unwrap()[0].parent().unwrap()], "of b:1 nothing is visible");
    assert!(is_whole(&layers[0].join("fs"), "a", 300));
    let b = images.find("b:1").unwrap().layers().unwrap();
    assert!(is_whole(&b[0], "a", 300) && is_whole(&b[1], "b", FILES));

    let c = images.import(archive("c", 300), Some("c:1")).unwrap();
    c.layers().unwrap();
    println!("{CUT}");
    loop {
        std::thread::park();
    }
}

fn look(store: &Path) {
    // What is there without skep's making it again.
    assert_eq!(fs::read_dir(store.join("layers")).unwrap().count(), 3, "c:1 was unpacked");
    let images = Images::open(store).unwrap();
    assert_eq!(images.list().unwrap().len(), 3);
    assert_eq!(images.disk_usage().unwrap().unneeded, 0);
    for (name, salt, number) in [("a:1", "a", 300), ("b:1", "b", FILES), ("c:1", "c", 300)] {
        let layers = images.find(name).unwrap().layers().unwrap();
        assert!(is_whole(layers.last().unwrap(), salt, number), "{name}");
    }
}

/// The files of a layer: their names and contents.
fn files(salt: &str, number: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let bytes = move |i: usize| format!("{salt}{i} ").repeat(i % 97 * 7).into_bytes();
    (0..number).map(move |i| (format!("{salt}{}/{i}", i % 9), bytes(i)))
}

fn archive(salt: &str, number: usize) -> PathBuf {
    let path = std::env::temp_dir().join(format!("skep-{salt}.tar"));
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    for (name, content) in files(salt, number) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, &*content).unwrap();
    }
    tar.finish().unwrap();
    path
}

/// Whether a directory has these files, with every byte of them, and no other.
fn is_whole(layer: &Path, salt: &str, number: usize) -> bool {
    let expected: BTreeMap<String, Vec<u8>> = files(salt, number).collect();
    let whole = |(name, content): (&String, &Vec<u8>)| {
        fs::read(layer.join(name)).is_ok_and(|found| found == *content)
    };
    expected.iter().all(whole) && count(layer) == number
}

/// The number of files below a directory, which others may be changing.
fn count(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let files = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count(&entry.path()),
        _ => 1,
    });
    files.sum()
}
