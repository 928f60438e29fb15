//! The files of images and containers: their layers, exported, and compared.

use std::ffi::{CString, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use skep::image::{Change, ChangeKind, Lease};

use crate::argument::Text;
use crate::child::skep_child;
use crate::error::{path_string, skep_error};
use crate::image::skep_image;
use crate::list::skep_text_list;
use crate::panic::{self, call};

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_change_kind {
    /// It was not there. In a directory that was not there, so is everything.
    SKEP_CHANGE_ADDED = 1,
    /// Its type, owner, mode, xattrs, contents or, unless it is a directory, date is another.
    SKEP_CHANGE_CHANGED = 2,
    /// It is there no more, and neither is what was in it.
    SKEP_CHANGE_DELETED = 3,
}

/// One path that is other in one root file system than in another.
#[derive(Debug)]
pub struct skep_change {
    path: CString,
    kind: skep_change_kind,
}

/// All that is other, by path. It never changes: any thread may read it.
#[derive(Debug)]
pub struct skep_change_list {
    changes: Vec<skep_change>,
}

/// Keeps an image in its store. For any thread.
#[derive(Debug)]
pub struct skep_lease {
    _lease: Lease,
}

impl From<Vec<Change>> for skep_change_list {
    fn from(changes: Vec<Change>) -> skep_change_list {
        let change = |change: &Change| skep_change {
            path: path_string(&change.path),
            kind: match change.kind {
                ChangeKind::Added => skep_change_kind::SKEP_CHANGE_ADDED,
                ChangeKind::Changed => skep_change_kind::SKEP_CHANGE_CHANGED,
                ChangeKind::Deleted => skep_change_kind::SKEP_CHANGE_DELETED,
            },
        };
        skep_change_list { changes: changes.iter().map(change).collect() }
    }
}

/// The directories of an image's unpacked layers, bottom first. What is missing is unpacked: a start
/// does so itself, and to do it ahead keeps the first start short. To use them, hold a lease.
///
/// Errors: SKEP_DIGEST_MISMATCH if a layer is not what the configuration says; SKEP_INVALID_DATA if it
/// is malformed or hostile; SKEP_PERMISSION_DENIED without the rights; SKEP_RESOURCE_EXHAUSTED on a full
/// disk; SKEP_NOT_FOUND if the image was removed; SKEP_CANCELLED.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_layers(
    image: Option<&skep_image>,
    paths: Option<&mut MaybeUninit<Box<skep_text_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_image_layers", error, |call| {
        let image = &call.given(image, "image")?.image;
        let slot = call.given(paths, "paths")?;
        slot.write(Box::new(image.layers()?.into()));
        Ok(())
    })
}

/// Keeps an image from being removed, by any process, until the lease is freed. Containers have their
/// own.
///
/// Errors: SKEP_NOT_FOUND if it was removed since it was found.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_lease(
    image: Option<&skep_image>,
    lease: Option<&mut MaybeUninit<Box<skep_lease>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_image_lease", error, |call| {
        let image = &call.given(image, "image")?.image;
        let slot = call.given(lease, "lease")?;
        slot.write(Box::new(skep_lease { _lease: image.lease()? }));
        Ok(())
    })
}

/// Frees a lease: the image may be removed. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_lease_free(lease: Option<Box<skep_lease>>) {
    panic::free(lease);
}

/// Writes all files of an image as one tar archive, which replaces a file at `path`, as docker's
/// `export` does: skep_engine_import_image() makes an image of it, without the configuration. It is
/// readable by its owner only, deterministic, and at `path` when it is complete.
///
/// Errors: those of skep_image_layers(); SKEP_INVALID_INPUT for an image without layers, or if `path` is
/// something else than a file; SKEP_UNSUPPORTED for what no archive can hold. The former file stays then.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_export(
    image: Option<&skep_image>,
    path: Text<'_>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_image_export", error, |call| {
        let image = &call.given(image, "image")?.image;
        Ok(image.export(path.path(call, "path")?)?)
    })
}

/// Writes all files of a container's root as skep_image_export() does; file systems that are mounted in
/// it are left out. Its state is as for skep_child_commit().
///
/// Errors: SKEP_INVALID_STATE if its files are gone; those of skep_image_export().
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_export(
    child: Option<&skep_child>,
    path: Text<'_>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_export", error, |call| {
        let child = &call.given(child, "child")?.child;
        Ok(child.export(path.path(call, "path")?)?)
    })
}

/// What is other in an image's files than in those of `base`. Of a directory that was deleted only
/// itself is among it, of one that was added everything in it.
///
/// Errors: those of skep_image_layers(); SKEP_INVALID_INPUT if either has no layers.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_diff(
    image: Option<&skep_image>,
    base: Option<&skep_image>,
    changes: Option<&mut MaybeUninit<Box<skep_change_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_image_diff", error, |call| {
        let image = &call.given(image, "image")?.image;
        let base = &call.given(base, "base")?.image;
        let slot = call.given(changes, "changes")?;
        slot.write(Box::new(image.diff(base)?.into()));
        Ok(())
    })
}

/// What a container has changed of its root, as docker's `diff`. Its state is as for
/// skep_child_commit().
///
/// Errors: SKEP_INVALID_STATE if its files are gone; those of reading them.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_diff(
    child: Option<&skep_child>,
    changes: Option<&mut MaybeUninit<Box<skep_change_list>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_child_diff", error, |call| {
        let child = &call.given(child, "child")?.child;
        let slot = call.given(changes, "changes")?;
        slot.write(Box::new(child.diff()?.into()));
        Ok(())
    })
}

/// The absolute path, which may be any bytes. Valid as long as the list; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_change_path(change: Option<&skep_change>) -> *const c_char {
    change.map_or(ptr::null(), |change| change.path.as_ptr())
}

/// What became of it: one of `enum skep_change_kind`; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_change_what(change: Option<&skep_change>) -> c_int {
    change.map_or(0, |change| change.kind as c_int)
}

/// How many there are; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_change_list_length(list: Option<&skep_change_list>) -> usize {
    list.map_or(0, |list| list.changes.len())
}

/// Change number `index`, from 0; NULL behind the last. It is the list's, and not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn skep_change_list_at(
    list: Option<&skep_change_list>,
    index: usize,
) -> Option<&skep_change> {
    list.and_then(|list| list.changes.get(index))
}

/// Frees a list and its changes. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_change_list_free(list: Option<Box<skep_change_list>>) {
    panic::free(list);
}
