//! The one error of this crate.
//!
//! An [`Error`] says what could not be done, to what, why, and what to do about it:
//! `cannot OPERATION SUBJECT: CAUSE; FIX`. The [`ErrorKind`] is for programs, the text for people.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of failure an [`Error`] is. The same kinds exist, one to one, in every binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named thing (file, image, command, user) does not exist.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// An argument given by the caller is wrong.
    InvalidInput,
    /// Foreign bytes (image, archive, config) are malformed, truncated or hostile.
    InvalidData,
    /// Bytes do not have the digest or the size they were announced with.
    DigestMismatch,
    /// The kernel, a file's mode, a registry or a policy forbids it.
    PermissionDenied,
    /// This kernel, cgroup set-up or file system cannot do it.
    Unsupported,
    /// The command exists and cannot be executed.
    NotExecutable,
    /// The thing is in use, so it cannot be changed or removed now.
    InUse,
    /// The thing is not in a state that allows the operation.
    InvalidState,
    /// A time limit passed.
    TimedOut,
    /// Out of file descriptors, processes, memory or disk space.
    ResourceExhausted,
    /// The keeper that held the container is gone.
    KeeperLost,
    /// Any other failure of a system call; see [`Error::errno`].
    Io,
    /// The caller cancelled it; see [`Cancel`](crate::Cancel).
    Cancelled,
}

impl ErrorKind {
    /// Every kind, in the order above.
    pub const ALL: [ErrorKind; 15] = [
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::InvalidInput,
        ErrorKind::InvalidData,
        ErrorKind::DigestMismatch,
        ErrorKind::PermissionDenied,
        ErrorKind::Unsupported,
        ErrorKind::NotExecutable,
        ErrorKind::InUse,
        ErrorKind::InvalidState,
        ErrorKind::TimedOut,
        ErrorKind::ResourceExhausted,
        ErrorKind::KeeperLost,
        ErrorKind::Io,
        ErrorKind::Cancelled,
    ];

    /// Its name here, from which bindings make theirs: `NotFound`.
    pub const fn name(self) -> &'static str {
        // Exhaustive here, so that a new kind is not forgotten above.
        match self {
            ErrorKind::NotFound => "NotFound",
            ErrorKind::AlreadyExists => "AlreadyExists",
            ErrorKind::InvalidInput => "InvalidInput",
            ErrorKind::InvalidData => "InvalidData",
            ErrorKind::DigestMismatch => "DigestMismatch",
            ErrorKind::PermissionDenied => "PermissionDenied",
            ErrorKind::Unsupported => "Unsupported",
            ErrorKind::NotExecutable => "NotExecutable",
            ErrorKind::InUse => "InUse",
            ErrorKind::InvalidState => "InvalidState",
            ErrorKind::TimedOut => "TimedOut",
            ErrorKind::ResourceExhausted => "ResourceExhausted",
            ErrorKind::KeeperLost => "KeeperLost",
            ErrorKind::Io => "Io",
            ErrorKind::Cancelled => "Cancelled",
        }
    }
}

