//! The operations, what each begins with, and the registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use skep::Result;
use skep::image::registry::{Access, PullOptions, PushOptions};
use skep::image::{ArchiveFormat, Commit, Digest, Images, Prune};

use crate::image::{Made, architecture};
use crate::scripted::{Asked, Reply, Server, quick, registry};

/// One operation.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// Brings a store with `keep:1` to where it begins.
    prepare: fn(&Images, &Path),
    /// Its last argument is the registry's name.
    pub(crate) run: fn(&Images, &Path, &str) -> Result<()>,
    /// Whether it writes to the store's disk.
    pub(crate) takes_room: bool,
    /// Whether it is what one does on a full disk.
    pub(crate) makes_room: bool,
}

const fn operation(
    name: &'static str,
    prepare: fn(&Images, &Path),
    run: fn(&Images, &Path, &str) -> Result<()>,
) -> Operation {
    Operation { name, prepare, run, takes_room: true, makes_room: false }
}

pub(crate) const OPERATIONS: [Operation; 11] = [
    operation(
        "pull",
        |_, _| {},
        |images, _, server| {
            let registries = quick().access(server, Access::new().plain_http());
            let options = PullOptions::new().registries(&registries);
            images.pull(&format!("{server}/app:1"), &options).map(drop)
        },
    ),
    operation("unpack", loaded, |images, _, _| images.find("app:1")?.layers().map(drop)),
    operation(
        "load",
        |_, _| {},
        |images, directory, _| images.load(directory.join("made.tar")).map(drop),
    ),
    operation(
        "import",
        |_, _| {},
        |images, directory, _| images.import(directory.join("keep.tar"), Some("again:1")).map(drop),
    ),
    operation("commit", unpacked, |images, directory, _| {
        let commit = Commit::new().time(UNIX_EPOCH).reference("new:1");
        images.find("app:1")?.commit(directory.join("upper"), &commit).map(drop)
    }),
    operation("squash", unpacked, |images, _, _| {
        let commit = Commit::new().time(UNIX_EPOCH).reference("new:1");
        images.find("app:1")?.squash(&commit).map(drop)
    }),
    operation("tag", loaded, |images, _, _| images.tag("app:1", "new:1")),
    Operation {
        makes_room: true,
        ..operation("remove", unpacked, |images, _, _| images.remove("app:1"))
    },
    Operation {
        makes_room: true,
        ..operation(
            "prune",
            |images, directory| {
                unpacked(images, directory);
                images.tag("keep:1", "app:1").unwrap();
            },
            |images, _, _| images.prune(Prune::Nameless).map(drop),
        )
    },
    operation("save", loaded, |images, directory, _| {
        images.save(&["app:1"], directory.join("saved.tar"), ArchiveFormat::Oci)
    }),
    Operation {
        takes_room: false,
        ..operation("push", loaded, |images, _, server| {
            let registries = quick().access(server, Access::new().plain_http());
            let options = PushOptions::new().registries(&registries);
            let image = images.find("app:1")?;
            images.push(&image, &format!("{server}/new:1"), &options).map(drop)
        })
    },
];

fn loaded(images: &Images, directory: &Path) {
    images.load(directory.join("made.tar")).unwrap();
}

fn unpacked(images: &Images, directory: &Path) {
    loaded(images, directory);
    images.find("app:1").unwrap().layers().unwrap();
}

/// Where an operation is run: a store, what it reads, and a copy of the store as it was.
pub(crate) struct Field(tempfile::TempDir);

