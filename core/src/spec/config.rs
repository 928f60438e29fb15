//! What a container is asked to be, before it is lowered to a runtime spec.

use std::path::PathBuf;

use oci_spec::runtime::PosixRlimitType;

use crate::{Error, Result};

/// Where the command is looked for if the environment has no PATH: docker's default.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The configuration of one container. Everything has a safe default.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerConfig {
    /// Replaces the image's entrypoint, and with it the image's command.
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub(crate) args: Vec<String>,
    /// Added to the image's, or replacing them by name.
    pub(crate) env: Vec<(String, String)>,
    /// Replaces the image's working directory.
    pub(crate) working_directory: Option<String>,
    /// Replaces the image's user: `user`, `uid`, `user:group`, `uid:gid`.
    pub(crate) user: Option<String>,
    /// The container's id by default.
    pub(crate) hostname: Option<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) read_only: bool,
    /// Allows set-user-ID programs and file capabilities to raise privileges.
    pub(crate) allow_new_privileges: bool,
    pub(crate) rlimits: Vec<Rlimit>,
}

/// A mount into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub(crate) kind: MountKind,
    pub(crate) destination: PathBuf,
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind { source: PathBuf },
    Tmpfs { size: Option<u64> },
}

impl Mount {
    /// The host's file or directory `source` at `destination`, with the mounts below it; writable.
    ///
    /// A source that does not exist is an error when the container starts, not a directory made in
    /// passing: a typing error should not create anything on the host.
    pub fn bind(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Mount {
        let kind = MountKind::Bind { source: source.into() };
        Mount { kind, destination: destination.into(), read_only: false }
    }

    /// An empty file system in memory at `destination`: mode 1777, no set-user-ID, no devices, no
    /// execution, as docker's `--tmpfs`. What is in it counts as the container's memory.
    pub fn tmpfs(destination: impl Into<PathBuf>) -> Mount {
        let kind = MountKind::Tmpfs { size: None };
        Mount { kind, destination: destination.into(), read_only: false }
    }

    /// Limits a tmpfs to `bytes`; half of the machine's memory without. Nothing for a bind.
    pub fn size(mut self, bytes: u64) -> Mount {
        if let MountKind::Tmpfs { size } = &mut self.kind {
            *size = Some(bytes);
        }
        self
    }

    /// Refuses writes through this mount, and through those below it.
    pub fn read_only(mut self) -> Mount {
        self.read_only = true;
        self
    }
}

/// A resource limit of the container's processes, as setrlimit(2) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// Which resource.
    pub(crate) resource: PosixRlimitType,
    /// What is enforced.
    pub(crate) soft: u64,
    /// How far the container may raise the soft one.
    pub(crate) hard: u64,
}

/// The resource of setrlimit(2) that `name` stands for: `nofile` as docker's `--ulimit` has it, or
/// `RLIMIT_NOFILE`; in either case.
///
/// # Errors
/// `InvalidInput` for a name that is none.
pub fn rlimit_resource(name: &str) -> Result<PosixRlimitType> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("RLIMIT_") { upper } else { format!("RLIMIT_{upper}") };
    full.parse().map_err(|_| {
        Error::invalid_input("limit", format!("resource {name:?}"))
            .cause("there is no limit of that name")
            .fix("give one of getrlimit(2), such as nofile or core")
    })
}

/// What an image says about how it is run.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageDefaults {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) working_directory: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) stop_signal: Option<String>,
}

/// A user as numbers, with what the image's files say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_short_and_full_names() {
        for name in ["nofile", "NOFILE", "rlimit_nofile", "RLIMIT_NOFILE"] {
            assert_eq!(rlimit_resource(name).unwrap(), PosixRlimitType::RlimitNofile);
        }
        assert_eq!(
            rlimit_resource("files").unwrap_err().to_string(),
            "cannot limit resource \"files\": there is no limit of that name; give one of \
             getrlimit(2), such as nofile or core"
        );
    }
}
