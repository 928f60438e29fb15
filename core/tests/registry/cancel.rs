//! What takes long ends when its caller says so, and leaves nothing half done.
//!
//! No registry here would ever be given up otherwise: they may be silent for a thousand seconds.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use skep::image::registry::{PullOptions, PushOptions, PushProgress, Pushed, Registries};
use skep::image::{ArchiveFormat, Commit, Digest, Image};
use skep::{Cancel, ErrorKind};

use crate::image::{Made, Store, is_root};
use crate::scripted::{Asked, Reply, Server, registry};

fn patient(server: &Server) -> Registries {
    server.registries().timeout(Duration::from_secs(1000))
}

fn options(server: &Server) -> PullOptions {
    PullOptions::new().registries(&patient(server)).unpack(false)
}

fn made() -> Made {
    Made::new("cancel", &[300_000])
}

fn layer(made: &Made) -> String {
    format!("/v2/app/blobs/{}", Digest::of(&made.layers[0]))
}

/// Waits until something is so.
fn until(so: impl Fn() -> bool) {
    while !so() {
        std::thread::yield_now();
    }
}

/// The message of `work` that is cancelled when `now` is so.
fn cancelled<T: Send>(
    cancel: &Cancel,
    now: impl Fn() -> bool,
    work: impl FnOnce() -> skep::Result<T> + Send,
) -> String {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        until(now);
        cancel.cancel();
        let error = working.join().unwrap().err().expect("it is cancelled");
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        error.to_string()
    })
}

/// Pulls from a registry that answers `target` by `reply`, until that was asked for.
fn pull_until_asked(
    target: String,
    reply: impl Fn(Reply) -> Reply + Send + Sync + 'static,
) -> (Store, Server) {
    let (store, cancel, asked_for) = (Store::new(), Cancel::new(), target.clone());
    let server = Server::start(move |asked| {
        let right = registry(&made(), asked);
        if asked.target == target { reply(right) } else { right }
    });
    let name = format!("{}/app:1", server.name());
    let message = cancelled(
        &cancel,
        || server.asked().iter().any(|asked| asked.target == asked_for),
        || store.images.cancellable(&cancel).pull(&name, &options(&server)),
    );
    assert_eq!(message, format!("cannot pull {name}: it was cancelled"));
    assert_eq!(store.images.list().unwrap(), []);
    assert_eq!(store.names("staging"), [""; 0]);
    (store, server)
}

#[test]
fn a_registry_that_says_nothing_is_not_waited_for() {
    pull_until_asked("/v2/app/manifests/1".to_owned(), |_| Reply::silent());
    pull_until_asked(layer(&made()), |_| Reply::silent());
}

#[test]
fn a_registry_that_stops_in_the_middle_is_not_waited_for() {
    pull_until_asked("/v2/app/manifests/1".to_owned(), |right| right.hang(9));
}

