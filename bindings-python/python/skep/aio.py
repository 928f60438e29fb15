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
made by four threads of this module's own; images are loaded in the loop's default executor.
Options, results and exceptions are those of `skep`. A loop needs `add_reader`, as all of asyncio's
have on Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from skep import _skep
from skep._child import BaseChild
from skep._engine import judged
from skep._errors import Error, ResourceExhaustedError, TimeoutError
from skep._results import CompletedContainer
from skep._text import Codec, encode_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Buffer, Unpack

    from skep._options import Source, StartOptions, StrPath
    from skep._results import ExitStatus, ImageSummary

T = TypeVar("T")

__all__ = ["Child", "Engine", "Images"]


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
    async def run(
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
    async def run(
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
    async def run(
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
    async def run(
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
    async def run(
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
        """Runs a container to its end and collects what it says; see `skep.Engine.run`.

        Cancelling it kills the container.
        """
        codec = Codec.of(text, encoding, errors)
        data = encode_input(input, options.get("stdin"), codec)

        def start() -> _skep.Collector:
            return _skep.Command(self._native, image, args, **options).collect(data)

        output = await _collected(await _started(start))
        return judged(CompletedContainer(list(args or ()), *output), codec, check)

    async def spawn(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        **options: Unpack[StartOptions],
    ) -> Child:
        """Starts a container and returns when its command runs; see `skep.Engine.spawn`.

        As in asyncio.subprocess, streams are of bytes.
        """

        def start() -> _skep.Child:
            return _skep.Command(self._native, image, args, **options).spawn()

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
    """The images of an engine's store; see `skep.Images`."""

    def __init__(self, native: _skep.Images) -> None:
        self._native = native

    async def load(self, path: StrPath) -> _skep.Image:
        """Loads the only image of an archive or directory."""
        return await asyncio.to_thread(self._native.load, path)

    async def load_all(self, path: StrPath) -> list[_skep.Image]:
        """Loads all images of an archive or directory."""
        return await asyncio.to_thread(self._native.load_all, path)

    async def import_(self, tar: StrPath, reference: str | None = None) -> _skep.Image:
        """Makes an image of a root file system's tar archive."""
        return await asyncio.to_thread(self._native.import_, tar, reference)

    async def find(self, name_or_id: str) -> _skep.Image:
        """Finds an image by a name or by its id."""
        return await asyncio.to_thread(self._native.find, name_or_id)

    async def list(self) -> list[ImageSummary]:
        """All images, in the order in which they came."""
        return await asyncio.to_thread(self._native.list)

    async def tag(self, name_or_id: str, reference: str) -> None:
        """Names an image `reference`."""
        await asyncio.to_thread(self._native.tag, name_or_id, reference)

    async def remove(self, name_or_id: str) -> None:
        """Removes a name and, if it was the image's last, the image."""
        await asyncio.to_thread(self._native.remove, name_or_id)


class _Running(Protocol):
    def close(self) -> None: ...


_R = TypeVar("_R", bound=_Running)


def _new_threads() -> None:
    """The threads that start and end containers. A forked copy of this program has none of them."""
    global _threads
    _threads = ThreadPoolExecutor(4, thread_name_prefix="skep")


_threads: ThreadPoolExecutor
_new_threads()
os.register_at_fork(after_in_child=_new_threads)


async def _in_thread(work: Callable[[], T]) -> T:
    """What blocks for milliseconds; a cancellation does not stop it."""
    return await asyncio.shield(asyncio.wrap_future(_threads.submit(work)))


async def _started(start: Callable[[], _R]) -> _R:
    """Starts a container in a thread; one that nobody waits for any more is ended there."""

    def end(started: Future[_R]) -> None:
        if not started.cancelled() and started.exception() is None:
            started.result().close()

    starting = _threads.submit(start)
    try:
        return await asyncio.wrap_future(starting)
    except BaseException:
        # Cancelled, or collected as garbage with a loop that was closed.
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
