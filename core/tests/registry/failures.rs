//! Registries that fail, lie, or never end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use skep::ErrorKind;
use skep::image::Digest;
use skep::image::registry::{Access, PullOptions, PushOptions};

use crate::image::{Made, OCI_INDEX, OCI_MANIFEST, Store, architecture, descriptor, is_root};
use crate::scripted::{Asked, Reply, Server, quick, registry};

fn made() -> Made {
    Made::new("failures", &[300_000])
}

/// Unpacked while it comes, where that can be: what goes wrong then is told all the same.
fn options(server: &Server) -> PullOptions {
    PullOptions::new().registries(&server.registries()).unpack(is_root())
}

/// A registry whose layer is answered by `layer`; its argument counts from 0.
fn with_layer(layer: impl Fn(u32, &Asked, Reply) -> Reply + Send + Sync + 'static) -> Server {
    let (made, times) = (made(), AtomicU32::new(0));
    let target = format!("/v2/app/blobs/{}", Digest::of(&made.layers[0]));
    Server::start(move |asked| {
        let right = registry(&made, asked);
        match asked.target == target {
            true => layer(times.fetch_add(1, Ordering::SeqCst), asked, right),
            false => right,
        }
    })
}

/// A registry whose manifest is answered by `reply`.
fn with_manifest(reply: impl Fn(u32) -> Reply + Send + Sync + 'static) -> Server {
    let (made, times) = (made(), AtomicU32::new(0));
    Server::start(move |asked| match asked.target.as_str() {
        "/v2/app/manifests/1" => reply(times.fetch_add(1, Ordering::SeqCst)),
        _ => registry(&made, asked),
    })
}

fn layer_requests(server: &Server) -> usize {
    server.lines(&format!("GET /v2/app/blobs/{}", Digest::of(&made().layers[0]))).len()
}

#[track_caller]
fn succeeds(server: &Server) -> usize {
    let store = Store::new();
    let image = store.images.pull(&format!("{}/app:1", server.name()), &options(server)).unwrap();
    assert_eq!(*image.id(), made().id());
    assert_eq!(store.names("partial"), [""; 0]);
    assert_eq!(store.names("staging"), [""; 0]);
    assert_eq!(store.names("layers").len(), usize::from(is_root()));
    layer_requests(server)
}

