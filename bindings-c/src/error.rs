//! Errors: a code for programs, a sentence for people.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use skep::ErrorKind;

use crate::panic;

/// What kind of failure an error is: what functions return.
///
/// A number is never given another meaning, and later versions may have more of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum skep_code {
    /// It was done.
    SKEP_OK = 0,
    /// The named thing (file, image, command, user) does not exist.
    SKEP_NOT_FOUND = 1,
    /// The named thing exists already.
    SKEP_ALREADY_EXISTS = 2,
    /// An argument is wrong; for example, it is NULL.
    SKEP_INVALID_INPUT = 3,
    /// Foreign bytes (image, archive, configuration) are malformed, truncated or hostile.
    SKEP_INVALID_DATA = 4,
    /// Bytes do not have the digest or the size they were announced with.
    SKEP_DIGEST_MISMATCH = 5,
    /// The kernel, a file's mode, a registry or a policy forbids it.
    SKEP_PERMISSION_DENIED = 6,
    /// This kernel, control group set-up or file system cannot do it.
    SKEP_UNSUPPORTED = 7,
    /// The command exists and cannot be executed.
    SKEP_NOT_EXECUTABLE = 8,
    /// The thing is in use, so it cannot be changed or removed now.
    SKEP_IN_USE = 9,
    /// The thing is not in a state that allows the operation.
    SKEP_INVALID_STATE = 10,
    /// A time limit of an operation passed. How a container ends is no error; see skep_exit_status.
    SKEP_TIMED_OUT = 11,
    /// Out of file descriptors, processes, memory or disk space.
    SKEP_RESOURCE_EXHAUSTED = 12,
    /// The process that held the engine's containers was killed, and they with it.
    SKEP_KEEPER_LOST = 13,
    /// Any other failure of a system call; see skep_error_errno().
    SKEP_IO = 14,
    /// A defect of skep. Its message asks you to report it; the objects may be used, or freed.
    SKEP_PANIC = 15,
    /// A kind of error that is newer than this interface; skep_error_name() tells its name.
    SKEP_OTHER = 16,
    /// The caller cancelled it.
    SKEP_CANCELLED = 17,
}

pub(crate) const SKEP_OK: c_int = skep_code::SKEP_OK as c_int;

impl skep_code {
    /// The table of numbers: the order of core's kinds does not matter to it.
    fn of(kind: ErrorKind) -> skep_code {
        match kind {
            ErrorKind::NotFound => skep_code::SKEP_NOT_FOUND,
            ErrorKind::AlreadyExists => skep_code::SKEP_ALREADY_EXISTS,
            ErrorKind::InvalidInput => skep_code::SKEP_INVALID_INPUT,
            ErrorKind::InvalidData => skep_code::SKEP_INVALID_DATA,
            ErrorKind::DigestMismatch => skep_code::SKEP_DIGEST_MISMATCH,
            ErrorKind::PermissionDenied => skep_code::SKEP_PERMISSION_DENIED,
            ErrorKind::Unsupported => skep_code::SKEP_UNSUPPORTED,
            ErrorKind::NotExecutable => skep_code::SKEP_NOT_EXECUTABLE,
            ErrorKind::InUse => skep_code::SKEP_IN_USE,
            ErrorKind::InvalidState => skep_code::SKEP_INVALID_STATE,
            ErrorKind::TimedOut => skep_code::SKEP_TIMED_OUT,
            ErrorKind::ResourceExhausted => skep_code::SKEP_RESOURCE_EXHAUSTED,
            ErrorKind::KeeperLost => skep_code::SKEP_KEEPER_LOST,
            ErrorKind::Io => skep_code::SKEP_IO,
            ErrorKind::Cancelled => skep_code::SKEP_CANCELLED,
            _ => skep_code::SKEP_OTHER,
        }
    }
}

/// Why a function failed. It reads "cannot OPERATION SUBJECT: CAUSE; FIX".
///
/// Written by a function that fails to its parameter `error`, if that is not NULL, for you to
/// skep_error_free(). It never changes: any thread may read it.
#[derive(Clone, Debug)]
pub struct skep_error {
    code: skep_code,
    name: CString,
    message: CString,
    operation: CString,
    subject: CString,
    errno: c_int,
}

/// Linux's numbers, the same for all architectures.
const ENFILE: c_int = 23;
const EMFILE: c_int = 24;

impl skep_error {
    pub(crate) fn code(&self) -> c_int {
        self.code as c_int
    }

