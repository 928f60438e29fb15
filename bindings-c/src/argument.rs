//! Arguments as C hands them over, made into Rust's types.
//!
//! Text and lists of text can be made by a C caller only: that they are what the header says, a
//! pointer to a string that ends in a NUL byte and stays as it is during the call, is its promise.

use std::ffi::{CStr, OsStr, c_char};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::skep_error;
use crate::panic::Call;

/// A string of C's, or NULL.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text<'a>(*const c_char, PhantomData<&'a CStr>);

/// A list of strings that ends in NULL, as `argv` does; or NULL itself.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Texts<'a>(*const *const c_char, PhantomData<&'a CStr>);

impl<'a> Text<'a> {
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The string, which is what the caller calls `name`.
    pub(crate) fn str(self, call: Call, name: &str) -> Result<&'a str, skep_error> {
        let text = self.bytes(call, name)?.to_str();
        text.map_err(|_| call.refuse(format!("its argument {name} is not UTF-8")))
    }

    /// As [`str`](Self::str), or none.
    pub(crate) fn optional(self, call: Call, name: &str) -> Result<Option<&'a str>, skep_error> {
        if self.is_null() { Ok(None) } else { self.str(call, name).map(Some) }
    }

    /// A path of the host, which may be any bytes.
    pub(crate) fn path(self, call: Call, name: &str) -> Result<&'a Path, skep_error> {
        Ok(Path::new(OsStr::from_bytes(self.bytes(call, name)?.to_bytes())))
    }

    fn bytes(self, call: Call, name: &str) -> Result<&'a CStr, skep_error> {
        let text = call.given((!self.0.is_null()).then_some(self.0), name)?;
        // SAFETY: not null, and so a C string that outlives the call: the caller's promise.
        Ok(unsafe { CStr::from_ptr(text) })
    }
}

impl<'a> Texts<'a> {
    pub(crate) fn strings(self, call: Call, name: &str) -> Result<Vec<&'a str>, skep_error> {
        self.all(call, name)?.into_iter().map(|text| text.str(call, name)).collect()
    }

    pub(crate) fn paths(self, call: Call, name: &str) -> Result<Vec<&'a Path>, skep_error> {
        self.all(call, name)?.into_iter().map(|text| text.path(call, name)).collect()
    }

    fn all(self, call: Call, name: &str) -> Result<Vec<Text<'a>>, skep_error> {
        let list = call.given((!self.0.is_null()).then_some(self.0), name)?;
        let mut texts = Vec::new();
        loop {
            // SAFETY: the list has a NULL at its end (the caller's promise), not passed so far.
            let text = unsafe { *list.add(texts.len()) };
            if text.is_null() {
                return Ok(texts);
            }
            texts.push(Text(text, PhantomData));
        }
    }
}

/// The `length` bytes at `bytes`, which may be NULL if there are none.
///
/// # Safety
/// There are as many bytes there, and they stay as they are for `'a`.
pub(crate) unsafe fn bytes<'a>(
    call: Call,
    bytes: *const c_char,
    length: usize,
) -> Result<&'a [u8], skep_error> {
    if length == 0 {
        return Ok(&[]);
    }
    let bytes = call.given((!bytes.is_null()).then_some(bytes), "bytes")?;
    if isize::try_from(length).is_err() {
        return Err(call.refuse("its argument length is above SSIZE_MAX".into()));
    }
    // SAFETY: the caller's promise; neither null nor too long.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), length) })
}
