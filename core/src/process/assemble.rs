//! The plan that mounts an overlay of many layers where fsconfig(2) cannot (before Linux 6.7).
//!
//! There the lower layers are one option of at most 255 bytes, and only mount(2) takes a page of
//! them. That needs a place to attach it to and short names for the layers: a mount namespace of
//! the keeper's has both, where the host must not be touched. In: detached copies of the layers,
//! lowest first, and of the container's directory. Out: the mount, detached again, which the plan's
//! `SendMount` hands to the library.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

use super::plan::{Input, Operation, Plan};
use crate::sys::protocol::MAX_FDS;
use crate::{Error, Result};

/// As many as fit one message beside the plan and the container's directory.
pub(crate) const MAX_LAYERS: usize = MAX_FDS - 2;

/// A plan for so many layers, at most [`MAX_LAYERS`].
pub(crate) fn overlay(layers: usize) -> Plan {
    let mut plan = Plan::default();
    let directory = |path: CString| Operation::Directory { path, mode: 0o700 };
    plan.push(Operation::Unshare { flags: libc::CLONE_NEWNS as u32 });
    plan.push(Operation::Mount {
        fs: c"tmpfs".into(),
        options: vec![],
        attributes: 0,
        target: c"/scratch".into(),
    });
    for index in 0..layers {
        attach(&mut plan, Input::Layer(index), path(&format!("/scratch/{index}")));
    }
    attach(&mut plan, Input::Workspace, c"/scratch/w".into());
    plan.push(directory(c"/scratch/m".into()));
    plan.push(Operation::Overlay { layers });
    plan.push(Operation::SendMount { path: c"/scratch/m".into() });
    plan
}

/// The mount namespace of the process that opens it.
pub(crate) const HOST: &str = "/proc/self/ns/mnt";

/// A plan that copies the mount at `path` of a mount namespace, its one input, for what stands
/// between a program and the kernel and does not know open_tree, as valgrind 3.19.
pub(crate) fn copy(path: &Path) -> Result<Plan> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| {
        Error::invalid_input("mount", path.display().to_string()).cause("it has a NUL byte")
    })?;
    let mut plan = Plan::default();
    let namespace = plan.input(Input::Namespace(HOST.into()));
    plan.push(Operation::Enter { namespace, path: HOST.into() });
    plan.push(Operation::SendMount { path });
    Ok(plan)
}

fn attach(plan: &mut Plan, input: Input, target: CString) {
    plan.push(Operation::Directory { path: target.clone(), mode: 0o700 });
    let mount = plan.input(input);
    plan.push(Operation::Attach { mount, target });
}

/// Of digits and slashes only.
fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_overlay_of_three_layers() {
        insta::assert_snapshot!(super::overlay(3).to_string());
    }
}
