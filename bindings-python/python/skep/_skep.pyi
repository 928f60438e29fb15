"""The native half of skep."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, final

from typing_extensions import Unpack

from skep._options import (
    CommitOptions,
    Identity,
    Pem,
    Reach,
    Requirement,
    Source,
    Stream,
    StrPath,
)
from skep._results import (
    Change,
    CompletedContainer,
    Descriptor,
    DiskUsage,
    ExitStatus,
    HistoryStep,
    ImageSummary,
    Pruned,
    PullProgress,
    PushProgress,
    Usage,
)

__all__ = [
    "Access",
    "Cancel",
    "Child",
    "Collector",
    "Command",
    "Credentials",
    "Engine",
    "Image",
    "Images",
    "Mount",
    "Policy",
    "Registries",
    "Root",
    "Signed",
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
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> Command: ...
    def spawn(self, keep_files: bool = False, cancel: Cancel | None = None) -> Child: ...
    def run(self, args: list[str], input: bytes | None = None) -> CompletedContainer[bytes]: ...
    def collect(self, input: bytes | None = None, cancel: Cancel | None = None) -> Collector: ...

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
    def commit(
        self,
        reference: str | None = None,
        *,
        cancel: Cancel | None = None,
        **options: Unpack[CommitOptions],
    ) -> Image: ...
    def diff(self, *, cancel: Cancel | None = None) -> list[Change]: ...
    def export(self, path: StrPath, *, cancel: Cancel | None = None) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...

@final
class Collector:
    def advance(self) -> tuple[ExitStatus, bytes, bytes] | None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...

@final
class Cancel:
    """Cancels the operation that it is given to, from any thread."""

    def __new__(cls) -> Cancel: ...
    def cancel(self) -> None: ...
    @property
    def cancelled(self) -> bool: ...

@final
class Images:
    """The images of an engine's store: `engine.images`."""

    def load(
        self, path: StrPath, *, max_size: int | str | None = None, cancel: Cancel | None = None
    ) -> Image: ...
    def load_all(
        self, path: StrPath, *, max_size: int | str | None = None, cancel: Cancel | None = None
    ) -> list[Image]: ...
    def import_(
        self,
        tar: StrPath,
        reference: str | None = None,
        *,
        max_size: int | str | None = None,
        cancel: Cancel | None = None,
    ) -> Image: ...
    def find(self, name_or_id: str) -> Image: ...
    def list(self) -> list[ImageSummary]: ...
    def tag(self, name_or_id: str, reference: str, *, cancel: Cancel | None = None) -> None: ...
    def remove(self, name_or_id: str, *, cancel: Cancel | None = None) -> None: ...
    def save(
        self,
        images: str | Image | Sequence[str | Image],
        path: StrPath,
        *,
        format: Literal["docker", "oci"] = "docker",
        cancel: Cancel | None = None,
    ) -> None: ...
    def prune(
        self,
        what: Literal["files", "nameless", "unused"] = "files",
        *,
        cancel: Cancel | None = None,
    ) -> Pruned: ...
    def disk_usage(self, *, cancel: Cancel | None = None) -> DiskUsage: ...
    def pull(
        self,
        reference: str,
        *,
        registries: Reach | None = None,
        platform: str | None = None,
        parallel: int | None = None,
        unpack: bool = True,
        policy: Policy | None = None,
        max_size: int | str | None = None,
        progress: Callable[[PullProgress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> Image: ...
    def push(
        self,
        image: str | Image,
        reference: str,
        *,
        registries: Reach | None = None,
        parallel: int | None = None,
        chunk: int | str | None = None,
        mount_from: Sequence[str] | None = None,
        progress: Callable[[PushProgress], object] | None = None,
        cancel: Cancel | None = None,
    ) -> str: ...

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
    def history(self) -> list[HistoryStep]: ...
    def layers(self, *, cancel: Cancel | None = None) -> list[Path]: ...
    def export(self, path: StrPath, *, cancel: Cancel | None = None) -> None: ...
    def diff(self, base: Image, *, cancel: Cancel | None = None) -> list[Change]: ...
    def commit(
        self,
        upper: StrPath,
        reference: str | None = None,
        *,
        cancel: Cancel | None = None,
        **options: Unpack[CommitOptions],
    ) -> Image: ...
    def squash(
        self,
        reference: str | None = None,
        *,
        cancel: Cancel | None = None,
        **options: Unpack[CommitOptions],
    ) -> Image: ...

@final
class Credentials:
    """What a registry is shown to let one in."""

    @staticmethod
    def password(user: str, password: str) -> Credentials: ...
    @staticmethod
    def identity_token(token: str) -> Credentials: ...
    @staticmethod
    def registry_token(token: str) -> Credentials: ...

@final
class Access:
    """How one registry, or one mirror, is reached."""

    def __new__(
        cls,
        *,
        plain_http: bool = False,
        mirrors: Sequence[str] | None = None,
        credentials: tuple[str, str] | Credentials | None = None,
        ca: Pem | None = None,
        client_certificate: tuple[Pem, Pem] | None = None,
    ) -> Access: ...

@final
class Registries:
    """The registries as this program reaches them."""

    def __new__(
        cls,
        access: Mapping[str, Access] | None = None,
        *,
        credential_files: Sequence[StrPath] | None = None,
        timeout: float | None = None,
        attempts: int | None = None,
        pause: float | None = None,
    ) -> Registries: ...
    def ping(self, registry: str, *, cancel: Cancel | None = None) -> None: ...
    def resolve(self, reference: str, *, cancel: Cancel | None = None) -> Descriptor: ...
    def tags(self, repository: str, *, cancel: Cancel | None = None) -> list[str]: ...
    def referrers(
        self, reference: str, artifact_type: str | None = None, *, cancel: Cancel | None = None
    ) -> list[Descriptor]: ...

@final
class Signed:
    """A requirement of a `Policy`: signatures by given keys."""

    def __new__(
        cls,
        keys: Sequence[Pem],
        *,
        at_least: int | None = None,
        identity: Identity | None = None,
    ) -> Signed: ...

@final
class Policy:
    """What images must be signed by, by where they come from."""

    def __new__(
        cls, default: Requirement, prefixes: Mapping[str, Requirement] | None = None
    ) -> Policy: ...

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
