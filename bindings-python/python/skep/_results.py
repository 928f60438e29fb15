"""How containers end, what they say, what becomes of images: plain data, which can be pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import AnyStr, Generic, Literal, TypeAlias

ExitReason: TypeAlias = Literal["exited", "signaled", "oom_killed", "timed_out"]
ChangeKind: TypeAlias = Literal["added", "changed", "deleted"]
Pushed: TypeAlias = Literal["sent", "existed", "mounted"]


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


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a registry or an image says of a blob or manifest."""

    media_type: str
    """Its media type."""
    digest: str
    """The digest of its bytes: "sha256:..."."""
    size: int
    """The number of its bytes."""
    platform: str | None = None
    """What it runs on, in an index: "linux/arm64"."""
    artifact_type: str | None = None
    """What kind of artifact it is, if a registry says so of a referrer."""
    annotations: dict[str, str] = field(default_factory=dict[str, str])
    """What its maker has said of it."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One step of how an image came to be."""

    created: str | None
    """When, in RFC 3339."""
    created_by: str | None
    """By which command."""
    author: str | None
    """By whom."""
    comment: str | None
    """Anything else."""
    layer: Descriptor | None
    """The layer that it made, if it made one."""


@dataclass(frozen=True, slots=True)
class Change:
    """A path that is other than before. `str()` says it as docker does: "A /srv/greeting"."""

    kind: ChangeKind
    """What became of it."""
    path: str
    """The absolute path; undecodable bytes are as `os.fsdecode` has them."""

    def __str__(self) -> str:
        return f"{self.kind[0].upper()} {self.path}"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune has removed."""

    images: list[str]
    """The images' ids."""
    blobs: int
    """The number of blobs."""
    layers: int
    """The number of unpacked layers."""
    bytes: int
    """Bytes of both on the disk."""


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """What one image takes of the disk."""

    id: str
    """The digest of its config."""
    references: list[str]
    """Its names."""
    blobs: int
    """Bytes of its blobs."""
    layers: int
    """Bytes of its unpacked layers."""
    shared: int
    """Bytes of both that other images have, too: to remove it gives back the rest."""
    in_use: bool
    """Whether a container of it runs."""


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What the images take of the disk."""

    images: list[ImageUsage]
    """Each image; what several have counts for each of them."""
    blobs: int
    """Bytes of all blobs."""
    layers: int
    """Bytes of all unpacked layers."""
    unneeded: int
    """Bytes of what no image needs: `prune("files")` removes it."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far one layer of a pull is."""

    layer: str
    """The digest of the layer's blob."""
    total: int
    """The blob's bytes."""
    fetched: int
    """Those of them that are here."""
    unpacked: bool
    """Whether the layer is unpacked."""


@dataclass(frozen=True, slots=True)
class PushProgress:
    """How far one blob of a push is: a layer, or the config."""

    blob: str
    """The blob's digest."""
    total: int
    """The blob's bytes."""
    sent: int
    """Those of them that were sent; after a break it begins again."""
    done: Pushed | None
    """How the registry came to have it: it was sent, or the repository had it, or another did. None
    while it has not all of it."""
