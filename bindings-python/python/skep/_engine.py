"""The engine: opens a store, and hands out everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from skep import _skep
from skep._child import Child
from skep._errors import check as check_status
from skep._errors import is_failure
from skep._results import CompletedContainer
from skep._text import Codec, encode_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer, Unpack

    from skep._options import Source, StartOptions, StrPath


class Engine:
    """A container engine inside this program.

    `store`: a directory that holds images and what containers write, made if it is not there;
    /var/lib/skep without. Several programs may use one store, and one program several engines. Any
    number of threads may use an engine at once.

    Leaving its `with` block, or `close()`, ends its containers. In a forked copy of this program it
    does nothing but fail.
    """

    def __init__(self, store: StrPath | None = None) -> None:
        self._native = _skep.Engine(store)

    @property
    def images(self) -> _skep.Images:
        """The images of the store."""
        return self._native.images

    @property
    def store(self) -> str:
        """The store's directory."""
        return str(self._native.store)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._native.closed

    @overload
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: Buffer | None = None,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[bytes]: ...
    @overload
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: str | None = None,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[str]: ...
    @overload
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[str]: ...
    @overload
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: str | None = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[str]: ...
    @overload
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: Any = None,
        text: bool,
        encoding: str | None = None,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[Any]: ...
    def run(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        input: Any = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[Any]:
        """Runs a container to its end and collects what it says.

        image: a name or an id of an image in the store, an `Image`, or a `Root`.
        args: the command and its arguments; after an image's entrypoint, its arguments. The image's
            command without.

        Streams, as in subprocess:
        input: written to standard input; bytes, or str in text mode.
        stdin, stdout, stderr: DEVNULL, a file or a file descriptor in place of /dev/null for stdin
            and of being collected for the others.
        text, encoding, errors: any of them makes the streams text.
        check: raises `ExitError` unless the exit code is 0.

        What runs:
        entrypoint: replaces the image's entrypoint and with it the image's command.
        env: variables beside the image's. This program's own are not inherited.
        working_dir: an absolute path in the container, made if it is not there.
        user: "name", "uid", "name:group" or "uid:gid", by the container's own files.
        hostname: the first twelve digits of the id without.
        mounts: `Mount`s; later ones go on top of, or into, earlier ones.
        read_only: refuses writes to the root file system.
        allow_new_privileges: lets set-user-ID programs work.
        rlimits: {"nofile": 1024} or {"nofile": (soft, hard)}, as setrlimit(2); -1 is no limit.

        What it may use; nothing is limited without:
        memory: bytes or "256m", at least 4 MiB, page cache included.
        memory_swap: memory and swap together; as docker's, so that -1 is no limit.
        cpus: so many CPUs' worth, from 0.01.
        pids: processes and threads at one time.
        timeout: seconds from its start, after which everything in it is killed.

        Raises `TimeoutError` and `OutOfMemoryError`, which carry status, stdout, stderr and usage;
        `NotFoundError` for an image, command, user or mount source that is not there;
        `InvalidInputError` for a wrong value, `NotExecutableError`, `UnsupportedError` for a limit
        that this machine cannot enforce, `PermissionDeniedError`, `ResourceExhaustedError`. Ctrl-C
        kills the container.
        """
        # Each call into Python that a run can do without is one, after the caches have gone cold.
        codec = Codec.of(text, encoding, errors) if text or encoding or errors else None
        data = None if input is None else encode_input(input, options.get("stdin"), codec)
        command = _skep.Command(self._native, image, args, **options)
        result = command.run(list(args or ()), data)
        if codec is None and result.status.code == 0:
            return result
        return judged(result, codec, check)

    @overload
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[bytes]: ...
    @overload
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: Literal[True],
        encoding: str | None = None,
        errors: str | None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[str]: ...
    @overload
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: bool | None = None,
        encoding: str,
        errors: str | None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[str]: ...
    @overload
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[str]: ...
    @overload
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: bool,
        encoding: str | None = None,
        errors: str | None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[Any]: ...
    def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child[Any]:
        """Starts a container and returns when its command runs; `run` has the other arguments.

        stdin, stdout, stderr: PIPE, DEVNULL, a file or its descriptor; this program's own without.
        keep_files: what it has written stays until the child is closed, for `Child.commit`,
            `export` and `diff` after its end.
        """
        codec = Codec.of(text, encoding, errors)
        command = _skep.Command(self._native, image, args, **options)
        return Child(command.spawn(keep_files), args, codec)

    def close(self) -> None:
        """Kills this engine's containers, waits for their end and removes what is left of them.

        Later calls raise `InvalidStateError`. The store stays as it is.
        """
        self._native.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<skep.Engine {self.store}{' closed' if self.closed else ''}>"


def judged(
    result: CompletedContainer[bytes], codec: Codec | None, check: bool
) -> CompletedContainer[Any]:
    """The result of a run as it was asked for, or the exception that it is."""
    judged: CompletedContainer[Any] = result
    if codec is not None:
        try:
            stdout, stderr = codec.decode(result.stdout), codec.decode(result.stderr)
        except UnicodeDecodeError:
            # What was killed has often written half a character; how it ended matters more.
            if not is_failure(result.status, exit_code=check):
                raise
            codec = Codec(codec.encoding, "replace")
            stdout, stderr = codec.decode(result.stdout), codec.decode(result.stderr)
        judged = CompletedContainer(result.args, result.status, stdout, stderr)
    check_status(judged, exit_code=check)
    return judged
