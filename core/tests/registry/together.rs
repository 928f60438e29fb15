//! Several pulls at once, and pulls that are killed.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex};

use skep::image::registry::{Access, PullOptions};
use skep::image::{Digest, Images};

use crate::image::{Made, Store, is_root};
use crate::scripted::{Server, quick, registry};

/// Tells the copy of this program what to pull, and into which store.
const PULLER: &str = "SKEP_TEST_PULLER";

/// The same for a process with a limit of file sizes.
const LIMITED: &str = "SKEP_TEST_LIMITED";

/// The same for a process with a small disk, which is mounted in a namespace of its own.
const SMALL: &str = "SKEP_TEST_SMALL";

/// Ends the child also if the test fails.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another process that pulls `app:1` from `server` into `store`.
fn puller(server: &Server, store: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "together::puller_process", "--nocapture"])
        .env(PULLER, format!("{} {}", server.name(), store.display()))
        .stdout(Stdio::null())
        .spawn();
    Child(child.unwrap())
}

fn pull(server: &str, store: &Path) -> Digest {
    try_pull(server, store, is_root()).unwrap()
}

fn try_pull(server: &str, store: &Path, unpack: bool) -> skep::Result<Digest> {
    let registries = quick().access(server, Access::new().plain_http());
    let options = PullOptions::new().registries(&registries).unpack(unpack);
    let image = Images::open(store)?.pull(&format!("{server}/app:1"), &options)?;
    Ok(*image.id())
}

/// Not a test of its own: what the other process does. No thread outlives its pull.
#[test]
fn puller_process() {
    let Ok(what) = std::env::var(PULLER) else { return };
    let (server, store) = what.split_once(' ').unwrap();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    pull(server, Path::new(store));
    // A thread that was joined is gone from there a moment later.
    while threads() != before {
        std::thread::yield_now();
    }
}

/// Not a test of its own: a process whose files may not be as large as the layer.
#[test]
fn limited_process() {
    let Ok(what) = std::env::var(LIMITED) else { return };
    let (server, store) = what.split_once(' ').unwrap();
    let error = try_pull(server, Path::new(store), is_root()).unwrap_err();
    assert_eq!(error.kind(), skep::ErrorKind::ResourceExhausted, "{error}");
}

#[test]
fn a_limit_of_file_sizes_is_an_error_and_loses_nothing() {
    let made = Made::new("limited", &[1 << 20]);
    let (served, store) = (made.clone(), Store::new());
    let server = Server::start(move |asked| registry(&served, asked));
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -f 512; exec "$0" --exact together::limited_process --nocapture"#])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, format!("{} {}", server.name(), store.root().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(store.images.list().unwrap(), []);
    assert_eq!(pull(&server.name(), store.root()), made.id());
    let ranges = server.asked().iter().filter(|asked| asked.header("range").is_some()).count();
    assert_eq!(ranges, 1, "what there was room for was kept");
}

/// Not a test of its own: a process on whose disk two layers of three have room.
#[test]
fn small_disk_process() {
    let Ok(what) = std::env::var(SMALL) else { return };
    let (server, disk) = what.split_once(' ').unwrap();
    let disk = Path::new(disk);
    let is_full = |result: skep::Result<Digest>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), skep::ErrorKind::ResourceExhausted, "{error}");
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert!(error.to_string().ends_with("; make room on its file system"), "{error}");
    };
    let store = disk.join("store");
    std::fs::create_dir(&store).unwrap();
    // One layer after the other: two are whole then, and the third has begun. What is unpacked
    // meanwhile would take room as well.
    let registries = quick().access(server, Access::new().plain_http());
    let options = PullOptions::new().registries(&registries).parallel(1).unpack(false);
    let pull_in_turn = || {
        let image = Images::open(&store)?.pull(&format!("{server}/app:1"), &options)?;
        Ok(*image.id())
    };
    is_full(pull_in_turn());
    let images = Images::open(&store).unwrap();
    assert_eq!(images.list().unwrap(), []);
    let names = |directory| std::fs::read_dir(store.join(directory)).unwrap().count();
    assert_eq!((names("images/blobs/sha256"), names("staging")), (0, 0));
    let kept = images.disk_usage().unwrap().unneeded;
    assert!(kept > 1 << 20, "{kept} bytes were fetched");
    is_full(images.load(disk.join("../made.tar")).map(|image| *image.id()));
    assert_eq!((names("images/blobs/sha256"), names("staging")), (0, 0));

    let larger = Command::new("mount").args(["-o", "remount,size=16m"]).arg(disk).status();
    assert!(larger.unwrap().success());
    let pulled = pull_in_turn().unwrap();
    assert_eq!(images.disk_usage().unwrap().unneeded, 0);
    assert_eq!(*images.load(disk.join("../made.tar")).unwrap().id(), pulled);
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    if !is_root() {
        eprintln!("skipped: a mount needs root");
        return;
    }
    let made = Made::new("small", &[1 << 20; 3]);
    let (served, store) = (made.clone(), Store::new());
    let server = Server::start(move |asked| registry(&served, asked));
    made.archive(store.root(), "small:1");
    let disk = store.root().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = r#"mount -t tmpfs -o size=2500k skep "$1" &&
        exec "$0" --exact together::small_disk_process --nocapture"#;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .args([std::env::current_exe().unwrap(), disk.clone()])
        .env(SMALL, format!("{} {}", server.name(), disk.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let ranges = |blob: &Vec<u8>| {
        let target = format!("/v2/app/blobs/{}", Digest::of(blob));
        let asked = server.asked().into_iter().filter(|asked| asked.target == target);
        asked.map(|asked| asked.header("range").is_some()).collect::<Vec<bool>>()
    };
    let fetched: Vec<_> = made.blobs().map(ranges).collect();
    assert_eq!(fetched, [vec![false], vec![false], vec![false, true], vec![false]]);
}

/// Two processes beside this one, and sixteen threads in it. No blob is given before all of them
/// have asked for the manifest, so that none comes when the others are done.
#[test]
fn two_processes_and_sixteen_threads_fetch_each_blob_once() {
    const ALL: usize = 2 + 16;
    let made = Made::new("together", &[1 << 20, 200_000, 50, 1 << 20]);
    let (served, store) = (made.clone(), Store::new());
    let (asking, all_asked) = (Mutex::new(0), Condvar::new());
    let server = Server::start(move |asked| {
        let mut asking = asking.lock().unwrap();
        *asking += usize::from(asked.target.contains("/manifests/"));
        all_asked.notify_all();
        if asked.target.contains("/blobs/") {
            drop(all_asked.wait_while(asking, |asking| *asking < ALL).unwrap());
        }
        registry(&served, asked)
    });
    let mut others = [puller(&server, store.root()), puller(&server, store.root())];
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(pull(&server.name(), store.root()), made.id()));
        }
    });
    for other in &mut others {
        assert!(other.0.wait().unwrap().success());
    }
    assert_eq!(server.lines("GET /v2/app/manifests/").len(), ALL);
    for blob in made.blobs() {
        let line = format!("GET /v2/app/blobs/{}", Digest::of(blob));
        assert_eq!(server.lines(&line).len(), 1, "{line}");
    }
    assert_eq!(store.names("images/blobs/sha256").len(), 6);
    assert_unpacked(&store, 4);
    assert_eq!(store.images.list().unwrap().len(), 1);
}

