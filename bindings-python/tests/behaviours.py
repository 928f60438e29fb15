"""Carries out the cases of tests/behaviours, as its README has them.

For any face of an engine: `Face` is what the synchronous one and the one for asyncio have in common
here. What a case says and this does not know is an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, cast

import skep
import skep.aio
from skep import PIPE

FILES = Path(__file__).parents[2] / "tests/behaviours"
IMAGE = "localhost/skep-behaviours:1"

Json = dict[str, Any]
Streams = tuple[bytes, bytes]
# Image, arguments, input and options.
Given = tuple[str, list[str], "bytes | None", skep.Options]
REGISTRY = {
    "${REGISTRY}": "SKEP_TEST_REGISTRY",
    "${CLOSED}": "SKEP_TEST_REGISTRY_CLOSED",
    "${CA}": "SKEP_TEST_REGISTRY_CA",
}


def cases() -> Iterator[Json]:
    """All cases of all files."""
    for file in sorted(FILES.glob("*.json")):
        for case in json.loads(file.read_text()):
            assert case["name"].split("/")[0] == file.stem
            known = {"name", "why", "steps", "concurrent", "own_store"}
            assert not case.keys() - known, case["name"]
            yield case


def pattern(length: int) -> bytes:
    """Bytes that repeat after no power of two: 0, 1, ... 250, 0, ..."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


class Child(Protocol):
    """A container with all streams piped."""

    @property
    def id(self) -> str: ...
    def write(self, data: bytes) -> None: ...
    def close_stdin(self) -> None: ...
    def read_line(self) -> bytes: ...
    def read(self, stream: str) -> bytes: ...
    def send_signal(self, signal: int) -> None: ...
    def kill(self) -> None: ...
    def stop(self, grace: float) -> skep.ExitStatus: ...
    def wait(self, timeout: float | None = None) -> skep.ExitStatus: ...
    def poll(self) -> skep.ExitStatus | None: ...
    def usage(self) -> skep.Usage: ...
    def close(self) -> None: ...
    def files(self, verb: str, *args: Any, **options: Any) -> Any: ...


class Face(Protocol):
    """An engine, whichever way it is used."""

    def run(self, given: Given) -> skep.CompletedContainer[bytes]: ...
    def spawn(self, given: Given, *, keep_files: bool) -> Child: ...
    def images(self, verb: str, *args: Any, **options: Any) -> Any: ...
    def image(self, image: Any, verb: str, *args: Any, **options: Any) -> Any: ...
    def registries(self, access: dict[str, skep.Access], verb: str, *args: Any) -> Any: ...
    def open(self, store: str) -> None: ...
    def on(self, store: str) -> Face: ...
    def close(self) -> None: ...


