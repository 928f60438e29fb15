//! Images: pulled, unpacked, shared, named and found, beside podman, umoci and tar.
//!
//! The image is the one that `tests/images/big.sh` makes, and the registry is Debian's docker-registry
//! on loopback, without TLS. Whoever pulls or unpacks begins with an empty store, and the disk is quiet
//! before its clock starts. What they leave is removed at the end: ext4 is slow to make files for some
//! minutes after as many were deleted.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use skep::image::registry::{Access, PullOptions, Registries};
use skep::image::{Images, Reference};

use crate::contender::{Contender, Outcome, timed};
use crate::peers::{is_installed, run};
use crate::shelf;
use crate::stats::{Sample, Summary};

/// The contenders' names in the tables.
pub(crate) const PULL: &str = "skep, pull";
pub(crate) const PODMAN: &str = "podman pull";
pub(crate) const UNPACK: &str = "skep, unpack";
pub(crate) const UMOCI: &str = "umoci unpack";
pub(crate) const TAR: &str = "tar xzf of each layer, one sync";

/// What is pulled and unpacked, and where from.
pub(crate) struct Field {
    registry: Registry,
    /// The OCI layout with the tags `big` and `sibling`.
    layout: PathBuf,
    scratch: PathBuf,
    /// Those so far, which have a directory each.
    rounds: Cell<u32>,
}

impl Field {
    /// Starts the registry and gives it both images.
    pub(crate) fn prepare(scratch: &Path) -> io::Result<Field> {
        let images = std::env::var_os("SKEP_TEST_IMAGES")
            .ok_or_else(|| io::Error::other("SKEP_TEST_IMAGES names no directory of images"))?;
        let layout = PathBuf::from(images).join("big-oci");
        if !layout.exists() {
            return Err(io::Error::other("tests/images/big.sh has not made its image"));
        }
        let scratch = scratch.join("images");
        fs::create_dir(&scratch)?;
        let registry = Registry::start(&scratch.join("registry"))?;
        for tag in ["big", "sibling"] {
            let mut copy = Command::new("skopeo");
            copy.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
            copy.arg(format!("oci:{}:{tag}", layout.display()));
            run(copy.arg(format!("docker://{}", registry.image(tag))))?;
        }
        Ok(Field { registry, layout, scratch, rounds: Cell::new(0) })
    }

