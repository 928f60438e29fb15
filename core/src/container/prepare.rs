//! Everything that stands ready before a container's process is started.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};

use super::root::Root;
use super::roots::MountedRoot;
use super::seat::Seat;
use crate::image::{Lease, RunConfig};
use crate::process::compile::{Surroundings, compile};
use crate::process::plan::{Input, Plan};
use crate::spec::capability;
use crate::spec::config::ImageDefaults;
use crate::spec::mount::MountOptions;
use crate::spec::seccomp::{self, Arch, Filter};
use crate::sys::mount;
use crate::{Error, ErrorKind, Result};

/// A root file system that is ready, and what keeps it there.
pub(super) struct Prepared {
    /// The container's own mount of it.
    pub(super) mount: OwnedFd,
    pub(super) root: MountedRoot,
    /// What it is made of.
    pub(super) source: Root,
    pub(super) lease: Option<Arc<Lease>>,
}

/// Makes `root` ready at `seat`.
pub(super) fn root(source: &Root, seat: &Seat, id: &str) -> Result<Prepared> {
    let (layers, lease) = match source {
        // Leased before its layers are looked at, so that none is removed in between.
        Root::Image(image) => {
            let lease = seat.lease(image)?;
            (image.layers()?, Some(lease))
        }
        Root::Directory(path) => (vec![path.clone()], None),
    };
    let mut root =
        seat.roots.take(&seat.keeper, &layers, lease.is_some(), &seat.owned.directory, id)?;
    Ok(Prepared { mount: root.for_container()?, root, source: source.clone(), lease })
}

/// What the image says about how it is run; nothing for a directory.
pub(super) fn defaults(root: &Root) -> ImageDefaults {
    match root {
        Root::Image(image) => image_defaults(&image.config().config),
        Root::Directory(_) => ImageDefaults::default(),
    }
}

fn image_defaults(config: &RunConfig) -> ImageDefaults {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    ImageDefaults {
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        cmd: config.cmd.clone().unwrap_or_default(),
        env: config.env.clone(),
        working_directory: given(&config.working_dir),
        user: given(&config.user),
        stop_signal: config.stop_signal.clone(),
    }
}

/// A plan with the file descriptors that it wants, but those of the caller.
pub(super) struct Compiled {
    pub(super) plan: Plan,
    /// What a plan that waits reads its go from.
    pub(super) go: Option<OwnedFd>,
    binds: Vec<(usize, OwnedFd)>,
    /// In the order in which the plan enters them.
    namespaces: Vec<OwnedFd>,
}

impl Compiled {
    /// Compiles `spec` with the default seccomp filter, and opens what it binds.
    pub(super) fn new(spec: &Spec, cgroup_files: usize) -> Result<Compiled> {
        let seccomp = Some(default_filter()?);
        Self::around(spec, Surroundings { cgroup_files, seccomp, ..Surroundings::default() })
    }

    /// Compiles `spec`, and opens what it binds and which namespaces it enters.
    pub(super) fn around(spec: &Spec, around: Surroundings<'_>) -> Result<Compiled> {
        let mut binds = Vec::new();
        let mut bind_is_directory = Vec::new();
        for (index, mount) in spec.mounts().iter().flatten().enumerate() {
            let opened = open_bind(mount)?;
            bind_is_directory.push(opened.as_ref().is_none_or(|(_, directory)| *directory));
            binds.extend(opened.map(|(source, _)| (index, source)));
        }
        let plan =
            compile(spec, &Surroundings { bind_is_directory: &bind_is_directory, ..around })?;
        let namespaces = plan.inputs().iter().filter_map(|input| match input {
            Input::Namespace(path) => Some(open_namespace(path)),
            _ => None,
        });
        let namespaces = namespaces.collect::<Result<_>>()?;
        Ok(Compiled { plan, go: None, binds, namespaces })
    }

    /// Whether nothing of the host is visible inside.
    pub(super) fn binds_nothing(&self) -> bool {
        self.binds.is_empty()
    }

    /// The file descriptors of the plan's inputs, in its order.
    pub(super) fn inputs<'a>(
        &'a self,
        root: &'a OwnedFd,
        groups: &'a [OwnedFd],
        stdio: &'a [OwnedFd; 3],
    ) -> Vec<BorrowedFd<'a>> {
        let bind = |wanted: usize| self.binds.iter().find(|(index, _)| *index == wanted);
        let mut namespaces = self.namespaces.iter();
        let find = |input: &Input| match input {
            Input::Root => Some(root.as_fd()),
            Input::Cgroup(index) => groups.get(*index).map(AsFd::as_fd),
            Input::Bind(index) => bind(*index).map(|(_, source)| source.as_fd()),
            Input::Stdio(number) => stdio.get(*number as usize).map(AsFd::as_fd),
            Input::Namespace(_) => namespaces.next().map(AsFd::as_fd),
            Input::Layer(_) | Input::Workspace => None,
            Input::Go => self.go.as_ref().map(AsFd::as_fd),
        };
        self.plan.inputs().iter().filter_map(find).collect()
    }
}

fn open_namespace(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::os("open", format!("namespace {}", path.display()), errno))
}

/// Opens what a bind mount shows, detached from the host, and says whether it is a directory.
fn open_bind(bind: &oci_spec::runtime::Mount) -> Result<Option<(OwnedFd, bool)>> {
    let destination = bind.destination().to_string_lossy().into_owned();
    let none = Vec::new();
    let options = MountOptions::parse(&destination, bind.options().as_ref().unwrap_or(&none))?;
    // As the compiler sees it: each bind has its input.
    if !options.bind && bind.typ().as_deref().is_some_and(|kind| kind != "bind") {
        return Ok(None);
    }
    let source = bind.source().as_ref().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "bind", format!("to {destination}"))
            .cause("the mount has no source")
    })?;
    let failed = |error: std::io::Error| {
        Error::os("bind", format!("{} to {destination}", source.display()), error)
    };
    let missing = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(error).fix("make it first"),
        _ => failed(error),
    };
    let directory = fs::metadata(source).map_err(missing)?.is_dir();
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
