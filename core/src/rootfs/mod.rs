//! Root file systems: mounts that are attached nowhere until a container takes them.

pub(crate) mod overlay;
pub(crate) mod user;