/// Why an operation failed; see the [module](self).
///
/// Boxed, so that a `Result` stays one word wider than its value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    subject: String,
    cause: Option<Cow<'static, str>>,
    fix: Option<Cow<'static, str>>,
    errno: Option<i32>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`: "cannot `operation` `subject`".
    pub(crate) fn new(
        kind: ErrorKind,
        operation: impl Into<Cow<'static, str>>,
        subject: impl Into<String>,
    ) -> Self {
        Error(Box::new(Inner {
            kind,
            operation: operation.into(),
            subject: subject.into(),
            cause: None,
            fix: None,
            errno: None,
            source: None,
        }))
    }

    /// An argument that is wrong, "cannot `operation` `subject`": for bindings to other languages and
    /// programs around this crate, whose users then see one kind of message.
    ///
    /// ```
    /// let error = skep::Error::invalid_input("limit pids to", "-1")
    ///     .cause("it must be at least 1")
    ///     .fix("ask for more, or for no limit");
    /// assert_eq!(
    ///     error.to_string(),
    ///     "cannot limit pids to -1: it must be at least 1; ask for more, or for no limit"
    /// );
    /// ```
    pub fn invalid_input(
        operation: impl Into<Cow<'static, str>>,
        subject: impl Into<String>,
    ) -> Self {
        Error::new(ErrorKind::InvalidInput, operation, subject)
    }

    /// A failed system call or I/O operation; the kind follows from its errno.
    pub(crate) fn os(
        operation: impl Into<Cow<'static, str>>,
        subject: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        let source = source.into();
        let mut error = Error::new(kind_of(&source), operation, subject);
        error.0.errno = source.raw_os_error();
        // Any call that opens or writes something may meet these.
        error.0.fix = match error.0.errno {
            Some(nix::libc::EMFILE) => {
                Some("close some, or raise the limit of open files (RLIMIT_NOFILE)".into())
            }
            Some(nix::libc::ENOSPC) => Some("make room on its file system".into()),
            Some(nix::libc::EFBIG) => Some("raise the limit of file sizes (RLIMIT_FSIZE)".into()),
            _ => None,
        };
        error.0.source = Some(Box::new(source));
        error
    }

    /// Says why, where neither errno nor source does.
    pub fn cause(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what the reader can do about it.
    pub fn fix(mut self, fix: impl Into<Cow<'static, str>>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// Says it where foreign bytes are wrong, unless a more particular fix is given.
    pub(crate) fn fix_data(mut self, fix: &'static str) -> Self {
        if matches!(self.0.kind, ErrorKind::InvalidData | ErrorKind::DigestMismatch) {
            self.0.fix.get_or_insert(fix.into());
        }
        self
    }

    /// Replaces the kind that followed from the errno.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Keeps the error underneath, whose text becomes the cause.
    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed, as a verb: `mount`, `start`, `load`.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// What the operation was about, as the caller named it.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The system's error number, where a system call failed.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.operation, self.subject)?;
        match (&self.cause, &self.source) {
            (Some(cause), _) => write!(f, ": {cause}")?,
            (None, Some(source)) => write!(f, ": {source}")?,
            (None, None) => {}
        }
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Inner {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as _)
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ENXIO | Errno::ESRCH) => ErrorKind::NotFound,
        Some(Errno::EEXIST) => ErrorKind::AlreadyExists,
        Some(Errno::EISDIR) => ErrorKind::InvalidInput,
        Some(Errno::EPERM | Errno::EACCES | Errno::EROFS) => ErrorKind::PermissionDenied,
        Some(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENODEV) => ErrorKind::Unsupported,
        Some(Errno::EBUSY | Errno::ETXTBSY) => ErrorKind::InUse,
        Some(Errno::ETIMEDOUT) => ErrorKind::TimedOut,
        Some(
            Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EFBIG
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
            | Errno::EAGAIN
            | Errno::ETOOMANYREFS,
        ) => ErrorKind::ResourceExhausted,
        _ if error.kind() == io::ErrorKind::UnexpectedEof => ErrorKind::InvalidData,
        _ => ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_sentence_with_cause_and_fix() {
        let error = Error::os("limit memory of", "web", nix::errno::Errno::EACCES)
            .cause("the cgroup controller \"memory\" is not delegated to this user")
            .fix("have it delegated");
        assert_eq!(
            error.to_string(),
            "cannot limit memory of web: the cgroup controller \"memory\" is not delegated to \
             this user; have it delegated"
        );
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.errno(), Some(13));
    }

    #[test]
    fn all_kinds_are_all_of_them() {
        let names = ErrorKind::ALL.map(ErrorKind::name);
        assert_eq!(names, ErrorKind::ALL.map(|kind| format!("{kind:?}")));
        let last = ErrorKind::ALL.len() - 1;
        assert_eq!(ErrorKind::Cancelled as usize, last, "it is the last one of {last} and it");
    }

    #[test]
    fn is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