    /// Those that pull the image and unpack it.
    pub(crate) fn pulls(&self, rounds: usize) -> Vec<Contender<'_>> {
        vec![
            self.contender(PULL, "hashed, unpacked and synced; blobs kept", rounds, |place| {
                self.pull(place, "big").map(drop)
            }),
            self.peer(PODMAN, "hashed and unpacked; not synced", "podman", rounds, |place| {
                // In a mount namespace of its own: it mounts its store on itself.
                let mut podman = Command::new("unshare");
                podman.args(["--mount", "podman", "--storage-driver", "overlay", "--root"]);
                podman.arg(place.join("root")).arg("--runroot").arg(place.join("run"));
                podman.args(["pull", "--quiet", "--tls-verify=false"]);
                run(podman.arg(self.registry.image("big")))
            }),
        ]
    }

    /// Those that unpack the image from the disk.
    pub(crate) fn unpacks(&self, rounds: usize) -> io::Result<Vec<Contender<'_>>> {
        let layers = self.layers()?;
        let store = self.scratch.join("store");
        fs::create_dir(&store)?;
        let images = Images::open(&store).map_err(io::Error::other)?;
        images.load_all(&self.layout).map_err(io::Error::other)?;
        let id = self.id(&images)?;
        let unpack = self.contender(UNPACK, "hashed and synced", rounds, move |_| {
            let image = images.find(&id).map_err(io::Error::other)?;
            image.layers().map(drop).map_err(io::Error::other)
        });
        Ok(vec![
            unpack,
            self.peer(UMOCI, "hashed; not synced", "umoci", rounds, |place| {
                let mut umoci = Command::new("umoci");
                umoci.args(["unpack", "--image"]).arg(format!("{}:big", self.layout.display()));
                run(umoci.arg(place.join("bundle")))
            }),
            self.contender(TAR, "not hashed; synced", rounds, move |place| {
                for layer in &layers {
                    run(Command::new("tar").arg("xzf").arg(layer).arg("-C").arg(place))?;
                }
                run(Command::new("sync").arg("-f").arg(place))
            }),
        ])
    }

    /// Milliseconds of the pull of an image of which the store has all but the last layer, and of one
    /// of which it has all.
    pub(crate) fn shared(&self) -> io::Result<[f64; 2]> {
        let place = self.scratch.join("place");
        fs::create_dir(&place)?;
        self.pull(&place, "big")?;
        let mut milliseconds = [0.0; 2];
        for time in &mut milliseconds {
            let start = Instant::now();
            self.pull(&place, "sibling")?;
            *time = start.elapsed().as_secs_f64() * 1e3;
        }
        fs::rename(place, self.scratch.join("shared"))?;
        Ok(milliseconds)
    }

    /// MiB of memory that a pull adds to this process at its peak.
    pub(crate) fn peak(&self) -> io::Result<f64> {
        let place = self.scratch.join("place");
        fs::create_dir(&place)?;
        // proc_pid_clear_refs(5): the peak is what is resident now.
        fs::write("/proc/self/clear_refs", "5")?;
        let before = kib("VmRSS:")?;
        self.pull(&place, "big")?;
        let peak = kib("VmHWM:")? - before;
        fs::rename(place, self.scratch.join("peak"))?;
        Ok(peak / 1024.0)
    }

    fn pull(&self, place: &Path, tag: &str) -> io::Result<skep::image::Image> {
        let images = Images::open(place).map_err(io::Error::other)?;
        let access = Access::new().plain_http();
        let registries = Registries::new().access(&self.registry.host, access);
        let options = PullOptions::new().registries(&registries);
        images.pull(&self.registry.image(tag), &options).map_err(io::Error::other)
    }

    /// One that gets an empty directory in each round.
    fn contender<'a>(
        &'a self,
        name: &str,
        note: &str,
        rounds: usize,
        round: impl Fn(&Path) -> io::Result<()> + 'a,
    ) -> Contender<'a> {
        let block = move || self.round(&round).map(|sample| vec![sample]);
        Contender { name: name.into(), note: note.into(), rounds, block: Ok(Box::new(block)) }
    }

    fn peer<'a>(
        &'a self,
        name: &str,
        note: &str,
        program: &str,
        rounds: usize,
        round: impl Fn(&Path) -> io::Result<()> + 'a,
    ) -> Contender<'a> {
        if is_installed(program) {
            self.contender(name, note, rounds, round)
        } else {
            Contender::missing(name, "not installed")
        }
    }

    fn round(&self, round: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<Sample> {
        let number = self.rounds.replace(self.rounds.get() + 1);
        let place = self.scratch.join(format!("place-{number}"));
        fs::create_dir(&place)?;
        let sample = timed(&mut || round(&place));
        // What is unpacked in the store that stays.
        let layers = self.scratch.join("store/layers");
        if layers.exists() {
            fs::rename(&layers, place.join("layers"))?;
            fs::create_dir(&layers)?;
        }
        run(Command::new("sync").arg("-f").arg(&self.scratch))?;
        sample
    }

    /// The id of the image that is tagged `big`: with the most layers, of two the first.
    fn id(&self, images: &Images) -> io::Result<String> {
        let list = images.list().map_err(io::Error::other)?;
        let first = list.first().ok_or_else(|| io::Error::other("the layout has no image"))?;
        Ok(first.id.to_string())
    }

    /// The blobs of the image's layers, bottom first.
    fn layers(&self) -> io::Result<Vec<PathBuf>> {
        let blob = |digest: &str| {
            let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
            self.layout.join("blobs/sha256").join(hex)
        };
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(self.layout.join("index.json"))?)?;
        let digest = |value: &serde_json::Value| value["digest"].as_str().map(blob);
        let missing = || io::Error::other("the layout is malformed");
        let manifest = digest(&index["manifests"][0]).ok_or_else(missing)?;
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest)?)?;
        let layers = manifest["layers"].as_array().ok_or_else(missing)?;
        layers.iter().map(|layer| digest(layer).ok_or_else(missing)).collect()
    }
}

