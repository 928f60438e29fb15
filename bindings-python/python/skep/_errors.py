"""The exceptions: one base class, and one class for each kind of core's error."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from skep._results import CompletedContainer, ExitStatus, Usage


class Error(Exception):
    """Why an operation failed: "cannot OPERATION SUBJECT: CAUSE; FIX".

    The base of all exceptions of this package. All can be pickled.
    """

    kind: ClassVar[str] = ""
    """What kind of failure it is, in the same words in every language: "NotFound"."""
    operation: str
    """What failed, as a verb: "start"."""
    subject: str
    """What it was about, as the caller named it."""
    errno: int | None
    """The system's error number, where a system call failed."""

    def __init__(
        self, message: str, operation: str = "", subject: str = "", errno: int | None = None
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.subject = subject
        self.errno = errno

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (*self.args, self.operation, self.subject, self.errno)
        return type(self), arguments, self.__dict__


class NotFoundError(Error, FileNotFoundError):
    """The named thing (file, image, command, user) does not exist."""

    kind = "NotFound"


class AlreadyExistsError(Error, FileExistsError):
    """The named thing exists already."""

    kind = "AlreadyExists"


class InvalidInputError(Error, ValueError):
    """An argument is wrong."""

    kind = "InvalidInput"


class InvalidDataError(Error):
    """Foreign bytes (image, archive, config) are malformed, truncated or hostile."""

    kind = "InvalidData"


class DigestMismatchError(Error):
    """Bytes do not have the digest or the size they were announced with."""

    kind = "DigestMismatch"


class PermissionDeniedError(Error, PermissionError):
    """The kernel, a file's mode, a registry or a policy forbids it."""

    kind = "PermissionDenied"


class UnsupportedError(Error):
    """The kernel, cgroup set-up or file system cannot do it."""

    kind = "Unsupported"


class NotExecutableError(Error, OSError):
    """The command exists and cannot be executed."""

    kind = "NotExecutable"


class InUseError(Error):
    """The thing is in use, so it cannot be changed or removed now."""

    kind = "InUse"


class InvalidStateError(Error):
    """The thing is not in a state that allows the operation."""

    kind = "InvalidState"


class ResourceExhaustedError(Error, OSError):
    """Out of file descriptors, processes, memory or disk space."""

    kind = "ResourceExhausted"


class KeeperLostError(Error):
    """The keeper that held the container is gone, and the container with it."""

    kind = "KeeperLost"


class IoError(Error, OSError):
    """Any other failure of a system call; see `errno`."""

    kind = "Io"


class CancelledError(Error):
    """The caller cancelled it."""

    kind = "Cancelled"


class ContainerError(Error):
    """A container that was run to its end did not end well."""

    status: ExitStatus | None = None
    """How it ended."""
    stdout: Any = None
    """All of its standard output: bytes, or str in text mode."""
    stderr: Any = None
    """All of its standard error."""

    @property
    def usage(self) -> Usage | None:
        """What the whole container used."""
        return None if self.status is None else self.status.usage

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal."""
        return None if self.status is None else self.status.returncode


class TimeoutError(ContainerError, builtins.TimeoutError):
    """A time limit passed.

    After `run` the container has been killed, and `status` is set. After `Child.wait(timeout)` it
    still runs, and `status` is None.
    """

    kind = "TimedOut"


class OutOfMemoryError(ContainerError):
    """The kernel killed the container because its memory limit was reached."""

    kind = "OutOfMemory"


class ExitError(ContainerError):
    """With `check`: the container exited with another code than 0, or a signal ended it."""

    kind = "Exit"


_BY_KIND: dict[str, type[Error]] = {
    error.kind: error
    for error in (
        NotFoundError,
        AlreadyExistsError,
        InvalidInputError,
        InvalidDataError,
        DigestMismatchError,
        PermissionDeniedError,
        UnsupportedError,
        NotExecutableError,
        InUseError,
        InvalidStateError,
        TimeoutError,
        ResourceExhaustedError,
        KeeperLostError,
        IoError,
        CancelledError,
    )
}


def from_core(kind: str, message: str, operation: str, subject: str, errno: int | None) -> Error:
    """Core's error as an exception; the native module calls this."""
    return _BY_KIND.get(kind, Error)(message, operation, subject, errno)


def is_failure(status: ExitStatus, *, exit_code: bool) -> bool:
    """Whether `check` raises for it."""
    return status.reason in ("timed_out", "oom_killed") or (exit_code and not status.success)


def check(result: CompletedContainer[Any], *, exit_code: bool) -> None:
    """Raises if the container did not end well; for its exit code only if that matters."""
    if not is_failure(result.status, exit_code=exit_code):
        return
    error: type[ContainerError] = ExitError
    if result.status.reason == "timed_out":
        error = TimeoutError
    elif result.status.reason == "oom_killed":
        error = OutOfMemoryError
    subject = result.args[0] if result.args else "a container"
    raised = error(f"cannot run {subject}: {result.status}", "run", subject)
    raised.status, raised.stdout, raised.stderr = result.status, result.stdout, result.stderr
    raise raised