class ThreadsChild:
    """A child of `skep`."""

    def __init__(self, child: skep.Child[bytes]) -> None:
        self._child = child
        self.id = child.id
        self.send_signal, self.kill, self.stop = child.send_signal, child.kill, child.stop
        self.wait, self.poll, self.usage = child.wait, child.poll, child.usage
        self.close = child.close

    def files(self, verb: str, *args: Any, **options: Any) -> Any:
        return getattr(self._child, verb)(*args, **options)

    def write(self, data: bytes) -> None:
        assert self._child.stdin
        self._child.stdin.write(data)
        self._child.stdin.flush()

    def close_stdin(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()

    def read_line(self) -> bytes:
        assert self._child.stdout
        return self._child.stdout.readline()

    def read(self, stream: str) -> bytes:
        file = self._child.stdout if stream == "stdout" else self._child.stderr
        assert file
        return file.read()


class Threads:
    """The face `skep`."""

    def __init__(self, engine: skep.Engine) -> None:
        self._engine = engine

    def run(self, given: Given) -> skep.CompletedContainer[bytes]:
        image, args, input, options = given
        return self._engine.run(image, args, input=input, **options)

    def spawn(self, given: Given, *, keep_files: bool) -> Child:
        image, args, _, options = given
        child = self._engine.spawn(
            image, args, stdin=PIPE, stdout=PIPE, stderr=PIPE, keep_files=keep_files, **options
        )
        return ThreadsChild(child)

    def images(self, verb: str, *args: Any, **options: Any) -> Any:
        return getattr(self._engine.images, verb)(*args, **options)

    def image(self, image: Any, verb: str, *args: Any, **options: Any) -> Any:
        return getattr(image, verb)(*args, **options)

    def registries(self, access: dict[str, skep.Access], verb: str, *args: Any) -> Any:
        return getattr(skep.Registries(access), verb)(*args)

    def open(self, store: str) -> None:
        skep.Engine(store).close()

    def on(self, store: str) -> Face:
        return Threads(skep.Engine(store))

    def close(self) -> None:
        self._engine.close()


class LoopChild:
    """A child of `skep.aio`, whose loop runs while it is used."""

    def __init__(self, child: skep.aio.Child, complete: Callable[..., Any]) -> None:
        self._child = child
        self._complete = complete
        self.id = child.id
        self.send_signal, self.kill = child.send_signal, child.kill
        self.poll, self.usage = child.poll, child.usage

    def files(self, verb: str, *args: Any, **options: Any) -> Any:
        return self._complete(getattr(self._child, verb)(*args, **options))

    def write(self, data: bytes) -> None:
        assert self._child.stdin
        self._child.stdin.write(data)
        self._complete(self._child.stdin.drain())

    def close_stdin(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._complete(self._child.stdin.wait_closed())

    def read_line(self) -> bytes:
        assert self._child.stdout
        line: bytes = self._complete(self._child.stdout.readline())
        return line

    def read(self, stream: str) -> bytes:
        file = self._child.stdout if stream == "stdout" else self._child.stderr
        assert file
        rest: bytes = self._complete(file.read())
        return rest

    def stop(self, grace: float) -> skep.ExitStatus:
        status: skep.ExitStatus = self._complete(self._child.stop(grace))
        return status

    def wait(self, timeout: float | None = None) -> skep.ExitStatus:
        status: skep.ExitStatus = self._complete(self._child.wait(timeout))
        return status

    def close(self) -> None:
        self._complete(self._child.close())


class Loop:
    """The face `skep.aio`, with a loop of its own for each thread."""

    def __init__(self, engine: skep.aio.Engine) -> None:
        self._engine = engine
        self._loops: dict[int, asyncio.AbstractEventLoop] = {}

    def _complete(self, coroutine: Any) -> Any:
        thread = threading.get_ident()
        if thread not in self._loops:
            self._loops[thread] = asyncio.new_event_loop()
        return self._loops[thread].run_until_complete(coroutine)

    def close(self) -> None:
        self._complete(self._engine.close())
        for loop in self._loops.values():
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    def run(self, given: Given) -> skep.CompletedContainer[bytes]:
        image, args, input, options = given
        run = self._engine.run(image, args, input=input, **options)
        result: skep.CompletedContainer[bytes] = self._complete(run)
        return result

    def spawn(self, given: Given, *, keep_files: bool) -> Child:
        image, args, _, options = given
        spawn = self._engine.spawn(
            image, args, stdin=PIPE, stdout=PIPE, stderr=PIPE, keep_files=keep_files, **options
        )
        return LoopChild(self._complete(spawn), self._complete)

    def images(self, verb: str, *args: Any, **options: Any) -> Any:
        return self._complete(getattr(self._engine.images, verb)(*args, **options))

    def image(self, image: Any, verb: str, *args: Any, **options: Any) -> Any:
        done = getattr(image, verb)(*args, **options)
        return self._complete(done) if asyncio.iscoroutine(done) else done

    def registries(self, access: dict[str, skep.Access], verb: str, *args: Any) -> Any:
        return self._complete(getattr(skep.aio.Registries(access), verb)(*args))

    def open(self, store: str) -> None:
        self._complete(skep.aio.Engine(store).close())

    def on(self, store: str) -> Face:
        return Loop(skep.aio.Engine(store))


def carry_out(face: Face, rootfs: Path, case: Json) -> None:
    """Carries out a case, on a store of its own if it wants one."""
    if not case.get("own_store"):
        carry_out_on(face, rootfs, case)
        return
    with tempfile.TemporaryDirectory(prefix="skep-case-store-") as store, ExitStack() as at_end:
        own = face.on(store)
        at_end.callback(own.close)
        own.images("import_", rootfs, IMAGE)
        carry_out_on(own, rootfs, case)


def carry_out_on(face: Face, rootfs: Path, case: Json) -> None:
    """Carries out a case, once or many times at once."""
    concurrent = case.get("concurrent")
    if concurrent is None:
        with Passage(face, rootfs, "0") as passage:
            passage.steps(case["steps"])
        return
    assert concurrent.keys() == {"threads", "containers"}
    numbers = iter(range(concurrent["containers"]))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for number in numbers:
                with Passage(face, rootfs, str(number)) as passage:
                    passage.steps(case["steps"])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(concurrent["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


class Passage:
    """One passage through a case's steps."""

    def __init__(self, face: Face, rootfs: Path, number: str) -> None:
        self._face = face
        self._at_end = ExitStack()
        self._child: Child | None = None
        directory = self._at_end.enter_context(tempfile.TemporaryDirectory(prefix="skep-case-"))
        self._words = {
            "${DIR}": directory,
            "${IMAGE}": IMAGE,
            "${ROOTFS}": str(rootfs),
            "${ID}": "",
            "${N}": number,
        }
        self._words |= {word: os.environ.get(name, "") for word, name in REGISTRY.items()}

    def __enter__(self) -> Passage:
        return self

    def __exit__(self, *_: object) -> None:
        self._at_end.close()

    def steps(self, steps: list[Json]) -> None:
        for step in steps:
            self._step(self._replaced(step))

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            for word, replacement in self._words.items():
                value = value.replace(word, replacement)
        elif isinstance(value, list):
            return list(map(self._replaced, value))  # pyright: ignore
        elif isinstance(value, dict):
            fields = cast("Json", value)
            return {key: self._replaced(item) for key, item in fields.items()}
        return value

    def _step(self, step: Json) -> None:
        expected_error = step.pop("error", None)
        expected = step.pop("expect", {})
        ((verb, value),) = step.items()
        perform = getattr(self, f"_{verb}")
        if expected_error is None:
            perform(value, expected)
            return
        try:
            perform(value, expected)
        except skep.Error as error:
            check_error(error, expected_error)
        else:
            raise AssertionError(f"no error, where {expected_error} is expected")

    @property
    def child(self) -> Child:
        assert self._child, "nothing was spawned"
        return self._child

    def _run(self, given: Json, expected: Json) -> None:
        try:
            result = self._face.run(parsed(given))
        except skep.ContainerError as error:
            assert error.status, error
            check_output(expected, error.status, (error.stdout, error.stderr))
            assert error.returncode == error.status.returncode
        else:
            check_output(expected, result.status, (result.stdout, result.stderr))

    def _spawn(self, given: Json, expected: Json) -> None:
        keep_files = given.pop("keep_files", False)
        self._child = self._face.spawn(parsed(given), keep_files=keep_files)
        self._at_end.callback(self._child.close)
        self._words["${ID}"] = self._child.id[:12]
        assert not expected

    def _write(self, text: str, expected: Json) -> None:
        self.child.write(text.encode())

    def _close_stdin(self, true: bool, expected: Json) -> None:
        self.child.close_stdin()

    def _read_line(self, line: str, expected: Json) -> None:
        assert self.child.read_line().decode().removesuffix("\n") == line

    def _read_stdout(self, text: str, expected: Json) -> None:
        assert self.child.read("stdout").decode() == text

    def _read_stderr(self, text: str, expected: Json) -> None:
        assert self.child.read("stderr").decode() == text

    def _signal(self, number: int, expected: Json) -> None:
        self.child.send_signal(number)

    def _kill(self, true: bool, expected: Json) -> None:
        self.child.kill()

    def _stop_ms(self, grace: int, expected: Json) -> None:
        check_status(expected, self.child.stop(grace / 1000))

    def _wait(self, true: bool, expected: Json) -> None:
        check_status(expected, self.child.wait())

    def _wait_timeout_ms(self, time: int, expected: Json | None) -> None:
        try:
            status = self.child.wait(time / 1000)
        except skep.TimeoutError as error:
            assert error.status is None
            assert expected is None
        else:
            assert expected is not None
            check_status(expected, status)

    def _try_wait(self, true: bool, expected: Json | None) -> None:
        status = self.child.poll()
        assert (status is None) == (expected is None)
        if status is not None and expected is not None:
            check_status(expected, status)

    def _usage(self, true: bool, expected: Json) -> None:
        assert expected.keys() <= {"usage"}
        check_usage(expected.get("usage", {}), self.child.usage())

    def _drop(self, true: bool, expected: Json) -> None:
        self.child.close()
        self._child = None

    def _open(self, path: str, expected: Json) -> None:
        self._face.open(path)

    def _image_import(self, given: Json, expected: Json) -> None:
        tar, name = given.pop("tar"), given.pop("as")
        assert given.keys() <= {"max_size"}
        check_image(expected, self._face.images("import_", tar, name, **given))

    def _image_load(self, path: str, expected: Json) -> None:
        check_image(expected, self._face.images("load", path))

    def _image_find(self, name: str, expected: Json) -> None:
        check_image(expected, self._face.images("find", name))

    def _image_tag(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"image", "as"}
        self._face.images("tag", given["image"], given["as"])

    def _image_remove(self, name: str, expected: Json) -> None:
        self._face.images("remove", name)

    def _image_list(self, true: bool, expected: Json) -> None:
        prefix = expected.pop("prefix", "")
        names = [name for image in self._face.images("list") for name in image.references]
        names = [name for name in names if name.startswith(prefix)]
        check(expected, {"references": sorted(names)})

    def _image_save(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"images", "to", "format"}
        self._face.images("save", given["images"], given["to"], format=given["format"])

    def _find(self, name: str) -> Any:
        return self._face.images("find", name)

    def _image_export(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"image", "to"}
        self._face.image(self._find(given["image"]), "export", given["to"])

    def _image_diff(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"image", "base"}
        base = self._find(given["base"])
        changes = self._face.image(self._find(given["image"]), "diff", base)
        check(expected, {"changes": [str(change) for change in changes]})

    def _image_history(self, name: str, expected: Json) -> None:
        steps = self._face.image(self._find(name), "history")
        check(expected, {"history": [step.created_by or step.comment or "" for step in steps]})

    def _image_squash(self, given: Json, expected: Json) -> None:
        image = self._find(given.pop("image"))
        reference, options = commit(given)
        check_image(expected, self._face.image(image, "squash", reference, **options))

    def _prune(self, what: str, expected: Json) -> None:
        pruned = self._face.images("prune", what)
        found = {"images": len(pruned.images), "layers": pruned.layers}
        check(expected, {"pruned": found})

    def _disk_usage(self, true: bool, expected: Json) -> None:
        usage = self._face.images("disk_usage")
        in_use = sum(image.in_use for image in usage.images)
        found = {"images": len(usage.images), "in_use": in_use, "unneeded": usage.unneeded}
        check(expected, {"disk": found})

    def _image_pull(self, given: Json, expected: Json) -> None:
        reference, progress = given.pop("reference"), given.pop("progress", False)
        told: list[skep.PullProgress] = []
        if progress:
            given["progress"] = told.append
        unpacked = given.get("unpack", True)
        known = {"registries", "platform", "parallel", "unpack", "progress", "policy", "max_size"}
        assert given.keys() <= known
        if "policy" in given:
            given["policy"] = policy(given["policy"])
        given["registries"] = access(given["registries"])
        image = self._face.images("pull", reference, **given)
        if progress:
            last = {one.layer: (one.fetched, one.total, one.unpacked) for one in told}
            layers = image.inspect()["manifest"]["layers"]
            sizes = {layer["digest"]: layer["size"] for layer in layers}
            assert last == {layer: (size, size, unpacked) for layer, size in sizes.items()}
        check_image(expected, image)

    def _image_push(self, given: Json, expected: Json) -> None:
        image, reference = self._find(given.pop("image")), given.pop("as")
        assert given.keys() <= {"registries", "parallel", "chunk", "mount_from"}
        given["registries"] = access(given["registries"])
        assert self._face.images("push", image, reference, **given) == image.digest
        assert not expected

    def _registry_ping(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"registry", "registries"}
        self._face.registries(access(given["registries"]), "ping", given["registry"])

    def _registry_resolve(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"reference", "registries"}
        found = self._face.registries(access(given["registries"]), "resolve", given["reference"])
        digest_of = expected.pop("digest_of", None)
        assert digest_of is None or found.digest == self._find(digest_of).digest
        assert not expected

    def _registry_tags(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"repository", "registries"}
        tags = self._face.registries(access(given["registries"]), "tags", given["repository"])
        check(expected, {"tags": sorted(tags)})

    def _registry_referrers(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"reference", "registries"}
        found = self._face.registries(access(given["registries"]), "referrers", given["reference"])
        check(expected, {"referrers": len(found)})

    def _commit(self, given: Json, expected: Json) -> None:
        reference, options = commit(given)
        check_image(expected, self.child.files("commit", reference, **options))

    def _diff(self, true: bool, expected: Json) -> None:
        check(expected, {"changes": [str(change) for change in self.child.files("diff")]})

    def _export(self, path: str, expected: Json) -> None:
        self.child.files("export", path)

    def _host_write(self, given: Json, expected: Json) -> None:
        assert given.keys() == {"path", "content"}
        Path(given["path"]).write_text(given["content"])

    def _host_read(self, path: str, expected: Json) -> None:
        check(expected, {"content": Path(path).read_text()})


# The same words in the files and in Python, and handed on as they are.
SAME = {
    "entrypoint", "env", "working_dir", "user", "hostname", "read_only", "allow_new_privileges",
    "memory", "memory_swap", "cpus", "pids",
}  # fmt: skip


def parsed(given: Json) -> Given:
    image, args = given.pop("image", IMAGE), given.pop("args", [])
    options = cast("skep.Options", {name: given.pop(name) for name in SAME & given.keys()})
    input: bytes | None = None
    if "timeout_ms" in given:
        options["timeout"] = given.pop("timeout_ms") / 1000
    if "input" in given:
        input = given.pop("input").encode()
    if "input_pattern" in given:
        input = pattern(given.pop("input_pattern"))
    if "rlimits" in given:
        options["rlimits"] = {name: tuple(limit) for name, limit in given.pop("rlimits").items()}
    if "mounts" in given:
        options["mounts"] = [mount(each) for each in given.pop("mounts")]
    assert not given, f"unknown options {given}"
    return image, args, input, options


def commit(given: Json) -> tuple[str | None, Json]:
    reference = given.pop("as", None)
    assert given.keys() <= {"author", "comment", "created_by", "time", "max_size"}
    return reference, given


def access(given: list[Json]) -> dict[str, skep.Access]:
    found: dict[str, skep.Access] = {}
    for one in given:
        name: str = one.pop("registry")
        options: Json = {}
        if "user" in one:
            options["credentials"] = (one.pop("user"), one.pop("password"))
        for same in one.keys() & {"plain_http", "mirrors", "ca"}:
            options[same] = one.pop(same)
        assert not one, f"unknown options {one}"
        found[name] = skep.Access(**options)
    return found


def policy(given: Json) -> skep.Policy:
    assert given.keys() == {"default", "prefixes"}
    assert all(one.keys() == {"prefix", "require"} for one in given["prefixes"])
    prefixes = {one["prefix"]: requirement(one["require"]) for one in given["prefixes"]}
    return skep.Policy(requirement(given["default"]), prefixes)


def requirement(given: Any) -> Any:
    if isinstance(given, str):
        return given
    keys = [pem.encode() for pem in given.pop("keys")]
    assert given.keys() <= {"at_least", "identity"}
    return skep.Signed(keys, **given)


def mount(given: Json) -> skep.Mount:
    read_only = given.pop("read_only", False)
    if given.keys() == {"bind", "to"}:
        return skep.Mount.bind(given["bind"], given["to"], read_only=read_only)
    assert given.keys() in ({"tmpfs"}, {"tmpfs", "size"}), given
    return skep.Mount.tmpfs(given["tmpfs"], size=given.get("size"), read_only=read_only)


def check(expected: Json, found: Json) -> None:
    """All that is expected is found, and nothing is expected that cannot be found."""
    assert {name: found.get(name, "not there") for name in expected} == expected


def check_output(expected: Json, status: skep.ExitStatus, streams: Streams) -> None:
    for name, data in zip(("stdout", "stderr"), streams, strict=True):
        if name in expected:
            assert data.decode(errors="replace") == expected.pop(name)
        if f"{name}_contains" in expected:
            assert expected.pop(f"{name}_contains") in data.decode(errors="replace")
        if f"{name}_pattern" in expected:
            # No assertion of pytest's, which would print what differs.
            if data != pattern(expected.pop(f"{name}_pattern")):
                raise AssertionError(f"{name} is not the pattern: {len(data)} bytes")
    check_status(expected, status)


def check_status(expected: Json, status: skep.ExitStatus) -> None:
    check_usage(expected.pop("usage", {}), status.usage)
    detail = {"exited": f":{status.code}", "signaled": f":{status.signal}"}
    found = {
        "reason": status.reason + detail.get(status.reason, ""),
        "code": status.code,
        "signal": status.signal,
        "success": status.success,
    }
    check(expected, found)


def check_usage(expected: Json, usage: skep.Usage) -> None:
    found = {
        "memory_peak": usage.memory_peak,
        "cpu_ms": None if usage.cpu_total is None else usage.cpu_total * 1000,
        "oom_kills": usage.oom_kills,
        "pids_peak": usage.pids_peak,
    }
    for bound, limit in expected.items():
        name, _, which = bound.rpartition("_")
        value = found[name]
        assert value is not None, f"{name} was not counted"
        assert which in ("min", "max")
        assert value >= limit if which == "min" else value <= limit, (bound, value)


def check_image(expected: Json, image: skep.Image | skep.aio.Image) -> None:
    config = image.inspect()["config"]
    found = {
        "references": sorted(image.references),
        "os": config["os"],
        "cmd": config["config"].get("Cmd"),
    }
    check(expected, found)


def check_error(error: skep.Error, expected: Json) -> None:
    if "message_starts" in expected:
        assert str(error).startswith(expected.pop("message_starts"))
    check(expected, {"kind": error.kind, "message": str(error)})
