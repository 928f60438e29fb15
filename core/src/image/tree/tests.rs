//! What moves while it is looked at: a container's files, when the container runs and means harm.

use std::os::unix::fs::symlink;

use super::merged::Directory;

/// A directory `inner` and a file `file`, listed; then `change` is made.
fn moved(change: impl FnOnce(&std::path::Path)) -> (bool, bool, bool) {
    let dir = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
    std::fs::create_dir(dir.path().join("inner")).unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    let root = Directory::open(&[dir.path()]).unwrap();
    let found = root.entries(true).unwrap();
    let names: Vec<_> = found.iter().map(|found| found.name.clone()).collect();
    assert_eq!(names, [&b"file"[..], b"inner", b"link"]);
    for name in ["file", "link"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    std::fs::remove_dir(dir.path().join("inner")).unwrap();
    change(dir.path());
    let [file, inner, link] = &found[..] else { panic!("three") };
    (
        root.open_file(file).unwrap().is_some(),
        root.enter(inner).unwrap().is_some(),
        root.target(link).unwrap().is_some() || !root.xattrs_of(link).unwrap().is_empty(),
    )
}

#[test]
fn what_vanished_is_left_out() {
    assert_eq!(moved(|_| {}), (false, false, false));
}

#[test]
fn what_became_a_symlink_is_not_followed() {
    let seen = moved(|dir| {
        symlink("/etc/hostname", dir.join("file")).unwrap();
        symlink("/etc", dir.join("inner")).unwrap();
        std::fs::create_dir(dir.join("link")).unwrap();
    });
    assert_eq!(seen, (false, false, false));
}

#[test]
fn what_became_something_else_is_neither_read_nor_waited_for() {
    use rustix::fs::{CWD, FileType, Mode};
    let seen = moved(|dir| {
        rustix::fs::mknodat(CWD, dir.join("file"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::fs::write(dir.join("inner"), "").unwrap();
    });
    assert_eq!(seen, (false, false, false));
    let seen = moved(|dir| {
        rustix::fs::mknodat(CWD, dir.join("file"), FileType::Socket, Mode::RUSR, 0).unwrap();
    });
    assert_eq!(seen, (false, false, false));
    assert!(!moved(|dir| std::fs::create_dir(dir.join("file")).unwrap()).0);
}