#[test]
fn what_was_fetched_before_is_gone_on_with() {
    let (store, cancel, target) = (Store::new(), Cancel::new(), layer(&made()));
    let server = Server::start(move |asked| {
        let right = registry(&made(), asked);
        let first = asked.target == target && asked.header("range").is_none();
        if first { right.hang(1000) } else { right }
    });
    let name = format!("{}/app:1", server.name());
    let partial = store.root().join("partial").join(Digest::of(&made().layers[0]).hex());
    let length = || partial.metadata().map_or(0, |metadata| metadata.len());
    cancelled(
        &cancel,
        || length() == 1000,
        || store.images.cancellable(&cancel).pull(&name, &options(&server)),
    );
    let image = store.images.pull(&name, &options(&server)).unwrap();
    assert_eq!(*image.id(), made().id());
    let ranges: Vec<_> = server
        .asked()
        .iter()
        .filter_map(|asked| asked.header("range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["bytes=1000-"]);
}

#[test]
fn another_that_fetches_the_same_is_not_waited_for() {
    let (store, cancel) = (Store::new(), Cancel::new());
    let server = Server::start(|asked| registry(&made(), asked));
    // As another process has it that fetches this layer.
    let partial = store.root().join("partial").join(Digest::of(&made().layers[0]).hex());
    let file = File::create(&partial).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    let name = format!("{}/app:1", server.name());
    let config = format!("/v2/app/blobs/{}", made().id());
    cancelled(
        &cancel,
        || server.asked().iter().any(|asked| asked.target == config),
        || store.images.cancellable(&cancel).pull(&name, &options(&server)),
    );
    assert_eq!(server.lines(&format!("GET {}", layer(&made()))), [""; 0]);
    drop(file);
    assert_eq!(*store.images.pull(&name, &options(&server)).unwrap().id(), made().id());
}

#[test]
fn a_lock_of_another_is_not_waited_for() {
    let (store, cancel) = (Store::new(), Cancel::new());
    let image = loaded(&store);
    let lock = File::open(store.root().join("images.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let images = store.images.cancellable(&cancel);
    let message = cancelled(&cancel, || true, || images.tag(&image.id().to_string(), "other:1"));
    assert!(message.ends_with(": it was cancelled"), "{message}");
    drop(lock);
    // One that is free is no wait.
    let images = store.images.cancellable(&Cancel::new());
    images.tag(&image.id().to_string(), "other:1").unwrap();
}

#[test]
fn an_unpacking_ends_between_two_pieces() {
    if !is_root() {
        eprintln!("skipped: only root unpacks");
        return;
    }
    let (store, cancel) = (Store::new(), Cancel::new());
    let made = Made::new("unpack", &[1000, 8 << 20]);
    let served = made.clone();
    let server = Server::start(move |asked| registry(&served, asked));
    let stop = cancel.clone();
    let options = PullOptions::new().registries(&patient(&server)).progress(move |progress| {
        if progress.unpacked {
            stop.cancel();
        }
    });
    let name = format!("{}/app:1", server.name());
    let error = store.images.cancellable(&cancel).pull(&name, &options).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot pull {name}: it was cancelled"));
    assert_eq!(store.names("layers"), [""; 0]);
    assert_eq!(store.names("staging"), [""; 0]);
    // What was fetched is kept, and used by the next.
    let options = PullOptions::new().registries(&patient(&server));
    let image = store.images.pull(&name, &options).unwrap();
    assert_eq!(image.layers().unwrap().len(), 2);
}

/// A registry that takes every blob, and answers an upload's end by `end`.
fn taking(end: impl Fn() -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |asked: &Asked| match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").header("Location", "/v2/app/blobs/uploads/1"),
        "PUT" if asked.target.contains("/manifests/") => Reply::new(201, ""),
        _ => end(),
    })
}

fn loaded(store: &Store) -> Image {
    let archive = made().archive(store.root(), "app:1");
    store.images.load(archive).unwrap()
}

#[test]
fn a_push_is_not_waited_for() {
    let (store, cancel) = (Store::new(), Cancel::new());
    let image = loaded(&store);
    let server = taking(Reply::silent);
    let name = format!("{}/app:1", server.name());
    let message = cancelled(
        &cancel,
        || !server.lines("PUT").is_empty(),
        || {
            let options = PushOptions::new().registries(&patient(&server));
            store.images.cancellable(&cancel).push(&image, &name, &options)
        },
    );
    assert_eq!(message, format!("cannot push {name}: it was cancelled"));
    assert!(server.lines("PUT").iter().all(|line| !line.contains("/manifests/")));
}

#[test]
fn a_registry_that_does_not_read_is_not_waited_for() {
    let (store, cancel) = (Store::new(), Cancel::new());
    // More than the buffers of both sockets.
    let made = Made::new("unread", &[32 << 20]);
    let image = store.images.load(made.archive(store.root(), "app:1")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (reached, wait) = std::sync::mpsc::channel();
    let name = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut input = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            input.read_line(&mut first).unwrap();
            let mut line = String::new();
            while line.trim_end() != "" || line.is_empty() {
                line.clear();
                if input.read_line(&mut line).unwrap() == 0 {
                    break;
                }
            }
            let answer = match first.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 404 No\r\nConnection: close\r\n\r\n",
                "POST" => {
                    "HTTP/1.1 202 Yes\r\nConnection: close\r\nContent-Length: 0\r\n\
                     Location: /v2/app/blobs/uploads/1\r\n\r\n"
                }
                "PUT" => {
                    reached.send(()).unwrap();
                    open.push(stream);
                    continue;
                }
                _ => return,
            };
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
    });
    let access = skep::image::registry::Access::new().plain_http();
    let registries = crate::scripted::quick().access(&name, access);
    let options =
        PushOptions::new().registries(&registries.timeout(Duration::from_secs(1000))).parallel(1);
    let message = cancelled(
        &cancel,
        || wait.try_recv().is_ok(),
        || store.images.cancellable(&cancel).push(&image, &format!("{name}/app:1"), &options),
    );
    assert_eq!(message, format!("cannot push {name}/app:1: it was cancelled"));
    std::net::TcpStream::connect(&name).unwrap().write_all(b"END / HTTP/1.1\r\n\r\n").unwrap();
    server.join().unwrap();
}

