//! What the integration tests share: an engine on a store of its own, a program that looks at a
//! container from within, and a look at what is left outside.

pub mod host;
pub mod left;
pub mod machine;
pub mod probe;
pub mod proc;
pub mod state;

use std::fs;
use std::path::{Path, PathBuf};

use skep::{Child, Command, Engine, Mount, Root};
use tempfile::TempDir;

/// An engine whose store is a temporary directory, removed with it.
pub struct TestEngine {
    pub engine: Engine,
    store: TempDir,
}

impl TestEngine {
    /// Opens an engine on a fresh store. Panics where containers cannot be run at all.
    pub fn new() -> TestEngine {
        let store = temporary("skep-test-");
        let engine = Engine::open(store.path()).expect("an engine on a fresh store");
        TestEngine { engine, store }
    }

    /// The store's directory.
    pub fn store(&self) -> &Path {
        self.store.path()
    }

    /// A container on the host's own root that runs `args`.
    pub fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = self.engine.command(Root::host());
        command.args(args);
        command
    }

    /// A container on the host's own root that runs `script` in a shell.
    pub fn shell(&self, script: &str) -> Command {
        self.command(["sh", "-c", script])
    }

    /// A container on the host's own root that runs [`probe`] `mode` with `args`.
    pub fn probe(&self, mode: &str, args: &[&str]) -> Command {
        let mut command = self.engine.command(Root::host());
        probe::prepare(&mut command, mode, args);
        command
    }

    /// What `script` prints in a container on the host's own root.
    pub fn run(&self, script: &str) -> String {
        said(&mut self.shell(script))
    }

    /// The control groups of `child` in every hierarchy, as the store has recorded them.
    pub fn groups_of(&self, child: &Child) -> Vec<PathBuf> {
        let parents = self.group_parents();
        parents
            .iter()
            .map(|parent| parent.join(child.id()))
            .filter(|group| group.exists())
            .collect()
    }

    /// The directories in which this engine's control groups are made.
    pub fn group_parents(&self) -> Vec<PathBuf> {
        let owners = fs::read_dir(self.store().join("attached")).expect("attached");
        let recorded = owners.map(|owner| owner.expect("an owner").path().join("groups"));
        let recorded: Vec<_> = recorded.filter_map(|path| fs::read_to_string(path).ok()).collect();
        recorded.iter().flat_map(|text| text.lines().map(PathBuf::from)).collect()
    }

    /// The directory of `child` in the store, while it lives.
    pub fn directory_of(&self, child: &Child) -> Option<PathBuf> {
        let owners = fs::read_dir(self.store().join("attached")).expect("attached");
        let directories = owners.map(|owner| owner.expect("an owner").path().join(child.id()));
        directories.into_iter().find(|directory| directory.exists())
    }
}

impl Default for TestEngine {
    fn default() -> Self {
        TestEngine::new()
    }
}

/// A temporary directory, removed with what is returned.
pub fn temporary(prefix: &str) -> TempDir {
    tempfile::Builder::new().prefix(prefix).tempdir().expect("a temporary directory")
}

/// What `command` prints. It must succeed, and have nothing to complain about.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    let output = command.output().expect("a container that starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// Says why a test ends here: something that can be installed is missing. Where `SKEP_FORBID_SKIPS`
/// is set, as by `make test`, which installs it, that is a failure.
#[track_caller]
pub fn skipped(reason: &str) {
    assert!(std::env::var_os("SKEP_FORBID_SKIPS").is_none(), "skipping is forbidden: {reason}");
    eprintln!("skipped: {reason}");
}

/// A small root file system of one static busybox, with its applets; `None`, said aloud, where the
/// host has none.
pub fn busybox_tree() -> Option<TempDir> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join("busybox"));
    let Some(busybox) = places.find(|path| is_static(path)) else {
        skipped("there is no static busybox in PATH (Debian's busybox-static)");
        return None;
    };
    let tree = temporary("skep-tree-");
    for directory in ["bin", "etc", "data"] {
        fs::create_dir(tree.path().join(directory)).expect("a directory");
    }
    fs::copy(busybox, tree.path().join("bin/busybox")).expect("a copy of busybox");
    for applet in
        ["sh", "cat", "echo", "ls", "mkdir", "stat", "touch", "id", "rm", "ln", "readlink"]
    {
        std::os::unix::fs::symlink("busybox", tree.path().join("bin").join(applet))
            .expect("a link");
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(tree.path(), mode).expect("the tree's mode");
    Some(tree)
}

/// A dynamic executable names its loader in its first page.
fn is_static(program: &Path) -> bool {
    let Ok(bytes) = fs::read(program) else { return false };
    let head = &bytes[..bytes.len().min(4096)];
    bytes.starts_with(b"\x7fELF") && !head.windows(7).any(|window| window == b"/ld-lin")
}

/// A read-only bind mount of this test program at `destination`.
pub fn this_program(destination: &str) -> Mount {
    Mount::bind(std::env::current_exe().expect("the test program"), destination).read_only()
}
