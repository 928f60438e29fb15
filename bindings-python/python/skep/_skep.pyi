"""The native half of skep."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from skep._options import Source, Stream, StrPath
from skep._results import ExitStatus, ImageSummary, Usage

__all__ = [
    "Child",
    "Collector",
    "Command",
    "Engine",
    "Image",
    "Images",
    "Mount",
    "Root",
    "check_seconds",
]

def check_seconds(_seconds: float | None) -> None: ...

@final
class Engine:
    def __new__(cls, store: StrPath | None = None) -> Engine: ...
    @property
    def store(self) -> Path: ...
    @property
    def closed(self) -> bool: ...
    @property
    def images(self) -> Images: ...
    def close(self) -> None: ...

@final
class Command:
    def __new__(
        cls,
        engine: Engine,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        entrypoint: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        working_dir: str | None = None,
        user: str | None = None,
        hostname: str | None = None,
        mounts: Sequence[Mount] | None = None,
        read_only: bool = False,
        allow_new_privileges: bool = False,
        rlimits: Mapping[str, int | tuple[int, int]] | None = None,
        memory: int | str | None = None,
        memory_swap: int | str | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        timeout: float | None = None,
    ) -> Command: ...
    def spawn(
        self, *, stdin: Stream = None, stdout: Stream = None, stderr: Stream = None
    ) -> Child: ...
    def collect(
        self,
        *,
        input: bytes | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> Collector: ...

@final
class Child:
    @property
    def id(self) -> str: ...
    @property
    def stop_signal(self) -> int: ...
    def take_pipes(self) -> tuple[int | None, int | None, int | None]: ...
    def wait(self, timeout: float | None = None) -> ExitStatus | None: ...
    def poll(self) -> ExitStatus | None: ...
    def send_signal(self, signal: int) -> None: ...
    def usage(self) -> Usage: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...

@final
class Collector:
    def advance(self) -> tuple[ExitStatus, bytes, bytes] | None: ...
    def wait(self) -> tuple[ExitStatus, bytes, bytes]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...

@final
class Images:
    """The images of an engine's store: `engine.images`."""

    def load(self, path: StrPath) -> Image: ...
    def load_all(self, path: StrPath) -> list[Image]: ...
    def import_(self, tar: StrPath, reference: str | None = None) -> Image: ...
    def find(self, name_or_id: str) -> Image: ...
    def list(self) -> list[ImageSummary]: ...
    def tag(self, name_or_id: str, reference: str) -> None: ...
    def remove(self, name_or_id: str) -> None: ...

@final
class Image:
    """An image of a store, as it was when it was found."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def references(self) -> list[str]: ...
    @property
    def size(self) -> int: ...
    def inspect(self) -> dict[str, Any]: ...

@final
class Root:
    """A root file system that is no image."""

    @staticmethod
    def host() -> Root: ...
    @staticmethod
    def directory(path: StrPath) -> Root: ...

@final
class Mount:
    """A mount into a container."""

    @staticmethod
    def bind(source: StrPath, destination: StrPath, *, read_only: bool = False) -> Mount: ...
    @staticmethod
    def tmpfs(
        destination: StrPath, *, size: int | str | None = None, read_only: bool = False
    ) -> Mount: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
