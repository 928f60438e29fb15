//! Everything that stands ready before a container's process is started.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci_spec::runtime::Spec;

use super::root::Root;
use crate::image::Lease;
use crate::process::compile::{Surroundings, compile};
use crate::process::plan::{Input, Plan};
use crate::rootfs::overlay;
use crate::spec::capability;
use crate::spec::config::ImageDefaults;
use crate::spec::mount::MountOptions;
use crate::spec::seccomp::{self, Arch, Filter};
use crate::sys::mount;
use crate::{Error, ErrorKind, Result};

/// A container's directory in the store: removed with this.
#[derive(Debug)]
pub(super) struct Workspace(PathBuf);

impl Workspace {
    /// Makes `upper` and `work` in `owner`'s directory. The upper one looks like `lower`: its mode
    /// and owner are those of the container's root directory.
    fn new(owner: &Path, id: &str, lower: &Path) -> Result<Workspace> {
        let subject = || lower.display().to_string();
        let like =
            fs::metadata(lower).map_err(|error| Error::os("use as root", subject(), error))?;
        let path = owner.join(id);
        let failed = |error| Error::os("make a directory for", format!("container {id}"), error);
        let directory = fs::DirBuilder::new();
        directory.create(&path).map_err(failed)?;
        let workspace = Workspace(path);
        fs::DirBuilder::new().mode(0o700).create(workspace.work()).map_err(failed)?;
        let upper = workspace.upper();
        fs::DirBuilder::new().mode(0o755).create(&upper).map_err(failed)?;
        // Explicitly: the host's umask is not ours to rely on.
        let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
        fs::set_permissions(&upper, mode).map_err(failed)?;
        if (like.uid(), like.gid()) != (0, 0) {
            std::os::unix::fs::chown(&upper, Some(like.uid()), Some(like.gid())).map_err(failed)?;
        }
        Ok(workspace)
    }

    fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Removes the directory with all that the container has written.
    pub(super) fn remove(self) -> Result<()> {
        let result = remove_directory(&self.0);
        let subject = self.0.display().to_string();
        std::mem::forget(self);
        result.map_err(|error| Error::os("remove", subject, error))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = remove_directory(&self.0);
    }
}

/// Removes a container's directory. One in which nothing has been written goes without opening any
/// file: a start that failed for want of file descriptors has none for this either.
fn remove_directory(path: &Path) -> std::io::Result<()> {
    // Inside of work it is overlay's, as of a mount that is volatile.
    let volatile = "work/work/incompat/volatile";
    let _ = fs::remove_file(path.join(volatile).join("dirty"));
    for inner in [volatile, "work/work/incompat", "work/work", "work", "upper", ""] {
        match fs::remove_dir(path.join(inner)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return fs::remove_dir_all(path);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A mounted root file system, and what keeps it there.
pub(super) struct Prepared {
    pub(super) mount: OwnedFd,
    pub(super) workspace: Workspace,
    pub(super) lease: Option<Lease>,
}

/// Mounts `root` with a writable layer in `owner`'s directory.
pub(super) fn root(root: &Root, owner: &Path, id: &str) -> Result<Prepared> {
    let (layers, lease) = match root {
        // Leased before its layers are looked at, so that none is removed in between.
        Root::Image(image) => {
            let lease = image.lease()?;
            (image.layers()?, Some(lease))
        }
        Root::Directory(path) => (vec![path.clone()], None),
    };
    let top = layers.last().cloned().unwrap_or_default();
    let workspace = Workspace::new(owner, id, &top)?;
    let (upper, work) = (workspace.upper(), workspace.work());
    let mount = overlay::mount(&layers, overlay::Writable { upper: &upper, work: &work })?;
    Ok(Prepared { mount, workspace, lease })
}

/// What the image says about how it is run; nothing for a directory.
pub(super) fn defaults(root: &Root) -> ImageDefaults {
    match root {
        Root::Image(image) => image_defaults(image),
        Root::Directory(_) => ImageDefaults::default(),
    }
}

fn image_defaults(_image: &crate::image::Image) -> ImageDefaults {
    ImageDefaults::default()
}

/// A plan with the file descriptors that it wants, but those of the caller.
pub(super) struct Compiled {
    pub(super) plan: Plan,
    binds: Vec<(usize, OwnedFd)>,
}

impl Compiled {
    /// Compiles `spec` and opens what it binds.
    pub(super) fn new(spec: &Spec, cgroup_files: usize) -> Result<Compiled> {
        let mut binds = Vec::new();
        let mut bind_is_directory = Vec::new();
        for (index, mount) in spec.mounts().iter().flatten().enumerate() {
            let opened = open_bind(mount)?;
            bind_is_directory.push(opened.as_ref().is_none_or(|(_, directory)| *directory));
            binds.extend(opened.map(|(source, _)| (index, source)));
        }
        let around = Surroundings {
            cgroup_files,
            bind_is_directory: &bind_is_directory,
            seccomp: Some(default_filter()?),
            ..Surroundings::default()
        };
        Ok(Compiled { plan: compile(spec, &around)?, binds })
    }

    /// The file descriptors of the plan's inputs, in its order.
    pub(super) fn inputs<'a>(
        &'a self,
        root: &'a OwnedFd,
        groups: &'a [OwnedFd],
        stdio: &'a [OwnedFd; 3],
    ) -> Vec<BorrowedFd<'a>> {
        let bind = |wanted: usize| self.binds.iter().find(|(index, _)| *index == wanted);
        let find = |input: &Input| match input {
            Input::Root => Some(root.as_fd()),
            Input::Cgroup(index) => groups.get(*index).map(AsFd::as_fd),
            Input::Bind(index) => bind(*index).map(|(_, source)| source.as_fd()),
            Input::Stdio(number) => stdio.get(*number as usize).map(AsFd::as_fd),
            Input::Namespace(_) | Input::Go => None,
        };
        self.plan.inputs().iter().filter_map(find).collect()
    }
}

/// Opens what a bind mount shows, detached from the host, and says whether it is a directory.
fn open_bind(bind: &oci_spec::runtime::Mount) -> Result<Option<(OwnedFd, bool)>> {
    let destination = bind.destination().to_string_lossy().into_owned();
    let none = Vec::new();
    let options = MountOptions::parse(&destination, bind.options().as_ref().unwrap_or(&none))?;
    let Some(source) = bind.source().as_ref().filter(|_| options.bind) else { return Ok(None) };
    let failed = |error: std::io::Error| {
        Error::os("bind", format!("{} to {destination}", source.display()), error)
    };
    let directory = fs::metadata(source).map_err(failed)?.is_dir();
    let tree = mount::clone_tree(source, options.recursive).map_err(|e| failed(e.into()))?;
    let (set, clear, recursive) = (options.set, options.clear, options.recursive);
    mount::set_attributes(tree.as_fd(), set, clear, options.propagation, recursive)
        .map_err(|errno| failed(errno.into()))?;
    Ok(Some((tree, directory)))
}

/// Docker's seccomp profile for docker's capabilities, compiled once.
fn default_filter() -> Result<&'static [u8]> {
    static FILTER: OnceLock<Filter> = OnceLock::new();
    if let Some(filter) = FILTER.get() {
        return Ok(filter.as_bytes());
    }
    let native = Arch::native().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "compile", "the seccomp profile")
            .cause("it has no system calls of this machine's architecture")
    })?;
    let profile = seccomp::default_profile(&capability::DEFAULT.into_iter().collect(), native);
    let filter = seccomp::compile(&profile, native)?;
    Ok(FILTER.get_or_init(|| filter).as_bytes())
}
