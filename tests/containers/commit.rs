//! Images of containers: running, ended, and kept beyond their end.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use skep::image::{ChangeKind, Commit};
use skep::{Cancel, ErrorKind, Image, Root, Stdio};
use skep_tests::{TestEngine, busybox_tree, said};

/// The small root file system, as an image.
fn image(test: &TestEngine) -> Option<Image> {
    let tree = busybox_tree()?;
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", tree.path()).unwrap();
    let path = test.store().join("skep-tree.tar");
    fs::write(&path, tar.into_inner().unwrap()).unwrap();
    let image = test.engine.images().import(&path, Some("localhost/base:1")).unwrap();
    fs::remove_file(&path).unwrap();
    Some(image)
}

/// A container of `image` that runs `script`, says something and waits to be told to end.
fn waiting(test: &TestEngine, image: &Image, script: &str) -> skep::Child {
    let script = format!("{script}; echo done; cat");
    let mut command = test.engine.command(image);
    command.args(["/bin/sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"done\n");
    child
}

fn changed(changes: Vec<skep::image::Change>, kind: ChangeKind) -> Vec<PathBuf> {
    // The directories that mounts stand on are the plan's, and not the container's.
    let own =
        |path: &PathBuf| !["/dev", "/proc", "/sys"].iter().any(|mount| path.starts_with(mount));
    let of = changes.into_iter().filter(|change| change.kind == kind);
    of.map(|change| change.path).filter(own).collect()
}

#[test]
fn what_a_running_container_wrote_is_in_the_image() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    let mut child = waiting(&test, &base, "echo hello > /data/greeting; rm /bin/readlink");
    let committed = child.commit(&Commit::new().reference("localhost/app:1")).unwrap();
    let changes = child.diff().unwrap();
    assert_eq!(changed(changes.clone(), ChangeKind::Added), [Path::new("/data/greeting")]);
    assert_eq!(changed(changes, ChangeKind::Deleted), [Path::new("/bin/readlink")]);
    assert_eq!(committed.manifest().layers.len(), 2);
    let script = "cat /data/greeting; test ! -e /bin/readlink";
    let mut command = test.engine.command(&committed);
    assert_eq!(said(command.args(["/bin/sh", "-c", script])), "hello\n");
    // It still runs, and its root is still its own.
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    // Its image is in use as long as it lives.
    test.engine.images().remove("localhost/base:1").unwrap();
    let mut again = test.engine.command(&committed);
    assert_eq!(said(again.args(["/bin/cat", "/data/greeting"])), "hello\n");
}

#[test]
fn an_ended_container_gives_its_files_until_it_is_waited_for_or_while_they_are_kept() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    for keep in [false, true] {
        let mut command = test.engine.command(&base);
        let script = ["/bin/sh", "-c", "echo x > /data/f; exit 3"];
        let child = command.args(script).keep_files(keep).spawn().unwrap();
        let exit = child.exit_fd().unwrap();
        let mut polled = [rustix::event::PollFd::new(&exit, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut polled, None).unwrap();
        let before = child.commit(&Commit::new()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let after = child.commit(&Commit::new());
        if keep {
            let layers = |image: &Image| image.config().rootfs.diff_ids.clone();
            assert_eq!(layers(&after.unwrap()), layers(&before));
            assert!(test.directory_of(&child).is_some());
        } else {
            let error = after.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidState);
            assert!(error.to_string().contains("keep_files"), "{error}");
            assert_eq!(child.diff().unwrap_err().kind(), ErrorKind::InvalidState);
        }
        let id = child.id().to_owned();
        drop(child);
        let owners = fs::read_dir(test.store().join("attached")).unwrap();
        assert!(owners.map(|owner| owner.unwrap().path()).all(|owner| !owner.join(&id).exists()));
    }
}

#[test]
fn a_container_is_exported_and_imported() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    let child = waiting(&test, &base, "echo hello > /data/greeting; rm /bin/readlink");
    let path = test.store().join("skep-exported.tar");
    child.export(&path).unwrap();
    let committed = child.commit(&Commit::new()).unwrap();
    child.kill().unwrap();
    let imported = test.engine.images().import(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(imported.diff(&committed).unwrap(), []);
    let mut command = test.engine.command(&imported);
    assert_eq!(said(command.args(["/bin/cat", "/data/greeting"])), "hello\n");
}

#[test]
fn a_directory_of_the_host_is_exported_and_no_image() {
    let test = TestEngine::new();
    let Some(tree) = busybox_tree() else { return };
    let mut command = test.engine.command(Root::directory(tree.path()));
    let script = ["/bin/sh", "-c", "echo hello > /data/greeting"];
    let child = command.args(script).keep_files(true).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    let error = child.commit(&Commit::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(changed(child.diff().unwrap(), ChangeKind::Added), [Path::new("/data/greeting")]);
    let path = test.store().join("skep-exported.tar");
    child.export(&path).unwrap();
    let image = test.engine.images().import(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    let mut command = test.engine.command(&image);
    assert_eq!(said(command.args(["/bin/cat", "/data/greeting"])), "hello\n");
    assert!(!tree.path().join("data/greeting").exists());
}

#[test]
fn a_look_at_a_container_can_be_cancelled_and_the_container_not() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    assert!(!base.is_unpacked());
    let child = waiting(&test, &base, "echo hello > /data/greeting");
    assert!(base.is_unpacked());
    let cancel = Cancel::new();
    let cancellable = child.cancellable(&cancel);
    assert_eq!(cancellable.diff().unwrap(), child.diff().unwrap());
    cancel.cancel();
    let archive = test.store().join("skep-files.tar");
    let commit = Commit::new().reference("localhost/app:1");
    assert_eq!(cancellable.commit(&commit).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(cancellable.diff().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(cancellable.export(&archive).unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(!archive.exists());
    // Only what had it.
    child.commit(&commit).unwrap();
    assert_eq!(changed(child.diff().unwrap(), ChangeKind::Added), [Path::new("/data/greeting")]);
}

#[test]
fn kept_files_can_be_removed_before_the_handle() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    let mut command = test.engine.command(&base);
    let child = command.args(["/bin/sh", "-c", "true"]).keep_files(true).spawn().unwrap();
    assert!(child.wait().unwrap().success());
    child.diff().unwrap();
    child.remove_files();
    assert_eq!(child.diff().unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(test.directory_of(&child).is_none());
    // Again, and of one that runs: nothing.
    child.remove_files();
    let running = waiting(&test, &base, "true");
    running.remove_files();
    running.diff().unwrap();
}

/// Whatever comes first, the container's end or the commit's: the image is whole, and nothing is
/// left.
#[test]
fn a_commit_and_an_end_at_once() {
    let test = TestEngine::new();
    let Some(base) = image(&test) else { return };
    let child = waiting(&test, &base, "for i in 1 2 3 4 5 6 7 8 9; do echo $i > /data/$i; done");
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| child.commit(&Commit::new()));
        child.kill().unwrap();
        child.wait().unwrap();
        match commit.join().unwrap() {
            Ok(image) => {
                assert_eq!(changed(image.diff(&base).unwrap(), ChangeKind::Added).len(), 9)
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidState),
        }
    });
    assert!(test.directory_of(&child).is_none());
}