/// Asserts that all who pulled have unpacked so many layers between them, and left nothing else.
#[track_caller]
fn assert_unpacked(store: &Store, layers: usize) {
    let layers = if is_root() { layers } else { 0 };
    assert_eq!(store.names("layers").len(), layers);
    for directory in ["partial", "staging", "locks"] {
        assert_eq!(store.names(directory), [""; 0], "{directory}");
    }
}

#[test]
fn a_killed_pull_is_gone_on_with() {
    let made = Made::new("killed", &[1 << 20, 1000]);
    let (served, store) = (made.clone(), Store::new());
    let large = Digest::of(&made.layers[0]);
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |asked| {
        let reply = registry(&served, asked);
        let hangs = asked.target.ends_with(&large.to_string())
            && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if hangs { reply.hang(600_000) } else { reply }
    });
    let mut victim = puller(&server, store.root());
    let partial = store.root().join("partial").join(large.hex());
    while std::fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 600_000 {
        assert_eq!(victim.0.try_wait().unwrap(), None, "the puller ended by itself");
        std::thread::yield_now();
    }
    victim.0.kill().unwrap();
    assert_eq!(victim.0.wait().unwrap().signal(), Some(9));

    let images = Images::open(store.root()).unwrap();
    assert_eq!(images.list().unwrap(), []);
    assert_eq!(pull(&server.name(), store.root()), made.id());
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, ["bytes=600000-"]);
    assert_unpacked(&store, 2);
}

#[test]
fn only_what_an_image_does_not_share_is_fetched() {
    let (base, other) = (Made::new("shared", &[5000]), Made::new("shared", &[5000, 70]));
    let (first, second, store) = (base.clone(), other.clone(), Store::new());
    let one = Server::start(move |asked| registry(&first, asked));
    let two = Server::start(move |asked| registry(&second, asked));
    pull(&one.name(), store.root());
    assert_eq!(pull(&two.name(), store.root()), other.id());
    let shared = format!("GET /v2/app/blobs/{}", Digest::of(&base.layers[0]));
    assert_eq!((one.lines(&shared).len(), two.lines(&shared).len()), (1, 0));
}

/// A server that is silent at its request number `at`, counted from 0, and then for ever after.
fn silent_from(made: &Made, at: usize) -> Server {
    let (made, asked) = (made.clone(), std::sync::atomic::AtomicUsize::new(0));
    Server::start(move |request| {
        let number = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let reply = registry(&made, request);
        if number < at { reply } else { reply.hang(0) }
    })
}

#[test]
fn a_store_survives_a_pull_killed_at_any_request() {
    let made = Made::new("any request", &[3000, 2000, 1000]);
    let config = format!("GET /v2/app/blobs/{}", Digest::of(&made.config));
    for at in 0..5 {
        let (served, store) = (made.clone(), Store::new());
        let silent = silent_from(&made, at);
        let mut victim = puller(&silent, store.root());
        while silent.asked().len() <= at {
            assert_eq!(victim.0.try_wait().unwrap(), None, "the puller ended by itself");
            std::thread::yield_now();
        }
        victim.0.kill().unwrap();
        victim.0.wait().unwrap();
        let images = Images::open(store.root()).unwrap();
        assert_eq!(images.list().unwrap(), [], "{at}");
        assert_eq!(store.names("staging"), [""; 0], "{at}");
        assert_eq!(store.names("locks"), [""; 0], "{at}");

        let server = Server::start(move |asked| registry(&served, asked));
        assert_eq!(pull(&server.name(), store.root()), made.id());
        assert_unpacked(&store, 3);
        // What comes first was here before anything else was asked for.
        assert_eq!(server.lines(&config).len(), usize::from(at < 2), "{at}");
    }
}
