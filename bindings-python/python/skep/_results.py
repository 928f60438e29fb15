"""How containers end, what they use and what they say: plain data, which can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AnyStr, Generic, Literal, TypeAlias

ExitReason: TypeAlias = Literal["exited", "signaled", "oom_killed", "timed_out"]


@dataclass(frozen=True)
class Usage:
    """What a container used in all; `None` where this kernel does not count it."""

    memory_peak: int | None
    """The most bytes of memory at one time, page cache included."""
    cpu_total: float | None
    """Seconds of CPU time."""
    cpu_user: float | None
    """Seconds of it in programs, as far as the kernel's sampling saw them."""
    cpu_system: float | None
    """Seconds of it in the kernel."""
    oom_kills: int | None
    """Processes that the kernel killed for want of memory."""
    pids_peak: int | None
    """The most processes and threads at one time."""


@dataclass(frozen=True)
class ExitStatus:
    """How a container ended. `str()` says it in words: "exit code 3"."""

    reason: ExitReason
    """It exited by itself, a signal ended it, its memory limit did, or its timeout."""
    code: int | None
    """The exit code, if it exited by itself."""
    signal: int | None
    """The signal that ended it, if one did: 9 for want of memory and for a timeout."""
    usage: Usage
    """What the whole container used."""
    text: str = field(default="", repr=False, compare=False)

    @property
    def success(self) -> bool:
        """Whether it exited by itself with code 0."""
        return self.code == 0

    @property
    def returncode(self) -> int:
        """The exit code, or the negative number of the signal, as `subprocess` has it."""
        return self.code if self.code is not None else -(self.signal or 0)

    def __str__(self) -> str:
        return self.text or self.reason


@dataclass(frozen=True)
class CompletedContainer(Generic[AnyStr]):
    """A container that was run to its end, in the manner of `subprocess.CompletedProcess`."""

    args: list[str]
    """The arguments that it was given."""
    status: ExitStatus
    """How it ended."""
    stdout: AnyStr
    """All of its standard output, if that was collected."""
    stderr: AnyStr
    """All of its standard error, if that was collected."""

    @property
    def returncode(self) -> int:
        """The exit code, or the negative number of a signal."""
        return self.status.returncode

    @property
    def usage(self) -> Usage:
        """What the whole container used."""
        return self.status.usage

    def check_returncode(self) -> None:
        """Raises `ExitError` unless it exited with code 0."""
        from skep._errors import check

        check(self, exit_code=True)


@dataclass(frozen=True)
class ImageSummary:
    """An image in a list."""

    id: str
    """The digest of its config: "sha256:..."."""
    references: list[str]
    """Its names."""
    size: int
    """Bytes of its blobs; blobs may be shared with other images."""
    created: str | None
    """When it was built, in RFC 3339, if it says so."""
