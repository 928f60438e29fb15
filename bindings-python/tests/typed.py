"""What type checkers make of the interface: checked by mypy and pyright, run by nobody."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import skep
import skep.aio

if TYPE_CHECKING:
    from asyncio import StreamWriter  # noqa: F401

    from typing_extensions import Unpack, assert_type


def results(engine: skep.Engine, text: bool) -> None:
    assert_type(engine.run("app:1"), skep.CompletedContainer[bytes])
    assert_type(engine.run("app:1", input=b"x"), skep.CompletedContainer[bytes])
    assert_type(engine.run("app:1", text=True, input="x"), skep.CompletedContainer[str])
    assert_type(engine.run("app:1", encoding="utf-8").stdout, str)
    assert_type(engine.run("app:1", errors="replace").stdout, str)
    assert_type(engine.run("app:1", text=text), skep.CompletedContainer[Any])
    assert_type(engine.run(skep.Root.host(), ["true"]).status.reason, skep.ExitReason)
    assert_type(engine.run("app:1").usage.memory_peak, "int | None")
    engine.run("app:1", input="x")  # type: ignore[call-overload]  # pyright: ignore
    engine.run("app:1", memroy=1)  # type: ignore[call-overload]  # pyright: ignore
    engine.run("app:1", memory=1.5)  # type: ignore[call-overload]  # pyright: ignore
    engine.run(1)  # type: ignore[call-overload]  # pyright: ignore


def children(engine: skep.Engine) -> None:
    assert_type(engine.spawn("app:1"), skep.Child[bytes])
    child = engine.spawn("app:1", ["cat"], text=True, stdout=skep.PIPE)
    assert_type(child.stdout, "IO[str] | None")
    assert_type(child.poll(), "skep.ExitStatus | None")
    with child as same:
        assert_type(same.wait(timeout=1.5), skep.ExitStatus)


async def loops(engine: skep.aio.Engine) -> None:
    assert_type(await engine.run("app:1"), skep.CompletedContainer[bytes])
    assert_type(await engine.run("app:1", text=True), skep.CompletedContainer[str])
    async with await engine.spawn("app:1") as child:
        assert_type(child.stdin, "StreamWriter | None")
        assert_type(await child.wait(), skep.ExitStatus)


def wrapper(engine: skep.Engine, **options: Unpack[skep.Options]) -> IO[bytes] | None:
    """The options' type is there for programs that hand them on."""
    options.setdefault("memory", "256m")
    return engine.spawn("app:1", stdout=skep.PIPE, **options).stdout


def errors(error: skep.Error) -> None:
    assert_type(error.errno, "int | None")
    if isinstance(error, skep.TimeoutError):
        assert_type(error.status, "skep.ExitStatus | None")
