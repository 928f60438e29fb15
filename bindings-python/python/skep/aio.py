"""skep for asyncio.

>>> import asyncio
>>> import skep
>>> import skep.aio
>>> async def main():
...     async with skep.aio.Engine() as engine:
...         runs = (engine.run(skep.Root.host(), ["echo", str(i)]) for i in range(100))
...         return sum(int(result.stdout) for result in await asyncio.gather(*runs))
>>> asyncio.run(main())
4950

Waiting takes no thread: the loop watches file descriptors. Starts, of a few milliseconds each, are
made by four threads of this module's own; what is done with images is done by up to 64 others, one
each, and cancelling the task ends it.
Options, results and exceptions are those of `skep`. A loop needs `add_reader`, as all of asyncio's
have on Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    overload,
)

from skep import _skep
from skep._child import BaseChild
from skep._engine import judged
from skep._errors import Error, ResourceExhaustedError, TimeoutError
from skep._results import CompletedContainer
from skep._text import Codec, encode_input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Buffer, Unpack

    from skep._options import CommitOptions, Source, StartOptions, StrPath
    from skep._results import (
        Change,
        Descriptor,
        DiskUsage,
        ExitStatus,
        HistoryStep,
        ImageSummary,
        Pruned,
        PullProgress,
        PushProgress,
    )

T = TypeVar("T")
P = TypeVar("P")

AnyImage: TypeAlias = Union["_skep.Image", "Image"]
AnySource: TypeAlias = Union["Source", "Image"]
AnyReach: TypeAlias = Union["_skep.Registries", "Registries", "Mapping[str, _skep.Access]"]

__all__ = ["Child", "Engine", "Image", "Images", "Registries"]


class Engine:
    """A container engine inside this program; see `skep.Engine`.

    Opening the store takes a few milliseconds, in which the loop waits.
    """

    def __init__(self, store: StrPath | None = None) -> None:
        self._native = _skep.Engine(store)

    @property
    def images(self) -> Images:
        """The images of the store."""
        return Images(self._native.images)

    @property
    def store(self) -> str:
        """The store's directory."""
        return str(self._native.store)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._native.closed

    @overload
    async def run(
        self,
        image: AnySource,
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
    async def run(
        self,
        image: AnySource,
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
    async def run(
        self,
        image: AnySource,
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
    async def run(
        self,
        image: AnySource,
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
    async def run(
        self,
        image: AnySource,
        args: Sequence[str] | None = None,
        *,
        input: Any = None,
        text: bool,
        encoding: str | None = None,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[Any]: ...
    async def run(
        self,
        image: AnySource,
        args: Sequence[str] | None = None,
        *,
        input: Any = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        check: bool = False,
        **options: Unpack[StartOptions],
    ) -> CompletedContainer[Any]:
        """Runs a container to its end and collects what it says; see `skep.Engine.run`.

        Cancelling it kills the container.
        """
        codec = Codec.of(text, encoding, errors)
        data = encode_input(input, options.get("stdin"), codec)

        def start(cancel: _skep.Cancel) -> _skep.Collector:
            command = _skep.Command(self._native, _native(image), args, **options)
            return command.collect(data, cancel)

        output = await _collected(await _started(start))
        return judged(CompletedContainer(list(args or ()), *output), codec, check)

    async def spawn(
        self,
        image: AnySource,
        args: Sequence[str] | None = None,
        *,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> Child:
        """Starts a container and returns when its command runs; see `skep.Engine.spawn`.

        As in asyncio.subprocess, streams are of bytes.
        """

        def start(cancel: _skep.Cancel) -> _skep.Child:
            command = _skep.Command(self._native, _native(image), args, **options)
            return command.spawn(keep_files, cancel)

        return await _connected(await _started(start), args)

    async def close(self) -> None:
        """Kills this engine's containers, waits for their end and removes what is left of them."""
        await _in_thread(self._native.close)

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<skep.aio.Engine {self.store}{' closed' if self.closed else ''}>"


class Child(BaseChild):
    """A running container, in the manner of `asyncio.subprocess.Process`.

    It is attached: to leave its `async with` block kills it and removes what it has written.
    """

    stdin: asyncio.StreamWriter | None
    """The pipe into it, if `PIPE` was asked for."""
    stdout: asyncio.StreamReader | None
    """The pipe out of it, likewise. `async for` gives its lines."""
    stderr: asyncio.StreamReader | None
    """The pipe of its errors, likewise."""

    def __init__(
        self,
        native: _skep.Child,
        args: Sequence[str] | None,
        stdin: asyncio.StreamWriter | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
        transports: Sequence[asyncio.BaseTransport],
    ) -> None:
        super().__init__(native, args)
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._transports = transports

    async def wait(self, timeout: float | None = None) -> ExitStatus:
        """Waits for the container's end. How it ended is never an exception here.

        `timeout`: seconds; raises `skep.TimeoutError` if the container still runs then. Standard
        input is not closed.
        """
        _skep.check_seconds(timeout)
        # A container that has ended has, even if there is no time to wait for it.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._ended(), timeout)
        status = self.poll()
        if status is None:
            raise self._expired(timeout)
        return status

    async def _ended(self) -> None:
        while self.poll() is None:
            await _readable(self.fileno())

    async def stop(self, grace: float = 10.0) -> ExitStatus:
        """Asks the container to end with its stop signal (the image's, or SIGTERM), as docker does.

        `grace`: seconds after which it is killed.
        """
        _skep.check_seconds(grace)
        self.send_signal(self._native.stop_signal)
        with contextlib.suppress(TimeoutError):
            return await self.wait(grace)
        self.kill()
        return await self.wait()

    async def commit(self, reference: str | None = None, **options: Unpack[CommitOptions]) -> Image:
        """Makes an image of the container's own and of what it has written; see `skep.Child`."""
        commit = self._native.commit
        return Image(await _cancellable(lambda cancel: commit(reference, cancel=cancel, **options)))

    async def diff(self) -> list[Change]:
        """What the container has changed of its root, by path."""
        return await _cancellable(lambda cancel: self._native.diff(cancel=cancel))

    async def export(self, path: StrPath) -> None:
        """Writes all files of the container's root as one tar archive."""
        await _cancellable(lambda cancel: self._native.export(path, cancel=cancel))

    async def close(self) -> None:
        """Kills the container if it still runs, removes what is left of it and closes its pipes."""
        # Killed before its standard input ends: it is not to end by that.
        await _in_thread(self._native.close)
        for transport in self._transports:
            transport.close()
        with contextlib.suppress(Error):
            self.poll()

    async def __aenter__(self) -> Child:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


class Images:
    """The images of an engine's store; see `skep.Images`.

    To cancel what takes long ends it, and leaves nothing half done: the task ends thereafter.
    """

    def __init__(self, native: _skep.Images) -> None:
        self._native = native

    async def load(self, path: StrPath, *, max_size: int | str | None = None) -> Image:
        """Loads the only image of an archive or directory."""
        load = self._native.load
        return Image(
            await _cancellable(lambda cancel: load(path, max_size=max_size, cancel=cancel))
        )

    async def load_all(self, path: StrPath, *, max_size: int | str | None = None) -> list[Image]:
        """Loads all images of an archive or directory."""
        load_all = self._native.load_all
        images = await _cancellable(lambda cancel: load_all(path, max_size=max_size, cancel=cancel))
        return [Image(image) for image in images]

    async def import_(
        self, tar: StrPath, reference: str | None = None, *, max_size: int | str | None = None
    ) -> Image:
        """Makes an image of a root file system's tar archive."""
        import_ = self._native.import_
        return Image(
            await _cancellable(
                lambda cancel: import_(tar, reference, max_size=max_size, cancel=cancel)
            )
        )

    async def find(self, name_or_id: str) -> Image:
        """Finds an image by a name or by its id."""
        return Image(await asyncio.to_thread(self._native.find, name_or_id))

    async def tag(self, name_or_id: str, reference: str) -> None:
        """Names an image `reference`."""
        await _cancellable(lambda cancel: self._native.tag(name_or_id, reference, cancel=cancel))

    async def remove(self, name_or_id: str) -> None:
        """Removes a name and, if it was the image's last, the image."""
        await _cancellable(lambda cancel: self._native.remove(name_or_id, cancel=cancel))

    async def save(
        self,
        images: str | AnyImage | Sequence[str | AnyImage],
        path: StrPath,
        *,
        format: Literal["docker", "oci"] = "docker",
    ) -> None:
        """Saves images into one archive, which replaces a file at `path`."""
        several = [images] if isinstance(images, (str, Image, _skep.Image)) else images
        names = [_native(image) for image in several]
        save = self._native.save
        await _cancellable(lambda cancel: save(names, path, format=format, cancel=cancel))

    async def prune(self, what: Literal["files", "nameless", "unused"] = "files") -> Pruned:
        """Removes what nobody needs."""
        return await _cancellable(lambda cancel: self._native.prune(what, cancel=cancel))

    async def disk_usage(self) -> DiskUsage:
        """What the images take of the disk."""
        return await _cancellable(lambda cancel: self._native.disk_usage(cancel=cancel))

    async def pull(
        self,
        reference: str,
        *,
        registries: AnyReach | None = None,
        platform: str | None = None,
        parallel: int | None = None,
        unpack: bool = True,
        policy: _skep.Policy | None = None,
        max_size: int | str | None = None,
        progress: Callable[[PullProgress], object] | None = None,
    ) -> Image:
        """Pulls an image from its registry; `progress` is called in the loop, and not awaited."""

        def pull(
            cancel: _skep.Cancel, report: Callable[[PullProgress], object] | None
        ) -> _skep.Image:
            return self._native.pull(
                reference,
                registries=_native(registries),
                platform=platform,
                parallel=parallel,
                unpack=unpack,
                policy=policy,
                max_size=max_size,
                progress=report,
                cancel=cancel,
            )

        return Image(await _reporting(pull, progress))

    async def push(
        self,
        image: str | AnyImage,
        reference: str,
        *,
        registries: AnyReach | None = None,
        parallel: int | None = None,
        chunk: int | str | None = None,
        mount_from: Sequence[str] | None = None,
        progress: Callable[[PushProgress], object] | None = None,
    ) -> str:
        """Pushes an image to the registry of `reference`; `progress` is as for `pull`."""

        def push(cancel: _skep.Cancel, report: Callable[[PushProgress], object] | None) -> str:
            return self._native.push(
                _native(image),
                reference,
                registries=_native(registries),
                parallel=parallel,
                chunk=chunk,
                mount_from=mount_from,
                progress=report,
                cancel=cancel,
            )

        return await _reporting(push, progress)

    # Last: in this class `list` is no type from here on.
    async def list(self) -> list[ImageSummary]:
        """All images, in the order in which they came."""
        return await asyncio.to_thread(self._native.list)


class Image:
    """An image of a store, as it was when it was found; see `skep.Image`."""

    def __init__(self, native: _skep.Image) -> None:
        self._native = native

    @property
    def id(self) -> str:
        """The digest of its config: "sha256:..."."""
        return self._native.id

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return self._native.digest

    @property
    def references(self) -> list[str]:
        """The names it had when it was found."""
        return self._native.references

    @property
    def size(self) -> int:
        """Bytes of its blobs in the store; blobs may be shared with other images."""
        return self._native.size

    def inspect(self) -> dict[str, Any]:
        """All that is known of it: id, digest, references, size, config and manifest."""
        return self._native.inspect()

    def history(self) -> list[HistoryStep]:
        """How it came to be, bottom first."""
        return self._native.history()

    async def layers(self) -> list[Path]:
        """The directories of its unpacked layers, bottom first; what is missing is unpacked."""
        return await _cancellable(lambda cancel: self._native.layers(cancel=cancel))

    async def export(self, path: StrPath) -> None:
        """Writes all its files as one tar archive, which replaces a file at `path`."""
        await _cancellable(lambda cancel: self._native.export(path, cancel=cancel))

    async def diff(self, base: AnyImage) -> list[Change]:
        """What is other in its files than in those of `base`, by path."""
        return await _cancellable(lambda cancel: self._native.diff(_native(base), cancel=cancel))

    async def commit(
        self, upper: StrPath, reference: str | None = None, **options: Unpack[CommitOptions]
    ) -> Image:
        """Makes an image of it and of `upper`, which overlayfs wrote on top of its layers."""
        commit = self._native.commit
        return Image(
            await _cancellable(lambda cancel: commit(upper, reference, cancel=cancel, **options))
        )

    async def squash(self, reference: str | None = None, **options: Unpack[CommitOptions]) -> Image:
        """Makes an image of one layer that has all of its files."""
        squash = self._native.squash
        return Image(await _cancellable(lambda cancel: squash(reference, cancel=cancel, **options)))

    def __repr__(self) -> str:
        return repr(self._native).replace("skep.", "skep.aio.", 1)


class Registries:
    """The registries as this program reaches them; see `skep.Registries`."""

    def __init__(
        self,
        access: Mapping[str, _skep.Access] | None = None,
        *,
        credential_files: Sequence[StrPath] | None = None,
        timeout: float | None = None,
        attempts: int | None = None,
        pause: float | None = None,
    ) -> None:
        self._native = _skep.Registries(
            access,
            credential_files=credential_files,
            timeout=timeout,
            attempts=attempts,
            pause=pause,
        )

    async def ping(self, registry: str) -> None:
        """Asks whether `registry` is one and lets this program in."""
        await _cancellable(lambda cancel: self._native.ping(registry, cancel=cancel))

    async def resolve(self, reference: str) -> Descriptor:
        """What `reference` names at its registry now."""
        return await _cancellable(lambda cancel: self._native.resolve(reference, cancel=cancel))

    async def tags(self, repository: str) -> list[str]:
        """The tags of a repository, in the registry's order."""
        return await _cancellable(lambda cancel: self._native.tags(repository, cancel=cancel))

    async def referrers(self, reference: str, artifact_type: str | None = None) -> list[Descriptor]:
        """What refers to the image or artifact that `reference` names."""
        referrers = self._native.referrers
        return await _cancellable(lambda cancel: referrers(reference, artifact_type, cancel=cancel))


def _native(given: object) -> Any:
    """What the native half takes for it."""
    if isinstance(given, (Image, Registries)):
        return given._native  # pyright: ignore[reportPrivateUsage]
    return given


class _Running(Protocol):
    def close(self) -> None: ...


_R = TypeVar("_R", bound=_Running)


def _new_threads() -> None:
    """The threads that start and end containers, and those for what may take long.

    The loop's executor has few, and what the program does in it, as resolving names, is not to wait
    for registries that are silent. A forked copy of this program has none of them.
    """
    global _threads, _long
    _threads = ThreadPoolExecutor(4, thread_name_prefix="skep")
    _long = ThreadPoolExecutor(64, thread_name_prefix="skep-images")


_threads: ThreadPoolExecutor
_long: ThreadPoolExecutor
_new_threads()
os.register_at_fork(after_in_child=_new_threads)


async def _in_thread(work: Callable[[], T]) -> T:
    """What blocks for milliseconds; a cancellation does not stop it."""
    return await asyncio.shield(asyncio.wrap_future(_threads.submit(work)))


async def _cancellable(work: Callable[[_skep.Cancel], T], cancel: _skep.Cancel | None = None) -> T:
    """What may take long, in a thread. If this is cancelled, so is the work, and has then ended."""
    cancel = cancel or _skep.Cancel()
    begun = _long.submit(work, cancel)
    working = asyncio.wrap_future(begun)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        cancel.cancel()
        # What still waits for a thread has none to wait for: it never begins.
        while not begun.cancel() and not working.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([working])
        if working.done() and not working.cancelled():
            # Nobody else looks at it, of which asyncio would complain.
            working.exception()
        raise
    except GeneratorExit:
        # Collected as garbage, with a loop that was closed.
        cancel.cancel()
        raise


class _Reports(Generic[P]):
    """Hands what another thread tells to a function in the loop; what that raises ends the work."""

    def __init__(self, function: Callable[[P], object], cancel: _skep.Cancel) -> None:
        self._function = function
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()
        self.failure: BaseException | None = None

    def tell(self, progress: P) -> None:
        """Called in any thread. A loop that is closed has nobody who listens."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._call, progress)

    def _call(self, progress: P) -> None:
        if self.failure is not None:
            return
        try:
            self._function(progress)
        except BaseException as failure:
            self.failure = failure
            self._cancel.cancel()


async def _reporting(
    work: Callable[[_skep.Cancel, Callable[[P], object] | None], T],
    progress: Callable[[P], object] | None,
) -> T:
    """As `_cancellable`, for work that tells how far it is."""
    if progress is None:
        return await _cancellable(lambda cancel: work(cancel, None))
    if not callable(progress):
        raise TypeError(f"expected something to call, not {type(progress).__name__}")
    cancel = _skep.Cancel()
    reports = _Reports(progress, cancel)
    try:
        result = await _cancellable(lambda cancel: work(cancel, reports.tell), cancel)
    except Error:
        # Because of the other, most likely, which says more.
        if reports.failure is not None:
            raise reports.failure from None
        raise
    if reports.failure is not None:
        raise reports.failure
    return result


async def _started(start: Callable[[_skep.Cancel], _R]) -> _R:
    """Starts a container in a thread; one that nobody waits for any more is ended there."""

    def end(started: Future[_R]) -> None:
        if not started.cancelled() and started.exception() is None:
            started.result().close()

    cancel = _skep.Cancel()
    starting = _threads.submit(start, cancel)
    try:
        return await asyncio.wrap_future(starting)
    except BaseException:
        # Cancelled, or collected as garbage with a loop that was closed.
        cancel.cancel()
        starting.add_done_callback(end)
        raise


async def _connected(native: _skep.Child, args: Sequence[str] | None) -> Child:
    """The child with its pipes in this task's loop."""
    transports: list[asyncio.BaseTransport] = []

    async def writer(pipe: IO[bytes] | None) -> asyncio.StreamWriter | None:
        if pipe is None:
            return None
        # The protocol that has what a writer waits for; nothing is read.
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        transport, _ = await loop.connect_write_pipe(lambda: protocol, pipe)
        transports.append(transport)
        return asyncio.StreamWriter(transport, protocol, None, loop)

    async def reader(pipe: IO[bytes] | None) -> asyncio.StreamReader | None:
        if pipe is None:
            return None
        stream = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(stream)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, pipe)
        transports.append(transport)
        return stream

    loop = asyncio.get_running_loop()
    modes = ("wb", "rb", "rb")
    fds = zip(native.take_pipes(), modes, strict=True)
    pipes = [None if fd is None else open(fd, mode, 0) for fd, mode in fds]
    try:
        streams = await writer(pipes[0]), await reader(pipes[1]), await reader(pipes[2])
    except BaseException as failure:
        for transport in transports:
            transport.close()
        for pipe in list(filter(None, pipes))[len(transports) :]:
            pipe.close()
        await _end(native, failure)
        raise
    return Child(native, args, *streams, transports)


async def _collected(collector: _skep.Collector) -> tuple[ExitStatus, bytes, bytes]:
    """Feeds and reads a container to its end; if that fails or is cancelled, it is ended."""
    try:
        while (output := collector.advance()) is None:
            await _readable(collector.fileno())
    except BaseException as failure:
        await _end(collector, failure)
        raise
    return output


async def _end(container: _Running, failure: BaseException) -> None:
    """Ends a container that nobody waits for any more; the exception may keep it for long."""
    if isinstance(failure, GeneratorExit):
        # Collected as garbage, with a loop that was closed.
        container.close()
    else:
        await _in_thread(container.close)


async def _readable(fd: int) -> None:
    """Waits until `fd` is readable. A loop watches a number once, so each wait has its own."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        own = os.dup(fd)
    except OSError as error:
        text = f"cannot wait for a container: {error.strerror}; close some, or raise the limit"
        raise ResourceExhaustedError(text, "wait for", "a container", error.errno) from None
    loop.add_reader(own, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(own)
        os.close(own)
