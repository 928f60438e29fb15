//! Images made of others: of what a container wrote, and of all layers of one.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::time::{Duration, UNIX_EPOCH};

use skep::Image;
use skep::image::Commit;

use crate::argument::Text;
use crate::child::skep_child;
use crate::error::skep_error;
use crate::image::skep_image;
use crate::panic::{self, Call, call};
use crate::setting::{Setting, build};

/// What an image made by a commit is called, and how it differs from the one it is made of, beside its
/// files. For one thread at a time while options are set; any number of threads may commit with it.
///
/// The functions that set options return a code and may be called without looking at it: the first
/// that failed fails every later commit, with its error.
#[derive(Debug, Default)]
pub struct skep_commit {
    setting: Setting<Commit>,
}

/// Makes a commit without a name that changes nothing but files.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_new(
    commit: Option<&mut MaybeUninit<Box<skep_commit>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    call("skep_commit_new", error, |call| {
        call.given(commit, "commit")?.write(Box::default());
        Ok(())
    })
}

/// The image's name. Another image of that name loses it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_reference(
    commit: Option<&mut skep_commit>,
    reference: Text<'_>,
) -> c_int {
    change("skep_commit_set_reference", commit, |call, commit| {
        Ok(commit.reference(reference.str(call, "reference")?))
    })
}

/// What a container of the image runs, in the place of all that the former image says of it: a JSON
/// object as an image's configuration has it under `config`, with Cmd, Entrypoint, Env, User,
/// WorkingDir, Labels and so on.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_config(
    commit: Option<&mut skep_commit>,
    json: Text<'_>,
) -> c_int {
    change("skep_commit_set_config", commit, |call, commit| {
        let config = serde_json::from_str(json.str(call, "json")?);
        let bad = |error| call.refuse(format!("its argument json is no configuration: {error}"));
        Ok(commit.config(config.map_err(bad)?))
    })
}

/// Who made it.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_author(
    commit: Option<&mut skep_commit>,
    author: Text<'_>,
) -> c_int {
    change("skep_commit_set_author", commit, |call, commit| {
        Ok(commit.author(author.str(call, "author")?))
    })
}

/// A line for its history.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_comment(
    commit: Option<&mut skep_commit>,
    comment: Text<'_>,
) -> c_int {
    change("skep_commit_set_comment", commit, |call, commit| {
        Ok(commit.comment(comment.str(call, "comment")?))
    })
}

/// The command that made it, for its history.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_created_by(
    commit: Option<&mut skep_commit>,
    command: Text<'_>,
) -> c_int {
    change("skep_commit_set_created_by", commit, |call, commit| {
        Ok(commit.created_by(command.str(call, "command")?))
    })
}

/// The time, in seconds since 1970, that all files of the new layer, the image and its history bear:
/// the same tree is the same image then. By default files keep theirs, and the image bears the present.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_time_s(commit: Option<&mut skep_commit>, seconds: i64) -> c_int {
    change("skep_commit_set_time_s", commit, |call, commit| {
        let since = Duration::from_secs(seconds.unsigned_abs());
        let time = match seconds {
            0.. => UNIX_EPOCH.checked_add(since),
            _ => UNIX_EPOCH.checked_sub(since),
        };
        let out = || call.refuse("its argument seconds is no time of this system".into());
        Ok(commit.time(time.ok_or_else(out)?))
    })
}

/// The most bytes that the files of the new layer may have in all, holes included: a hostile container
/// can have a file of any size without having written it. Any number by default.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_set_max_size(commit: Option<&mut skep_commit>, bytes: u64) -> c_int {
    change("skep_commit_set_max_size", commit, |_, commit| Ok(commit.max_size(bytes)))
}

/// Frees it. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_commit_free(commit: Option<Box<skep_commit>>) {
    panic::free(commit);
}

/// Makes an image of a container's own and of what it has written, as `docker commit` does. `commit`
/// may be NULL: without a name.
///
/// The container may run, have ended and not been waited for, or have its files kept by
/// skep_command_set_keep_files(). One that runs is not stopped meanwhile: each file is in the image as
/// it is when it is read.
///
/// Errors: the first that an option's function returned; SKEP_INVALID_INPUT if its root is a directory,
/// or for a bad reference; SKEP_INVALID_STATE if its files are gone; SKEP_NOT_FOUND if its image was
/// removed; SKEP_UNSUPPORTED for what a layer cannot hold; SKEP_RESOURCE_EXHAUSTED on a full disk, or
/// above the commit's limit; SKEP_CANCELLED. The store is as before then.
#[unsafe(no_mangle)]
pub extern "C" fn skep_child_commit(
    child: Option<&skep_child>,
    commit: Option<&skep_commit>,
    made: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    make("skep_child_commit", commit, made, error, |call, commit| {
        Ok(call.given(child, "child")?.child.commit(commit)?)
    })
}

/// Makes an image of this one and of the host's directory `upper`, which overlayfs wrote on top of its
/// layers. Otherwise as skep_child_commit(), which is what containers have.
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_commit(
    image: Option<&skep_image>,
    upper: Text<'_>,
    commit: Option<&skep_commit>,
    made: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    make("skep_image_commit", commit, made, error, |call, commit| {
        let image = &call.given(image, "image")?.image;
        Ok(image.commit(upper.path(call, "upper")?, commit)?)
    })
}

/// Makes an image of one layer that has all of this one's files. Its history says how they came.
/// `commit` may be NULL: without a name.
///
/// Errors: as skep_child_commit(), and those of skep_image_layers().
#[unsafe(no_mangle)]
pub extern "C" fn skep_image_squash(
    image: Option<&skep_image>,
    commit: Option<&skep_commit>,
    made: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
) -> c_int {
    make("skep_image_squash", commit, made, error, |call, commit| {
        Ok(call.given(image, "image")?.image.squash(commit)?)
    })
}

fn change(
    name: &'static str,
    commit: Option<&mut skep_commit>,
    change: impl FnOnce(Call, Commit) -> Result<Commit, skep_error>,
) -> c_int {
    build(name, commit.map(|commit| &mut commit.setting), change)
}

fn make(
    name: &'static str,
    commit: Option<&skep_commit>,
    made: Option<&mut MaybeUninit<Box<skep_image>>>,
    error: Option<&mut MaybeUninit<Box<skep_error>>>,
    make: impl FnOnce(Call, &Commit) -> Result<Image, skep_error>,
) -> c_int {
    call(name, error, |call| {
        // Before anything is made.
        let slot = call.given(made, "made")?;
        let made = match commit {
            Some(commit) => make(call, commit.setting.get()?)?,
            None => make(call, &Commit::new())?,
        };
        slot.write(Box::new(made.into()));
        Ok(())
    })
}
