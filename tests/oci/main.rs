//! `skep-oci` as its callers use it: by hand, under a child subreaper, and under podman.
//!
//! Debian packages: busybox-static, podman (with conmon), util-linux.

mod bundle;
mod errors;
mod lifecycle;
mod podman;
mod subreaper;
