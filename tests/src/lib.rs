//! What the integration tests share: an engine on a store of its own, and a look at what is left.

pub mod host;
pub mod left;
pub mod proc;
pub mod state;

use std::path::Path;

use skep::{Command, Engine, Root};
use tempfile::TempDir;

/// An engine whose store is a temporary directory, removed with it.
pub struct TestEngine {
    pub engine: Engine,
    store: TempDir,
}

impl TestEngine {
    /// Opens an engine on a fresh store. Panics where containers cannot be run at all.
    pub fn new() -> TestEngine {
        let store =
            tempfile::Builder::new().prefix("skep-test-").tempdir().expect("temp directory");
        let engine = Engine::open(store.path()).expect("an engine on a fresh store");
        TestEngine { engine, store }
    }

    /// The store's directory.
    pub fn store(&self) -> &Path {
        self.store.path()
    }

    /// A container on the host's own root that runs `script` in a shell.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.engine.command(Root::host());
        command.args(["sh", "-c", script]);
        command
    }
}

impl Default for TestEngine {
    fn default() -> Self {
        TestEngine::new()
    }
}