    /// The same with another kind: core makes errors for arguments only.
    pub(crate) fn with_code(self, code: skep_code, name: &str) -> skep_error {
        skep_error { code, name: string(name), ..self }
    }

    /// A write to a container that failed. Core's own writes report nothing but their errno.
    pub(crate) fn of_write(error: &std::io::Error) -> skep_error {
        let made = skep::Error::invalid_input("write to", "a container").cause(error.to_string());
        let errno = error.raw_os_error().unwrap_or(0);
        skep_error { errno, ..skep_error::from(made).with_code(skep_code::SKEP_IO, "Io") }
    }

    /// `self`, because of a system call that failed on an argument: that the host has too many files
    /// open is not the argument's fault.
    pub(crate) fn with_cause(self, error: &std::io::Error) -> skep_error {
        let errno = error.raw_os_error().unwrap_or(0);
        let error = skep_error { errno, ..self };
        match errno {
            ENFILE | EMFILE => error
                .with_code(skep_code::SKEP_RESOURCE_EXHAUSTED, ErrorKind::ResourceExhausted.name()),
            _ => error,
        }
    }

    pub(crate) fn message(&self) -> &CStr {
        &self.message
    }
}

impl From<skep::Error> for skep_error {
    fn from(error: skep::Error) -> skep_error {
        skep_error {
            code: skep_code::of(error.kind()),
            name: string(error.kind().name()),
            message: string(&error.to_string()),
            operation: string(error.operation()),
            subject: string(error.subject()),
            errno: error.errno().unwrap_or(0),
        }
    }
}

/// What comes out of an image or an error may have NUL bytes in it; C's strings end at those.
pub(crate) fn string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// A path, which has no NUL bytes.
pub(crate) fn path_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// The code of an error, as it was returned with it. SKEP_OK for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_code(error: Option<&skep_error>) -> c_int {
    error.map_or(SKEP_OK, skep_error::code)
}

/// The name of its kind, the same in all languages: "NotFound". Valid as long as the error; "" for
/// NULL, as with the functions below.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_name(error: Option<&skep_error>) -> *const c_char {
    error.map_or(c"", |error| &error.name).as_ptr()
}

/// All of it as one sentence: "cannot find image web:1: ...". Valid as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_message(error: Option<&skep_error>) -> *const c_char {
    error.map_or(c"", skep_error::message).as_ptr()
}

/// The operation that failed, as a verb: "mount", "start", "load". Valid as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_operation(error: Option<&skep_error>) -> *const c_char {
    error.map_or(c"", |error| &error.operation).as_ptr()
}

/// What the operation was about, as you named it. Valid as long as the error.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_subject(error: Option<&skep_error>) -> *const c_char {
    error.map_or(c"", |error| &error.subject).as_ptr()
}

/// The system's error number (`errno`), where a system call failed; 0 elsewhere.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_errno(error: Option<&skep_error>) -> c_int {
    error.map_or(0, |error| error.errno)
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn skep_error_free(error: Option<Box<skep_error>>) {
    panic::free(error);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs have been compiled with: lines are added here, and never changed.
    const NUMBERS: [(&str, c_int); 15] = [
        ("NotFound", 1),
        ("AlreadyExists", 2),
        ("InvalidInput", 3),
        ("InvalidData", 4),
        ("DigestMismatch", 5),
        ("PermissionDenied", 6),
        ("Unsupported", 7),
        ("NotExecutable", 8),
        ("InUse", 9),
        ("InvalidState", 10),
        ("TimedOut", 11),
        ("ResourceExhausted", 12),
        ("KeeperLost", 13),
        ("Io", 14),
        ("Cancelled", 17),
    ];

    #[test]
    fn numbers_stay_as_they_are_and_every_kind_has_one() {
        let numbers = ErrorKind::ALL.map(|kind| (kind.name(), skep_code::of(kind) as c_int));
        assert_eq!(numbers, NUMBERS);
        assert_eq!(SKEP_OK, 0);
        assert_eq!(skep_code::SKEP_PANIC as c_int, 15);
        assert_eq!(skep_code::SKEP_OTHER as c_int, 16);
    }

    #[test]
    fn a_nul_byte_does_not_cut_a_message_short() {
        let error = skep_error::from(skep::Error::invalid_input("load", "a\0b").cause("it is bad"));
        assert_eq!(error.message(), c"cannot load a\u{fffd}b: it is bad");
    }
}