/// The message of a pull that fails and makes no image.
#[track_caller]
fn fails(server: &Server, kind: ErrorKind) -> String {
    let store = Store::new();
    let name = format!("{}/app:1", server.name());
    let error = store.images.pull(&name, &options(server)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(store.images.list().unwrap(), []);
    assert_eq!(store.names("images/blobs/sha256"), [""; 0]);
    assert_eq!(store.names("staging"), [""; 0]);
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot pull {name}: ")), "{text}");
    text
}

/// A registry that refuses the first blob that is sent, once the second one is under way, and takes
/// that one only after who sent the first has the refusal. How many bytes of the second came.
fn refuses_one_of_two(listener: std::net::TcpListener) -> u64 {
    use std::io::{BufRead, BufReader, Read, Write};
    let mut sending = Vec::new();
    while sending.len() < 2 {
        let mut stream = listener.accept().unwrap().0;
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut expected) = (String::new(), "");
        while lines.read_line(&mut head).unwrap() > 2 {}
        if head.starts_with("HEAD") {
            expected = "404 No\r\n";
        } else if head.starts_with("POST") {
            expected = "202 Yes\r\nLocation: /up\r\n";
        }
        match expected {
            "" => sending.push((stream, lines, large(&head))),
            answer => {
                write!(stream, "HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
            }
        }
    }
    // The small one first.
    sending.sort_by_key(|(_, _, large)| *large);
    let (mut second, mut rest, _) = sending.pop().unwrap();
    let (mut first, mut unread, _) = sending.pop().unwrap();
    first.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    first.shutdown(std::net::Shutdown::Write).unwrap();
    // Until it is closed by who has read the refusal, or given up to send.
    let _ = std::io::copy(&mut unread, &mut std::io::sink());
    let mut come = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = rest.read(&mut buffer) {
        come += n as u64;
        if come >= SENT {
            let _ = second.write_all(b"HTTP/1.1 201 Yes\r\nContent-Length: 0\r\n\r\n");
            break;
        }
    }
    come
}

/// Whether a request announces more than a megabyte.
fn large(head: &str) -> bool {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.any(|(name, value)| {
        name.eq_ignore_ascii_case("content-length") && value.parse::<u64>().unwrap() > 1 << 20
    })
}

/// Far more than the kernel keeps of what is sent.
const SENT: u64 = 64 << 20;

#[test]
fn who_sends_a_blob_ends_when_another_is_refused() {
    let made = Made::new("s", &[1000, SENT as usize]);
    let store = Store::new();
    let image = store.images.load(made.archive(store.root(), "x:1")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let serving = std::thread::spawn(move || refuses_one_of_two(listener));
    let access = Access::new().plain_http();
    let options = PushOptions::new().registries(&quick().access(&*name, access)).parallel(2);
    let error = store.images.push(&image, &format!("{name}/app:1"), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let come = serving.join().unwrap();
    assert!(come < SENT, "{come} bytes came all the same");
}

#[test]
fn who_looks_for_a_blob_ends_when_another_is_refused() {
    let (asked, both) = (AtomicU32::new(0), std::sync::Barrier::new(2));
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => {
            both.wait();
            Reply::new(403, "")
        }
        1 => {
            both.wait();
            Reply::new(503, "").header("Retry-After", "5")
        }
        _ => Reply::new(503, ""),
    });
    let store = Store::new();
    let image = store.images.load(Made::new("l", &[1000]).archive(store.root(), "x:1")).unwrap();
    let options = PushOptions::new().registries(&server.registries()).parallel(2);
    let to = format!("{}/app:1", server.name());
    let error = store.images.push(&image, &to, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert_eq!(server.asked().len(), 2, "it is not asked again");
}

#[test]
fn any_timeout_is_one() {
    let server = Server::start(|_| Reply::new(200, "{}"));
    for timeout in [Duration::MAX, Duration::from_secs(u64::MAX / 10)] {
        server.registries().timeout(timeout).ping(&server.name()).unwrap();
    }
}

#[test]
fn a_failing_registry_is_asked_again() {
    for status in [500, 502, 503, 429] {
        let server = with_layer(move |time, _, right| match time {
            0 => Reply::new(status, "").header("Retry-After", "0"),
            _ => right,
        });
        assert_eq!(succeeds(&server), 2, "{status}");
    }
    let server = with_manifest(|time| match time {
        0 => Reply::new(500, ""),
        _ => Reply::new(200, made().manifest).header("Content-Type", OCI_MANIFEST),
    });
    succeeds(&server);
}

#[test]
fn a_registry_that_keeps_failing_is_given_up() {
    let server = with_layer(|_, _, _| Reply::new(503, r#"{"errors":[{"code":"UNAVAILABLE"}]}"#));
    let text = fails(&server, ErrorKind::Io);
    assert!(text.contains("503: UNAVAILABLE"), "{text}");
    assert_eq!(layer_requests(&server), 3);
    for status in [400, 404, 501] {
        let server = with_layer(move |_, _, _| Reply::new(status, ""));
        let kind = if status == 404 { ErrorKind::NotFound } else { ErrorKind::Io };
        fails(&server, kind);
        assert_eq!(layer_requests(&server), 1, "{status}");
    }
}

#[test]
fn who_wants_to_be_left_alone_for_long_is() {
    let server = with_layer(|_, _, _| Reply::new(429, "").header("Retry-After", "3600"));
    let text = fails(&server, ErrorKind::ResourceExhausted);
    assert!(text.contains("try again later"), "{text}");
    assert_eq!(layer_requests(&server), 1);
}

#[test]
fn a_broken_download_is_gone_on_with() {
    let server = with_layer(|time, _, right| if time < 2 { right.cut(100_000) } else { right });
    assert_eq!(succeeds(&server), 3);
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().filter_map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, ["bytes=100000-", "bytes=200000-"]);
}

#[test]
fn who_knows_no_ranges_is_begun_with_again() {
    let server = with_layer(|time, _, right| match time {
        0 => right.cut(100_000),
        _ => Reply::new(200, made().layers[0].clone()),
    });
    assert_eq!(succeeds(&server), 2);
    for wrong in ["bytes 5-9/10", "nonsense"] {
        let server = with_layer(move |time, asked, right| match (time, asked.header("range")) {
            (0, _) => right.cut(100_000),
            (_, Some(_)) => Reply::new(206, "xxxxx").header("Content-Range", wrong),
            (_, None) => right,
        });
        assert_eq!(succeeds(&server), 3, "{wrong}");
    }
    let server = with_layer(|time, asked, right| match (time, asked.header("range")) {
        (0, _) => right.cut(100_000),
        (_, Some(_)) => Reply::new(416, ""),
        (_, None) => right,
    });
    assert_eq!(succeeds(&server), 3);
}

#[test]
fn a_blob_that_always_ends_too_early_is_refused() {
    let server = with_layer(|_, _, right| right.cut(0));
    fails(&server, ErrorKind::Io);
    assert_eq!(layer_requests(&server), 3);
}

#[test]
fn other_bytes_than_announced_are_refused() {
    let wrong = |length: usize| move |_, _: &Asked, _| Reply::new(200, vec![b'x'; length]);
    let length = made().layers[0].len();
    let text = fails(&with_layer(wrong(length)), ErrorKind::DigestMismatch);
    assert!(text.contains("hashes to"), "{text}");
    for other in [length + 1, length - 1, 0] {
        let text = fails(&with_layer(wrong(other)), ErrorKind::DigestMismatch);
        assert!(text.contains(&format!("{other} bytes")), "{text}");
    }
    let endless = with_layer(|_, _, _| Reply::endless_body());
    let text = fails(&endless, ErrorKind::DigestMismatch);
    assert!(text.contains("more than the"), "{text}");
}

#[test]
fn a_manifest_is_what_it_is_said_to_be() {
    let right = || Reply::new(200, made().manifest);
    let other = Digest::of(b"other").to_string();
    let index = json!({"schemaVersion": 2, "manifests": [], "layers": []}).to_string();
    let nested = "[".repeat(100_000);
    let cases: Vec<(&str, Reply, ErrorKind)> = vec![
        ("digest", right().header("Docker-Content-Digest", other), ErrorKind::DigestMismatch),
        ("media type", right().header("Content-Type", OCI_INDEX), ErrorKind::InvalidData),
        ("both", Reply::new(200, index).header("Content-Type", OCI_INDEX), ErrorKind::InvalidData),
        ("nested", Reply::new(200, nested), ErrorKind::InvalidData),
        ("config", Reply::new(200, large_config()), ErrorKind::InvalidData),
        ("html", Reply::new(200, "<html>"), ErrorKind::InvalidData),
        ("nothing", Reply::new(200, ""), ErrorKind::InvalidData),
        ("no type", Reply::new(200, "{}"), ErrorKind::Unsupported),
        ("large", Reply::new(200, vec![b' '; (4 << 20) + 1]), ErrorKind::InvalidData),
        ("endless", Reply::endless_body(), ErrorKind::InvalidData),
        ("endless headers", Reply::endless_headers(), ErrorKind::InvalidData),
    ];
    for (what, reply, kind) in cases {
        println!("{what}");
        fails(&with_manifest(move |_| reply.clone()), kind);
    }
}

/// The manifest with a part of its layer's descriptor changed.
fn with_layer_as(key: &str, value: serde_json::Value) -> Vec<u8> {
    let mut manifest: serde_json::Value = serde_json::from_slice(&made().manifest).unwrap();
    manifest["layers"][0][key] = value;
    manifest.to_string().into_bytes()
}

#[test]
fn what_is_no_image_is_told_before_anything_is_fetched() {
    let schema_1 = json!({"schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": []});
    let schema_1 = schema_1.to_string();
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let of_type = |kind: &str| Reply::new(200, with_layer_as("mediaType", json!(kind)));
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let cases: [(&str, Reply, &str, ErrorKind); 5] = [
        ("schema 1", Reply::new(200, &*schema_1), signed, ErrorKind::Unsupported),
        ("hidden schema 1", Reply::new(200, schema_1), OCI_MANIFEST, ErrorKind::Unsupported),
        ("foreign layer", of_type(foreign), OCI_MANIFEST, ErrorKind::Unsupported),
        ("config as layer", of_type(OCI_MANIFEST), OCI_MANIFEST, ErrorKind::Unsupported),
        (
            "negative size",
            Reply::new(200, with_layer_as("size", json!(-1))),
            OCI_MANIFEST,
            ErrorKind::InvalidData,
        ),
    ];
    for (what, reply, media_type, kind) in cases {
        println!("{what}");
        let server = with_manifest(move |_| reply.clone().header("Content-Type", media_type));
        fails(&server, kind);
        assert_eq!(server.lines("GET /v2/app/blobs"), [""; 0], "{what}");
    }
}

#[test]
fn sizes_that_no_blob_has_are_not_waited_for() {
    for size in [0, 1, i64::MAX as u64, u64::MAX] {
        println!("{size}");
        let manifest = with_layer_as("size", json!(size));
        let reply = Reply::new(200, manifest).header("Content-Type", OCI_MANIFEST);
        fails(&with_manifest(move |_| reply.clone()), ErrorKind::DigestMismatch);
    }
}

#[test]
fn more_than_a_store_takes_is_not_fetched() {
    let made = made();
    let size = made.blobs().map(|blob| blob.len() as u64).sum::<u64>();
    let server = Server::start(move |asked| registry(&made, asked));
    let (store, name) = (Store::new(), format!("{}/app:1", server.name()));
    let bounded = store.images.max_size(size - 1);
    let error = bounded.pull(&name, &options(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
    assert_eq!(server.lines("GET /v2/app/blobs"), [""; 0]);
    store.images.max_size(size).pull(&name, &options(&server)).unwrap();
}

/// A manifest whose config is not to be fetched.
fn large_config() -> Vec<u8> {
    let mut manifest: serde_json::Value = serde_json::from_slice(&made().manifest).unwrap();
    manifest["config"]["size"] = json!(5 << 20);
    manifest.to_string().into_bytes()
}

#[test]
fn a_silent_registry_is_not_waited_for() {
    let server = with_layer(|_, _, right| right.hang(100_000));
    let registries =
        server.registries().attempts(1, Duration::ZERO).timeout(Duration::from_secs(1));
    let options = options(&server).registries(&registries);
    let store = Store::new();
    let error = store.images.pull(&format!("{}/app:1", server.name()), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    let partial = store.root().join("partial").join(Digest::of(&made().layers[0]).hex());
    assert_eq!(std::fs::metadata(partial).unwrap().len(), 100_000);
}

#[test]
fn nobody_there_is_told() {
    let gone = Server::start(|_| Reply::new(500, ""));
    let (name, registries) = (gone.name(), gone.registries());
    drop(gone);
    let error = registries.ping(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn an_image_for_another_machine_is_refused_unless_it_is_asked_for() {
    let made = Made::for_platform("other", &[10], "linux", "s390x");
    let served = made.clone();
    let server = Server::start(move |asked| registry(&served, asked));
    let text = fails(&server, ErrorKind::Unsupported);
    assert!(text.contains("linux/s390x"), "{text}");
    let options = options(&server).platform("linux/s390x".parse().unwrap());
    let store = Store::new();
    let image = store.images.pull(&format!("{}/app:1", server.name()), &options).unwrap();
    assert_eq!(*image.id(), made.id());
}

#[test]
fn of_an_index_the_platform_is_chosen() {
    let platforms = [("arm", Some("v6")), ("arm", Some("v7")), ("s390x", None)];
    let all = platforms.map(|(arch, variant)| {
        let salt = format!("{arch}{variant:?}");
        (Made::for_platform(&salt, &[10], "linux", arch), arch, variant)
    });
    let manifests: Vec<_> = all
        .iter()
        .map(|(made, arch, variant)| {
            let mut entry = descriptor(OCI_MANIFEST, &made.manifest);
            entry["platform"] = json!({"os": "linux", "architecture": arch});
            if let Some(variant) = variant {
                entry["platform"]["variant"] = json!(variant);
            }
            entry
        })
        .collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let index = index.to_string().into_bytes();
    let (digest, served) = (Digest::of(&index), all.clone());
    let server = Server::start(move |asked| {
        if asked.target.ends_with("/1") || asked.target.ends_with(&digest.to_string()) {
            return Reply::new(200, index.clone()).header("Content-Type", OCI_INDEX);
        }
        let replies = served.iter().map(|(made, ..)| registry(made, asked));
        replies.fold(Reply::new(404, ""), |found, reply| if reply.is_ok() { reply } else { found })
    });
    for (platform, expected) in [("linux/arm", 1), ("linux/arm/v6", 0), ("linux/s390x", 2)] {
        let options = options(&server).platform(platform.parse().unwrap());
        let store = Store::new();
        let image = store.images.pull(&format!("{}/app:1", server.name()), &options).unwrap();
        assert_eq!(*image.id(), all[expected].0.id(), "{platform}");
        let by_digest = format!("{}/app@{digest}", server.name());
        let image = store.images.pull(&by_digest, &options).unwrap();
        assert_eq!(store.images.find(&by_digest).unwrap().id(), image.id());
    }
    let text = fails(&server, ErrorKind::Unsupported);
    assert!(text.contains("no image for linux/"), "{text}");
}

#[test]
fn a_list_is_followed_from_page_to_page_and_not_for_ever() {
    let server = Server::start(|asked| match asked.target.as_str() {
        "/v2/app/tags/list" => Reply::new(200, r#"{"tags":["a","b"]}"#)
            .header("Link", r#"</v2/app/tags/list?last=b>; rel="next""#),
        "/v2/app/tags/list?last=b" => Reply::new(200, r#"{"tags":["c"]}"#),
        "/v2/bad/tags/list" => Reply::new(200, r#"{"tags":["../../x"]}"#),
        "/v2/empty/tags/list" => Reply::new(200, r#"{"tags":null}"#),
        target => Reply::new(200, r#"{"tags":["x"]}"#)
            .header("Link", format!(r#"<{target}>; rel="next""#)),
    });
    let tags = |name: &str| server.registries().tags(&format!("{}/{name}", server.name()));
    assert_eq!(tags("app").unwrap(), ["a", "b", "c"]);
    assert_eq!(tags("empty").unwrap(), [""; 0]);
    assert_eq!(tags("bad").unwrap_err().kind(), ErrorKind::InvalidData);
    assert_eq!(tags("round").unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn referrers_come_from_the_interface_or_from_their_tag() {
    let subject = Digest::of(b"subject");
    let entry = |kind: &str| {
        let mut entry = descriptor(OCI_MANIFEST, kind.as_bytes());
        entry["artifactType"] = json!(kind);
        entry
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry("a/b"), entry("c/d")]});
    let index = index.to_string();
    let server = Server::start(move |asked| {
        let reply = || Reply::new(200, index.clone()).header("Content-Type", OCI_INDEX);
        let target = asked.target.split('?').next().unwrap_or_default();
        match target {
            _ if target == format!("/v2/new/referrers/{subject}") => reply(),
            _ if target == format!("/v2/old/manifests/sha256-{}", subject.hex()) => reply(),
            _ => Reply::new(404, ""),
        }
    });
    for name in ["new", "old"] {
        let reference = format!("{}/{name}@{subject}", server.name());
        let referrers = |kind| server.registries().referrers(&reference, kind).unwrap();
        assert_eq!(referrers(None).len(), 2, "{name}");
        let [one] = &referrers(Some("c/d"))[..] else { panic!("{name}") };
        assert_eq!(one.digest, Digest::of(b"c/d"));
    }
    let none = format!("{}/none@{subject}", server.name());
    assert_eq!(server.registries().referrers(&none, None).unwrap(), []);
}

/// What `work` gives, if it ends.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (to, from) = std::sync::mpsc::channel();
    std::thread::spawn(move || to.send(work()));
    from.recv_timeout(Duration::from_secs(60)).expect("it ends")
}

#[test]
fn a_panic_of_a_report_ends_the_pull() {
    let server = with_layer(|_, _, right| right);
    let options = options(&server).progress(|_| panic!("mine"));
    let name = format!("{}/app:1", server.name());
    let panic = ends(move || {
        let store = Store::new();
        let pull = std::panic::AssertUnwindSafe(|| store.images.pull(&name, &options));
        let panic = std::panic::catch_unwind(pull).unwrap_err();
        assert_eq!(store.names("staging"), [""; 0]);
        assert_eq!(store.names("locks"), [""; 0]);
        panic.downcast_ref::<&str>().map(|text| text.to_string())
    });
    assert_eq!(panic.as_deref(), Some("mine"));
}

#[test]
fn who_waits_for_a_layer_that_is_there_twice_is_told_that_it_is_refused() {
    let layer = made().layers.remove(0);
    let made = Made::of("twice", vec![layer.clone(), layer.clone()], "linux", architecture());
    let store = Store::new();
    let partial = store.root().join("partial").join(Digest::of(&layer).hex());
    let is_open = move || {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        fds.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|file| file == partial)).count() > 2
    };
    let target = format!("/v2/app/blobs/{}", Digest::of(&layer));
    let times = AtomicU32::new(0);
    let server = Server::start(move |asked| {
        if asked.target != target {
            return registry(&made, asked);
        }
        // Until the other waits for who asks first.
        while times.load(Ordering::SeqCst) == 0 && !is_open() {
            std::thread::yield_now();
        }
        times.fetch_add(1, Ordering::SeqCst);
        Reply::new(404, "")
    });
    let (name, options) = (format!("{}/app:1", server.name()), options(&server));
    let error = ends(move || store.images.pull(&name, &options).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