#[test]
fn a_question_without_a_store_is_not_waited_for() {
    let server = Server::start(|_| Reply::silent());
    let (name, cancel) = (format!("{}/app", server.name()), Cancel::new());
    let registries = patient(&server).cancellable(&cancel);
    let message = cancelled(&cancel, || !server.asked().is_empty(), || registries.tags(&name));
    assert_eq!(message, format!("cannot list the tags of {name}: it was cancelled"));
    for error in [
        registries.resolve(&name).unwrap_err(),
        registries.referrers(&name, None).unwrap_err(),
        registries.ping(&server.name()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn who_is_not_cancelled_uses_the_same_connections() {
    let server = Server::start(|asked| match asked.target.as_str() {
        "/v2/app/tags/list" => Reply::new(200, r#"{"tags":["1"]}"#),
        _ => Reply::silent(),
    });
    let (registries, cancel) = (patient(&server), Cancel::new());
    let name = format!("{}/app", server.name());
    let other = registries.cancellable(&cancel);
    cancelled(&cancel, || !server.asked().is_empty(), || other.resolve(&name));
    assert_eq!(registries.tags(&name).unwrap(), ["1"]);
    assert_eq!(registries.cancellable(&Cancel::new()).tags(&name).unwrap(), ["1"]);
}

#[test]
fn a_slow_pipe_is_not_waited_for() {
    let (store, cancel) = (Store::new(), Cancel::new());
    let pipe = store.root().join("pipe");
    let path = pipe.display().to_string();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| store.images.cancellable(&cancel).load(&pipe));
        // Opened when the other end is.
        let mut writer = File::options().write(true).open(&pipe).unwrap();
        writer.write_all(&[0; 100]).unwrap();
        cancel.cancel();
        let error = load.join().unwrap().unwrap_err();
        assert_eq!(error.to_string(), format!("cannot load image from {path}: it was cancelled"));
    });
    assert_eq!(store.names("staging"), [""; 0]);
    // Without anybody at its other end.
    let cancel = Cancel::new();
    let images = store.images.cancellable(&cancel);
    let message = cancelled(&cancel, || true, || images.import(&pipe, None));
    assert_eq!(message, format!("cannot import {path}: it was cancelled"));
}

#[test]
fn an_image_is_cancelled_and_its_twin_is_not() {
    let store = Store::new();
    let image = loaded(&store);
    let cancel = Cancel::new();
    let other = image.cancellable(&cancel);
    cancel.cancel();
    let target = store.root().join("out.tar");
    std::fs::write(&target, "former").unwrap();
    let names = [image.id().to_string()];
    let images = store.images.cancellable(&cancel);
    let errors = [
        other.layers().unwrap_err(),
        other.export(&target).unwrap_err(),
        other.diff(&image).unwrap_err(),
        other.commit(store.root(), &Commit::new()).unwrap_err(),
        other.squash(&Commit::new()).unwrap_err(),
        images.save(&names, &target, ArchiveFormat::Oci).unwrap_err(),
        images.load_all(&target).unwrap_err(),
    ];
    let operations = errors.iter().map(|error| (error.kind(), error.operation()));
    let expected = ["unpack", "export to", "compare", "commit", "squash", "save images to"]
        .into_iter()
        .chain(["load image from"])
        .map(|operation| (ErrorKind::Cancelled, operation));
    assert!(operations.eq(expected), "{errors:?}");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "former");
    if is_root() {
        assert_eq!(image.layers().unwrap().len(), 1);
        // What is there already is no work.
        assert_eq!(other.layers().unwrap().len(), 1);
    }
}

/// What a push of the image reports of its blobs, in the order in which they are done.
fn reports(server: &Server, options: PushOptions) -> Vec<PushProgress> {
    let store = Store::new();
    let image = loaded(&store);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let all = reports.clone();
    let options = options
        .registries(&patient(server))
        .parallel(1)
        .progress(move |progress| all.lock().unwrap().push(*progress));
    store.images.push(&image, &format!("{}/app:1", server.name()), &options).unwrap();
    reports.lock().unwrap().clone()
}

#[test]
fn a_push_says_how_far_it_is() {
    let made = made();
    let (layer, config) = (Digest::of(&made.layers[0]), made.id());
    let sizes = (made.layers[0].len() as u64, made.config.len() as u64);
    let server = taking(|| Reply::new(201, ""));
    let sent = |reports: &[PushProgress], blob| -> Vec<_> {
        let mine = reports.iter().filter(|report| report.blob == blob);
        mine.map(|report| (report.sent, report.total, report.done)).collect()
    };
    let all = reports(&server, PushOptions::new());
    let of_layer = sent(&all, layer);
    assert_eq!(of_layer.first(), Some(&(0, sizes.0, None)));
    assert_eq!(of_layer.last(), Some(&(sizes.0, sizes.0, Some(Pushed::Sent))));
    assert!(of_layer.iter().any(|(sent, _, done)| *sent >= 256 << 10 && done.is_none()));
    assert!(of_layer.is_sorted_by_key(|(sent, ..)| *sent), "{of_layer:?}");
    assert_eq!(sent(&all, config), [(0, sizes.1, None), (sizes.1, sizes.1, Some(Pushed::Sent))],);

    let has = Server::start(|asked: &Asked| {
        Reply::new(if asked.method == "PUT" { 201 } else { 200 }, "")
    });
    let all = reports(&has, PushOptions::new());
    assert_eq!(sent(&all, layer), [(0, sizes.0, None), (0, sizes.0, Some(Pushed::Existed))]);

    let mounts = Server::start(|asked: &Asked| match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        _ => Reply::new(201, ""),
    });
    let all = reports(&mounts, PushOptions::new().mount_from("base"));
    assert_eq!(sent(&all, layer), [(0, sizes.0, None), (0, sizes.0, Some(Pushed::Mounted))]);
}
