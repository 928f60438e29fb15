"""skep.aio: what it adds to what the behaviours have shown of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import skep
import skep.aio
from conftest import IMAGE
from skep import PIPE

Test = Callable[[skep.aio.Engine], Awaitable[None]]


def threads() -> set[str]:
    """This process's; those of earlier tests and of the test runner included."""
    return set(os.listdir("/proc/self/task"))


def pipes() -> set[str]:
    """Those that this process has open."""
    found: set[str] = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {target for target in found if target.startswith("pipe:")}


def in_loop(test: Test) -> Callable[[Path], None]:
    """Runs a coroutine as a test, with an engine that is closed at its end."""

    async def main(store: Path) -> None:
        async with skep.aio.Engine(store) as engine:
            await test(engine)

    @wraps(test)
    def run(store: Path) -> None:
        asyncio.run(main(store))

    # pytest would look there for fixtures.
    del run.__wrapped__
    return run


@contextlib.asynccontextmanager
async def fifo(directory: Path) -> AsyncGenerator[asyncio.StreamReader, None]:
    """What containers write to /out/fifo; it ends when none of them can write any more."""
    os.mkfifo(directory / "fifo")
    reader = asyncio.StreamReader()
    file = open(os.open(directory / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    yield reader
    transport.close()


@in_loop
async def test_run(engine: skep.aio.Engine) -> None:
    result = await engine.run(IMAGE, ["cat"], input="é", text=True)
    assert (result.stdout, result.returncode) == ("é", 0)
    with pytest.raises(skep.ExitError):
        await engine.run(IMAGE, ["false"], check=True)
    with pytest.raises(skep.NotFoundError):
        await engine.run(IMAGE, ["no-such-command"])
    with pytest.raises(TypeError):
        await engine.run(IMAGE, ["true"], memroy=1)  # type: ignore[call-overload]  # pyright: ignore


@in_loop
async def test_a_hundred_at_once_take_a_handful_of_threads(engine: skep.aio.Engine) -> None:
    before = threads()
    new: set[str] = set()

    async def run(number: int) -> bytes:
        result = await engine.run(IMAGE, ["sh", "-c", f"cat; echo {number}"], input=b"number ")
        new.update(threads() - before)
        return result.stdout

    outputs = await asyncio.gather(*map(run, range(100)))
    assert outputs == [b"number %d\n" % number for number in range(100)]
    assert len(new) <= 4, "those that start containers"


@in_loop
async def test_a_hundred_live_children_take_no_thread_each(engine: skep.aio.Engine) -> None:
    before = threads()
    children = [await engine.spawn(IMAGE, ["cat"], stdin=PIPE) for _ in range(100)]
    waits = asyncio.gather(*(child.wait() for child in children))
    await asyncio.sleep(0)
    assert len(threads() - before) <= 4
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    assert [status.returncode for status in await waits] == [0] * 100


@in_loop
async def test_streams(engine: skep.aio.Engine) -> None:
    script = 'while read line; do echo "got $line"; done'
    async with await engine.spawn(IMAGE, ["sh", "-c", script], stdin=PIPE, stdout=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is None
        child.stdin.write(b"one\n")
        assert await child.stdout.readline() == b"got one\n"
        child.stdin.write(b"two\nthree\n")
        child.stdin.close()
        assert [line async for line in child.stdout] == [b"got two\n", b"got three\n"]
        assert (await child.wait()).success


@in_loop
async def test_much_through_pipes(engine: skep.aio.Engine) -> None:
    data = bytes(3_000_000)
    async with await engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        stdin = child.stdin

        async def feed() -> None:
            stdin.write(data)
            await stdin.drain()
            stdin.close()
            await stdin.wait_closed()

        _, read = await asyncio.gather(feed(), child.stdout.read())
        assert read == data


@in_loop
async def test_wait_and_stop(engine: skep.aio.Engine) -> None:
    async with await engine.spawn(IMAGE, ["sleep", "600"]) as child:
        with pytest.raises(skep.TimeoutError) as caught:
            await child.wait(timeout=0.01)
        assert caught.value.status is None
        with pytest.raises(skep.InvalidInputError) as refused:
            await child.wait(timeout=-1)
        assert str(refused.value).startswith("cannot limit time to -1 s: ")
        waits = [asyncio.ensure_future(child.wait()) for _ in range(3)]
        assert (await child.stop(grace=0)).signal == 9
        assert [status.signal for status in await asyncio.gather(*waits)] == [9, 9, 9]
    assert repr(child) == f"<skep.aio.Child {child.id[:12]} signal 9 (SIGKILL)>"


@in_loop
async def test_leaving_the_block_ends_the_child(engine: skep.aio.Engine) -> None:
    async with await engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE) as child:
        assert child.poll() is None
    assert child.returncode == -9


def test_cancelling_a_run_kills_its_container(store: Path, directory: Path) -> None:
    async def main() -> None:
        engine = skep.aio.Engine(store)
        mounts = [skep.Mount.bind(directory, "/out")]
        script = ["sh", "-c", "exec >/out/fifo; echo runs; exec sleep 600"]
        async with fifo(directory) as output:
            run = asyncio.ensure_future(engine.run(IMAGE, script, mounts=mounts))
            assert await output.readline() == b"runs\n"
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert await output.read() == b""
        await engine.close()

    asyncio.run(main())


def test_a_timeout_of_asyncios_kills_the_container(store: Path, directory: Path) -> None:
    async def main() -> None:
        engine = skep.aio.Engine(store)
        mounts = [skep.Mount.bind(directory, "/out")]
        script = ["sh", "-c", "exec >/out/fifo; echo runs; exec sleep 600"]
        async with fifo(directory) as output:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(engine.run(IMAGE, script, mounts=mounts), 0.3)
            assert await output.read() in (b"runs\n", b"")
        await engine.close()

    asyncio.run(main())


@in_loop
async def test_cancelling_starts(engine: skep.aio.Engine) -> None:
    """Wherever a start is when it is cancelled, nothing stays of it."""
    read, write = os.pipe()
    sleep = ["sleep", "600"]
    for turns in range(0, 400, 20):
        runs = [asyncio.ensure_future(engine.run(IMAGE, sleep, stdout=write)) for _ in range(8)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for run in runs:
            run.cancel()
        results = await asyncio.gather(*runs, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
    # The pipe ends when all who could write to it are gone.
    os.close(write)
    with open(read, "rb") as pipe:
        assert await asyncio.to_thread(pipe.read) == b""


@in_loop
async def test_the_loop_turns_while_containers_start_and_run(engine: skep.aio.Engine) -> None:
    """Each turn is short beside the run, whose times are compared: nothing here is a fixed time."""
    loop = asyncio.get_running_loop()
    turns = 0
    over = False

    async def turn() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    start = loop.time()
    await engine.run(IMAGE, ["sleep", "0.1"])
    assert loop.time() - start >= 0.1
    over = True
    await turning
    assert turns > 100


@in_loop
async def test_closing_the_engine_ends_all_it_runs(engine: skep.aio.Engine) -> None:
    child = await engine.spawn(IMAGE, ["sleep", "600"])
    run = asyncio.ensure_future(engine.run(IMAGE, ["sleep", "600"]))
    reading = await engine.spawn(IMAGE, ["echo", "started"], stdout=PIPE)
    assert reading.stdout is not None
    assert await reading.stdout.read() == b"started\n"
    await engine.close()
    assert (await child.wait()).signal == 9
    # Killed if it was started by then, refused if not.
    with contextlib.suppress(skep.InvalidStateError):
        assert (await run).returncode == -9
    with pytest.raises(skep.InvalidStateError):
        await engine.run(IMAGE, ["true"])


@in_loop
async def test_a_forgotten_child_is_warned_of_and_ended(engine: skep.aio.Engine) -> None:
    child = await engine.spawn(IMAGE, ["cat"], stdin=PIPE, stdout=PIPE)
    stdin, stdout = child.stdin, child.stdout
    assert stdin is not None
    assert stdout is not None
    expected = f"container {child.id[:12]} is still running"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del child
        gc.collect()
    assert expected in [str(warning.message) for warning in caught]
    assert await stdout.read() == b""
    stdin.close()


def test_one_engine_serves_loops_in_several_threads(store: Path) -> None:
    engine = skep.aio.Engine(store)
    outputs: list[bytes] = []

    async def run() -> None:
        outputs.append((await engine.run(IMAGE, ["echo", "x"])).stdout)

    threads = [threading.Thread(target=lambda: asyncio.run(run())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == [b"x\n"] * 4
    asyncio.run(engine.close())


def test_a_loop_that_is_dropped_ends_its_containers(store: Path, directory: Path) -> None:
    """Without a cancellation: the coroutine is collected as garbage."""
    engine = skep.aio.Engine(store)
    loop = asyncio.new_event_loop()
    mounts = [skep.Mount.bind(directory, "/out")]
    os.mkfifo(directory / "fifo")
    script = ["sh", "-c", "exec >/out/fifo; echo runs; exec sleep 600"]
    run: Coroutine[Any, Any, Any] = engine.run(IMAGE, script, mounts=mounts)
    reads = loop.run_in_executor(None, open, directory / "fifo", "rb")
    task = loop.create_task(run)
    with loop.run_until_complete(reads) as file:
        assert file.readline() == b"runs\n"
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore
        del task, run
        # A start that is not over keeps its task until it is.
        while not select.select([file], [], [], 0.01)[0]:
            gc.collect()
        assert file.read() == b""
    asyncio.run(engine.close())


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("failure", [asyncio.CancelledError(), OSError(24, "no descriptors")])
def test_a_failure_to_connect_ends_the_container(
    store: Path, failing: int, failure: BaseException
) -> None:
    """At once, and not when the last of the exception is gone."""

    async def main() -> None:
        calls = 0
        async with skep.aio.Engine(store) as engine:
            loop = asyncio.get_running_loop()
            connect = loop.connect_read_pipe

            async def failing_connect(*arguments: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == failing:
                    raise failure
                return await connect(*arguments)

            await engine.run(IMAGE, ["true"])
            gc.collect()
            before = pipes()
            read, write = os.pipe()
            os.set_blocking(read, False)
            loop.connect_read_pipe = failing_connect  # type: ignore
            with pytest.raises(type(failure)):
                await engine.spawn(IMAGE, ["sleep", "600"], stdin=write, stdout=PIPE, stderr=PIPE)
            os.close(write)
            # `failure` has their frame still, and all the same: no container that could write,
            assert failure.__traceback__
            assert os.read(read, 1) == b""
            os.close(read)
            # and no pipe.
            await asyncio.sleep(0)
            assert pipes() <= before

    asyncio.run(main())


def test_a_run_that_cannot_be_watched_is_ended(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_dup(_: int) -> int:
        raise OSError(24, "Too many open files")

    async def main() -> None:
        async with skep.aio.Engine(store) as engine:
            await engine.run(IMAGE, ["true"])
            read, write = os.pipe()
            with monkeypatch.context() as patch:
                patch.setattr(os, "dup", failing_dup)
                with pytest.raises(skep.ResourceExhaustedError, match="Too many") as caught:
                    await engine.run(IMAGE, ["sleep", "600"], stdout=write)
            os.close(write)
            assert caught.value.errno == 24
            # At its end, for nobody can write to it any more.
            os.set_blocking(read, False)
            assert os.read(read, 1) == b""
            os.close(read)

    asyncio.run(main())
