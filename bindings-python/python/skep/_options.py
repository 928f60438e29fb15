"""The options that run and spawn share, as types."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Union

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from skep._skep import Access, Image, Mount, Registries, Root, Signed

StrPath: TypeAlias = Union[str, "os.PathLike[str]"]
Source: TypeAlias = Union[str, "Image", "Root"]
Stream: TypeAlias = int | IO[Any] | None
Reach: TypeAlias = Union["Registries", "Mapping[str, Access]"]
Pem: TypeAlias = bytes | StrPath
Requirement: TypeAlias = Union[Literal["accept", "reject"], "Signed"]


class Named(TypedDict):
    """The repository that must have been signed; an identity of `Signed`."""

    named: str


Identity: TypeAlias = Literal["signed_tag", "exact", "repository"] | Named


class Options(TypedDict, total=False):
    """Keyword arguments of `Engine.run` and `Engine.spawn`; `Engine.run` says what they mean.

    A program that hands them on types them `**options: Unpack[skep.Options]`.
    """

    entrypoint: Sequence[str] | None
    env: Mapping[str, str] | None
    working_dir: str | None
    user: str | None
    hostname: str | None
    mounts: Sequence[Mount] | None
    read_only: bool
    allow_new_privileges: bool
    rlimits: Mapping[str, int | tuple[int, int]] | None
    memory: int | str | None
    memory_swap: int | str | None
    cpus: float | None
    pids: int | None
    timeout: float | None


class StartOptions(Options, total=False):
    """The streams, too: apart, for a program that hands options on has its own mind about these."""

    stdin: Stream
    stdout: Stream
    stderr: Stream


class CommitOptions(TypedDict, total=False):
    """Keyword arguments of `Child.commit`, which says what they mean, and of `Image.squash`."""

    author: str | None
    comment: str | None
    created_by: str | None
    time: float | datetime | None
    max_size: int | str | None
    config: Mapping[str, Any] | None