/// Ratios that are aimed at, as far as they were measured: the goal, and what it is.
pub(crate) fn goals(outcomes: &[Outcome]) -> Vec<(String, Vec<String>)> {
    let wall = |name: &str| {
        let outcome = outcomes.iter().find(|outcome| outcome.name == name)?;
        Some(Summary::of(outcome.samples.as_ref().ok()?)?.median_us())
    };
    let row = |(own, other, at_most): (&str, &str, f64)| {
        let ratio = wall(own)? / wall(other)?;
        let missed = if ratio > at_most { ", missed" } else { "" };
        let cells = vec![format!("{at_most:.2}"), format!("{ratio:.2}{missed}")];
        Some((format!("{own}, of {other}"), cells))
    };
    let goals = [(PULL, PODMAN, 0.35), (UNPACK, UMOCI, 0.4), (UNPACK, TAR, 0.6)];
    goals.into_iter().filter_map(row).collect()
}

/// The tables without peers: what an image costs that shares layers, what a pull takes of memory, and
/// what a reference and a store cost.
pub(crate) fn small(field: &Field, rounds: usize) -> io::Result<Vec<(String, Vec<String>)>> {
    let row = |name: &str, value: String| (name.to_owned(), vec![value]);
    let [last, none] = field.shared()?;
    let [open, list] = shelf::open_and_list(&field.scratch.join("shelf"), rounds)?;
    Ok(vec![
        row("pull of an image that shares all layers but a small one", format!("{last:.1} ms")),
        row("pull of an image that is there", format!("{none:.1} ms")),
        row("memory that a pull and unpack adds, at its peak", format!("{:.1} MiB", field.peak()?)),
        row("a reference, parsed", format!("{:.2} µs", reference_us(rounds))),
        row("a store of 200 images and 1,000 layers, opened", format!("{open:.2} ms")),
        row("its images listed, for the first time", format!("{list:.2} ms")),
    ])
}

fn reference_us(rounds: usize) -> f64 {
    const NAMES: [&str; 4] = [
        "debian",
        "localhost:5000/team/app:1.2.3",
        "ghcr.io/a/b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "quay.io/some/long/path/to/an/image:latest",
    ];
    let count = rounds * 10_000;
    let start = Instant::now();
    for i in 0..count {
        let parsed = Reference::parse(std::hint::black_box(NAMES[i % NAMES.len()]));
        assert!(std::hint::black_box(parsed).is_ok());
    }
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn kib(field: &str) -> io::Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/self/status has no {field}")))
}

/// A docker-registry on loopback, which ends when this process does, however it does: a shell waits
/// for the end of its input.
struct Registry {
    host: String,
    shell: Child,
}

impl Registry {
    fn start(directory: &Path) -> io::Result<Registry> {
        fs::create_dir(directory)?;
        let config = directory.join("config.yml");
        let data = directory.join("data");
        fs::write(
            &config,
            format!(
                "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
                data.display()
            ),
        )?;
        let script = r#"docker-registry serve "$1" 2>&1 & cat >/dev/null; kill $!; wait $!"#;
        let mut shell = Command::new("sh")
            .args(["-c", script, "skep-registry"])
            .arg(config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = shell.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut log = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = log.find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            Some(rest.chars().take_while(char::is_ascii_digit).collect::<String>())
        });
        // Read on, or it stops at a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        let port = port.ok_or_else(|| io::Error::other("docker-registry does not start"))?;
        Ok(Registry { host: format!("localhost:{port}"), shell })
    }

    fn image(&self, tag: &str) -> String {
        format!("{}/skep/{tag}:1", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