impl Field {
    pub(crate) fn new(operation: &Operation) -> Field {
        // On a tmpfs, if there is one: it is not the power that fails here.
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("skep");
        let field = Field(builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).unwrap());
        std::fs::create_dir(field.path("store")).unwrap();
        std::fs::create_dir_all(field.path("upper/u")).unwrap();
        for i in 0..20 {
            std::fs::write(field.path(&format!("upper/u/{i}")), "u").unwrap();
        }
        std::fs::write(field.path("keep.tar"), archive(&[("k/", ""), ("k/f", "kept")])).unwrap();
        std::fs::write(field.path("saved.tar"), "former").unwrap();
        app().archive(field.root(), "app:1");
        let images = Images::open(&field.path("store")).unwrap();
        let keep = images.import(field.path("keep.tar"), Some("keep:1")).unwrap();
        keep.layers().unwrap();
        (operation.prepare)(&images, field.root());
        field.copy("store", "former");
        field
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Brings everything back to where the operation begins.
    pub(crate) fn restore(&self) {
        std::fs::remove_dir_all(self.path("store")).unwrap();
        self.copy("former", "store");
        std::fs::write(self.path("saved.tar"), "former").unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        let status = Command::new("cp").arg("-a").args([self.path(from), self.path(to)]).status();
        assert!(status.unwrap().success());
    }

    /// What the process has said at its end.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_else(|_| "nothing".to_owned())
    }

    /// Asserts that what is saved is the former file, or whole.
    pub(crate) fn check_saved(&self, at: &str) {
        let saved = self.path("saved.tar");
        if std::fs::read(&saved).unwrap() != b"former" {
            let elsewhere = tempfile::Builder::new().prefix("skep").tempdir().unwrap();
            let images = Images::open(elsewhere.path()).unwrap();
            let loaded = images.load(&saved).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(*loaded.id(), app().id(), "{at}");
        }
        for name in crate::state::names(self.root()) {
            // Killed in the instant in which it takes the other's place.
            if name.starts_with(".skep-") {
                std::fs::remove_file(self.path(&name)).unwrap();
            }
        }
    }
}

/// A tar archive: a name that ends with a slash is a directory.
fn archive(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(if name.ends_with('/') { 0o755 } else { 0o644 });
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The image that comes and goes: directories, files, whiteouts, an opaque directory, and a layer
/// that is larger than what is read at once.
pub(crate) fn app() -> Made {
    let names: Vec<String> = (0..40).map(|i| format!("d{}/f{i}", i % 4)).collect();
    let lower: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "lower")).collect();
    let large = "x".repeat(300_000);
    let layers = vec![
        archive(&lower),
        archive(&[("d0/.wh.f0", ""), ("d1/.wh..wh..opq", ""), ("d1/new", "n"), ("e/", "")]),
        archive(&[("large", &large), ("d2/f2", "upper")]),
    ];
    Made::of("killed", layers, "linux", architecture())
}

/// A registry with [`app`] as `app:1`, which takes what is pushed.
pub(crate) struct Registry(Server);

impl Registry {
    pub(crate) fn start() -> Registry {
        let made = app();
        Registry(Server::start(move |asked| match asked.method.as_str() {
            "GET" => registry(&made, asked),
            _ => take(asked),
        }))
    }

    pub(crate) fn name(&self) -> String {
        self.0.name()
    }

    /// From which byte on each blob was fetched.
    pub(crate) fn fetched(&self) -> BTreeMap<Digest, u64> {
        let mut fetched = BTreeMap::new();
        for asked in self.0.asked() {
            let Some((_, digest)) = asked.target.split_once("/blobs/") else { continue };
            let range = asked.header("range").and_then(|range| range.strip_prefix("bytes="));
            let from = range.and_then(|range| range.strip_suffix('-')?.parse().ok());
            let former = fetched.insert(Digest::parse(digest).unwrap(), from.unwrap_or(0));
            assert_eq!(former, None, "a blob is fetched twice");
        }
        fetched
    }

    /// From which byte on a store lacks each blob.
    pub(crate) fn missing(store: &Path) -> BTreeMap<Digest, u64> {
        let mut missing = BTreeMap::new();
        for blob in app().blobs() {
            let digest = Digest::of(blob);
            let have = std::fs::metadata(store.join("partial").join(digest.hex()));
            let have = have.map_or(0, |have| have.len());
            let stored = store.join("images/blobs/sha256").join(digest.hex()).exists();
            if !stored && have < blob.len() as u64 {
                missing.insert(digest, have);
            }
        }
        missing
    }
}

fn take(asked: &Asked) -> Reply {
    match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").header("Location", "/up/1?state=x"),
        _ => Reply::new(201, ""),
    }
}
