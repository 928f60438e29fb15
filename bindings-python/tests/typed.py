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


def images(engine: skep.Engine) -> None:
    access = {"localhost:5000": skep.Access(plain_http=True, credentials=("user", "password"))}
    image = engine.images.pull("x", registries=access, progress=lambda told: told.fetched)
    assert_type(image, skep.Image)
    reach = skep.Registries(access, timeout=5)
    assert_type(engine.images.push(image, "x", registries=reach, chunk="16m"), str)
    assert_type(reach.resolve("x").artifact_type, "str | None")
    assert_type(image.diff(image)[0].kind, skep.ChangeKind)
    assert_type(engine.images.prune("unused").images, "list[str]")
    assert_type(image.squash("x", author="me", time=1.5, config={"Cmd": None}), skep.Image)
    ours = skep.Signed([b"", "ours.pub"], at_least=2, identity={"named": "r.example/app"})
    policy = skep.Policy(default="reject", prefixes={"r.example": ours, "docker.io": "accept"})
    assert_type(engine.images.pull("x", policy=policy, max_size="16g"), skep.Image)
    assert_type(engine.images.load_all("x", max_size=1 << 30), "list[skep.Image]")
    skep.Policy("signed")  # type: ignore[arg-type]  # pyright: ignore
    skep.Signed([b""], identity="tag")  # type: ignore[arg-type]  # pyright: ignore
    skep.Signed([b""], identity={"name": "x"})  # type: ignore[arg-type]  # pyright: ignore
    engine.images.prune("all")  # type: ignore[arg-type]  # pyright: ignore
    image.squash(autor="me")  # type: ignore[call-arg]  # pyright: ignore
    engine.run("app:1", keep_files=True)  # type: ignore[call-overload]  # pyright: ignore
    with engine.spawn("app:1", keep_files=True) as child:
        assert_type(child.commit("x", max_size="1g"), skep.Image)


async def loops(engine: skep.aio.Engine) -> None:
    assert_type(await engine.run("app:1"), skep.CompletedContainer[bytes])
    assert_type(await engine.run("app:1", text=True), skep.CompletedContainer[str])
    image = await engine.images.pull("x", registries=skep.aio.Registries(), progress=print)
    await engine.images.pull("x", policy=skep.Policy("accept"), max_size=1 << 30)
    await engine.images.load("x", max_size="1g")
    assert_type(image, skep.aio.Image)
    assert_type(await image.diff(image), "list[skep.Change]")
    assert_type((await engine.run(image)).stdout, bytes)
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
