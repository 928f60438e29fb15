"""Engine, run and spawn: what the behaviours leave to each language."""

from __future__ import annotations

import contextlib
import copy
import doctest
import gc
import io
import os
import pickle
import select
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import skep
import skep.aio
from conftest import IMAGE


def test_run_gives_bytes(engine: skep.Engine) -> None:
    result = engine.run(IMAGE, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.stdout, result.stderr, result.returncode) == (b"out\n", b"err\n", 3)
    assert result.args == ["sh", "-c", "echo out; echo err >&2; exit 3"]
    assert result.status.reason == "exited"
    assert str(result.status) == "exit code 3"


def test_text_as_in_subprocess(engine: skep.Engine) -> None:
    result = engine.run(IMAGE, ["cat"], input="é\r\nb\n", text=True)
    assert result.stdout == "é\nb\n"
    assert engine.run(IMAGE, ["cat"], input="é", encoding="latin-1").stdout == "é"
    raw = ["printf", "\\351"]
    assert (
        engine.run(IMAGE, raw, encoding="utf-8", errors="replace").stdout
        == "\N{REPLACEMENT CHARACTER}"
    )
    with pytest.raises(UnicodeDecodeError):
        engine.run(IMAGE, raw, encoding="utf-8")


def test_input_is_any_buffer(engine: skep.Engine) -> None:
    for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
        assert engine.run(IMAGE, ["cat"], input=data).stdout == b"abc"


def test_image_may_be_a_name_an_image_or_a_root(engine: skep.Engine) -> None:
    image = engine.images.find(IMAGE)
    for source in (IMAGE, image.id, image, skep.Root.host()):
        assert engine.run(source, ["echo", "x"]).stdout == b"x\n"


def test_streams_may_be_files(engine: skep.Engine, directory: Path) -> None:
    (directory / "in").write_bytes(b"from a file")
    with (directory / "in").open("rb") as stdin, (directory / "out").open("wb") as stdout:
        result = engine.run(IMAGE, ["cat"], stdin=stdin, stdout=stdout.fileno())
    assert result.stdout == b""
    assert (directory / "out").read_bytes() == b"from a file"
    assert engine.run(IMAGE, ["echo"], stdout=skep.DEVNULL).stdout == b""


def test_check_raises_with_all_that_is_known(engine: skep.Engine) -> None:
    with pytest.raises(skep.ExitError) as caught:
        engine.run(IMAGE, ["sh", "-c", "echo out; exit 3"], text=True, check=True)
    error = caught.value
    assert str(error) == "cannot run sh: exit code 3"
    assert (error.returncode, error.stdout, error.stderr) == (3, "out\n", "")
    assert error.usage is not None
    result = engine.run(IMAGE, ["false"])
    with pytest.raises(skep.ExitError):
        result.check_returncode()
    engine.run(IMAGE, ["true"], check=True).check_returncode()


def test_a_timeout_is_the_builtin_one_too(engine: skep.Engine) -> None:
    with pytest.raises(TimeoutError) as caught:
        engine.run(IMAGE, ["sh", "-c", "echo begun; sleep 600"], timeout=0.2)
    error = caught.value
    assert isinstance(error, skep.TimeoutError)
    assert error.stdout == b"begun\n"
    assert error.status is not None
    assert error.status.reason == "timed_out"
    assert str(error) == "cannot run sh: killed after its timeout"


def test_want_of_memory_has_its_own_class(engine: skep.Engine) -> None:
    with pytest.raises(skep.OutOfMemoryError) as caught:
        engine.run(IMAGE, ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M"], memory="16m")
    assert caught.value.usage is not None
    assert caught.value.usage.oom_kills == 1
    assert str(caught.value) == "cannot run dd: killed for want of memory"


def test_a_child_has_files_of_text_by_line(engine: skep.Engine) -> None:
    script = 'while read line; do echo "got $line"; done'
    pipes: dict[str, Any] = {"stdin": skep.PIPE, "stdout": skep.PIPE}
    with engine.spawn(IMAGE, ["sh", "-c", script], text=True, **pipes) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is None
        # A line is flushed by itself.
        child.stdin.write("one\n")
        assert child.stdout.readline() == "got one\n"
        child.stdin.write("two\nthree\n")
        child.stdin.close()
        assert list(child.stdout) == ["got two\n", "got three\n"]
        assert child.wait().success
        assert child.returncode == 0


def test_a_childs_files_are_of_bytes_by_default(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["echo", "a"], stdout=skep.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read() == b"a\n"


def test_leaving_the_block_ends_the_child(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["cat"], stdin=skep.PIPE) as child:
        assert child.stdin is not None
        assert child.poll() is None
        child.stdin.write(b"never flushed")
    assert child.status is not None
    assert child.returncode == -9
    assert child.stdin.closed
    assert repr(child) == f"<skep.Child {child.id[:12]} signal 9 (SIGKILL)>"
    # Nothing more to do is no error.
    child.kill()
    child.close()


def test_wait_with_a_timeout(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["sleep", "600"]) as child:
        with pytest.raises(skep.TimeoutError) as caught:
            child.wait(timeout=0.01)
        assert caught.value.status is None
        text = f"cannot wait for container {child.id}: it still runs after 0.01 s"
        assert str(caught.value) == text
        child.terminate()  # ignored: an init without a handler
        assert child.stop(grace=0).signal == 9


def test_any_number_of_threads_wait_for_a_child(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["cat"], stdin=skep.PIPE) as child:
        found: list[skep.ExitStatus] = []
        threads = [threading.Thread(target=lambda: found.append(child.wait())) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert child.stdin is not None
        child.stdin.close()
        for thread in threads:
            thread.join()
    assert [status.returncode for status in found] == [0] * 8


def test_a_wait_lets_other_threads_run(engine: skep.Engine) -> None:
    """With the GIL held, nobody would be left to end what is waited for."""
    with engine.spawn(IMAGE, ["cat"], stdin=skep.PIPE) as child:
        assert child.stdin is not None
        threading.Timer(0.01, child.stdin.close).start()
        assert child.wait().success


def test_closing_the_engine_ends_all_it_runs(store: Path, directory: Path) -> None:
    engine = skep.Engine(store)
    child = engine.spawn(IMAGE, ["sleep", "600"], stdin=skep.DEVNULL)
    ends: list[int] = []

    def run() -> None:
        command = ["sh", "-c", "echo ready >/out/fifo; exec sleep 600"]
        # Refused if the engine is closed before it knows of what it has started.
        with contextlib.suppress(skep.InvalidStateError):
            result = engine.run(IMAGE, command, mounts=[skep.Mount.bind(directory, "/out")])
            ends.append(result.returncode)

    os.mkfifo(directory / "fifo")
    running = threading.Thread(target=run)
    running.start()
    assert (directory / "fifo").read_text() == "ready\n"
    engine.close()
    running.join()
    assert ends in ([-9], [])
    assert child.wait().signal == 9
    assert engine.closed
    engine.close()
    for use in (
        lambda: engine.run(IMAGE),
        lambda: engine.spawn(IMAGE),
        engine.images.list,
        lambda: engine.images.find(IMAGE),
    ):
        with pytest.raises(skep.InvalidStateError) as caught:
            use()
        text = f"cannot use the engine of {store}: it has been closed; open another"
        assert str(caught.value) == text


def test_a_forgotten_child_is_warned_of_and_ended(engine: skep.Engine) -> None:
    child = engine.spawn(IMAGE, ["cat"], stdin=skep.PIPE, stdout=skep.PIPE)
    stdin, stdout = child.stdin, child.stdout
    assert stdin is not None
    assert stdout is not None
    expected = f"container {child.id[:12]} is still running"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del child
        gc.collect()
    assert expected in [str(warning.message) for warning in caught]
    with stdin, stdout:
        assert stdout.read() == b""


def test_a_child_that_has_ended_is_forgotten_silently(engine: skep.Engine) -> None:
    child = engine.spawn(IMAGE, ["true"])
    child.wait()
    del child
    gc.collect()


def test_fileno_is_readable_at_the_end(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["cat"], stdin=skep.PIPE) as child:
        assert child.stdin is not None
        assert select.select([child], [], [], 0) == ([], [], [])
        child.stdin.close()
        assert select.select([child], [], [])[0] == [child]
        assert child.wait().success


def test_images(engine: skep.Engine) -> None:
    image = engine.images.find(IMAGE)
    assert image.references == [IMAGE]
    assert image.id.startswith("sha256:")
    assert image.size > 1_000_000
    inspected = image.inspect()
    assert inspected["id"] == image.id
    assert inspected["digest"] == image.digest
    assert inspected["config"]["os"] == "linux"
    (summary,) = (each for each in engine.images.list() if each.id == image.id)
    assert summary == skep.ImageSummary(image.id, [IMAGE], image.size, None)
    assert repr(image) == f"<skep.Image {IMAGE}>"


def test_an_unchanged_engine_is_shown(store: Path) -> None:
    with skep.Engine(store) as engine:
        assert engine.store == str(store)
        assert repr(engine) == f"<skep.Engine {store}>"
    assert repr(engine) == f"<skep.Engine {store} closed>"


def test_docstrings_run(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setattr(skep, "Engine", partial(skep.Engine, store))
    monkeypatch.setattr(skep.aio, "Engine", partial(skep.aio.Engine, store))
    for module in (skep, skep.aio):
        assert doctest.testmod(module).failed == 0


def test_nothing_is_inherited_that_was_not_asked_for(engine: skep.Engine) -> None:
    result = engine.run(IMAGE, ["sh", "-c", "ls /proc/self/fd; readlink /proc/self/fd/0"])
    assert result.stdout == b"0\n1\n2\n3\n/dev/null\n"


def test_inherited_streams_are_this_programs_own(store: Path) -> None:
    program = f"""
import skep
with skep.Engine({str(store)!r}) as engine:
    with engine.spawn({IMAGE!r}, ["sh", "-c", "cat; echo err >&2"]) as child:
        assert child.wait().success
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"through", capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"through", b"err\n")


Refused = tuple[dict[str, Any], type[BaseException], str]
TIME = "it is no length of time; give seconds from 0, or no limit"
SIZE = "it is not a number of bytes below 2^63; write for example 512k, 256m or 1.5g"
STREAM = "it is neither PIPE, DEVNULL nor an open file"
NEVER_OPEN = 1_000_000
REFUSED: list[Refused] = [
    ({"memory": "much"}, skep.InvalidInputError, f'cannot read the size "much": {SIZE}'),
    ({"memory": -1}, skep.InvalidInputError, f'cannot read the size "-1": {SIZE}'),
    ({"memory": 2**63}, skep.InvalidInputError, f'cannot read the size "{2**63}": {SIZE}'),
    ({"memory": 1.5}, TypeError, "'float' object cannot be interpreted as an integer"),
    ({"memory": b"1m"}, TypeError, "'bytes' object cannot be interpreted as an integer"),
    (
        {"memory_swap": "64m"},
        skep.InvalidInputError,
        "cannot limit swap: memory is not limited; limit memory too",
    ),
    (
        {"cpus": float("nan")},
        skep.InvalidInputError,
        "cannot limit cpus to NaN: it must be a number from 0.01 to 8192",
    ),
    ({"cpus": "1"}, TypeError, "must be real number, not str"),
    (
        {"pids": -1},
        skep.InvalidInputError,
        "cannot limit processes to -1; give at least 1, or no limit",
    ),
    ({"pids": 0}, skep.InvalidInputError, "cannot limit processes to 0: the command is one itself"),
    ({"pids": 1.0}, TypeError, "'float' object cannot be interpreted as an integer"),
    ({"timeout": -1}, skep.InvalidInputError, f"cannot limit time to -1 s: {TIME}"),
    ({"timeout": float("nan")}, skep.InvalidInputError, f"cannot limit time to NaN s: {TIME}"),
    ({"timeout": float("inf")}, skep.InvalidInputError, f"cannot limit time to inf s: {TIME}"),
    ({"timeout": "1"}, TypeError, "must be real number, not str"),
    (
        {"rlimits": {"files": 1}},
        skep.InvalidInputError,
        'cannot limit resource "files": there is no limit of that name; give one of getrlimit(2), '
        "such as nofile or core",
    ),
    (
        {"rlimits": {"nofile": -2}},
        skep.InvalidInputError,
        "cannot limit nofile to -2; give at least 0, or -1 for no limit",
    ),
    ({"rlimits": {"nofile": "1"}}, TypeError, "'str' object cannot be interpreted as an integer"),
    ({"rlimits": [1]}, TypeError, "'list' object is not an instance of 'Mapping'"),
    ({"env": ["A=1"]}, TypeError, "'list' object is not an instance of 'Mapping'"),
    ({"env": {"A": 1}}, TypeError, "'int' object is not an instance of 'str'"),
    ({"user": 1000}, TypeError, "'int' object is not an instance of 'str'"),
    (
        {"user": "nobody-here"},
        skep.NotFoundError,
        "cannot become user nobody-here: the container's /etc/passwd",
    ),
    ({"working_dir": b"/"}, TypeError, "'bytes' object is not an instance of 'str'"),
    ({"hostname": 1}, TypeError, "'int' object is not an instance of 'str'"),
    ({"mounts": ["/etc"]}, TypeError, "'str' object is not an instance of 'Mount'"),
    (
        {"mounts": skep.Mount.tmpfs("/a")},
        TypeError,
        "'Mount' object is not an instance of 'Sequence'",
    ),
    ({"entrypoint": "sh"}, TypeError, "args and entrypoint are sequences of str, such as"),
    ({"args": "true"}, TypeError, "args and entrypoint are sequences of str, such as"),
    ({"args": [1]}, TypeError, "'int' object is not an instance of 'str'"),
    ({"args": ["a\0b"]}, skep.InvalidInputError, "cannot "),
    ({"args": ["\ud800"]}, UnicodeEncodeError, "'utf-8' codec can't encode"),
    ({"read_only": "no"}, TypeError, "'str' object is not an instance of 'bool'"),
    ({"image": 1}, TypeError, "expected a name, an Image or a Root, not int"),
    ({"image": "Upper/Case"}, skep.InvalidInputError, "cannot "),
    ({"image": "localhost/none:1"}, skep.NotFoundError, "cannot find image localhost/none:1"),
    ({"stdout": 1.5}, TypeError, "expected PIPE, DEVNULL, a file or its descriptor, not float"),
    ({"stdout": "x"}, TypeError, "expected PIPE, DEVNULL, a file or its descriptor, not str"),
    (
        {"stderr": subprocess.STDOUT},
        skep.InvalidInputError,
        f"cannot connect file descriptor -2: {STREAM}",
    ),
    (
        {"stdin": NEVER_OPEN},
        skep.InvalidInputError,
        f"cannot connect file descriptor {NEVER_OPEN}: it is not open",
    ),
    ({"stdin": io.BytesIO()}, io.UnsupportedOperation, "fileno"),
    (
        {"stdin": skep.DEVNULL, "input": b""},
        skep.InvalidInputError,
        "cannot connect stdin: it is given beside input; give one of them",
    ),
    ({"input": "text"}, TypeError, "memoryview: a bytes-like object is required"),
    ({"input": b"", "text": True}, TypeError, "in text mode, input must be str, not bytes"),
    ({"memroy": 1}, TypeError, "Command.__new__() got an unexpected keyword argument 'memroy'"),
]


@pytest.mark.parametrize(
    ("given", "kind", "text"), REFUSED, ids=[next(iter(given)) for given, _, _ in REFUSED]
)
def test_bad_input_is_refused(
    engine: skep.Engine, given: dict[str, Any], kind: type[BaseException], text: str
) -> None:
    arguments: dict[str, Any] = {"image": IMAGE, "args": ["true"], **given}
    run: Callable[..., Any] = engine.run
    with pytest.raises(kind) as caught:
        run(**arguments)
    assert str(caught.value).startswith(text)


def test_wrong_types_elsewhere(engine: skep.Engine) -> None:
    anything: Any = 1.5
    for call in (
        lambda: skep.Engine(anything),
        lambda: engine.images.load(anything),
        lambda: engine.images.find(anything),
        lambda: engine.images.import_("x", anything),
        lambda: skep.Mount.bind(anything, "/x"),
        lambda: skep.Mount.tmpfs("/x", size=anything),
        lambda: skep.Root.directory(anything),
    ):
        with pytest.raises(TypeError):
            call()


def test_wrong_values_of_a_childs_methods(engine: skep.Engine) -> None:
    with engine.spawn(IMAGE, ["sleep", "600"]) as child:
        for call, text in (
            (lambda: child.wait(-1), f"cannot limit time to -1 s: {TIME}"),
            (lambda: child.stop(-1), f"cannot limit time to -1 s: {TIME}"),
            (lambda: child.send_signal(0), "cannot send signal 0; give a number from 1 to 64"),
        ):
            with pytest.raises(ValueError, match="cannot") as caught:
                call()
            assert isinstance(caught.value, skep.InvalidInputError)
            assert str(caught.value) == text
        assert child.poll() is None


@pytest.mark.parametrize(
    ("name", "kind"), [("encoding", LookupError), ("errors", LookupError), ("encoding", TypeError)]
)
def test_a_codec_that_is_not_there_starts_nothing(
    engine: skep.Engine, directory: Path, name: str, kind: type[Exception]
) -> None:
    codec: Any = {name: 5 if kind is TypeError else "nope"}
    mounts = [skep.Mount.bind(directory, "/mnt")]
    engine.run(IMAGE, ["true"])
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    for start in (engine.run, engine.spawn):
        with pytest.raises(kind):
            start(
                IMAGE, ["touch", "/mnt/started"], mounts=mounts, stdout=skep.PIPE, stderr=skep.PIPE,
                **codec,
            )  # fmt: skip
    gc.collect()
    assert list(directory.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_half_a_character_does_not_hide_how_it_ended(engine: skep.Engine) -> None:
    """What is killed amid its output has often written half a character."""
    script = "printf 'caf\\303'; exec sleep 600"
    with pytest.raises(skep.TimeoutError) as timeout:
        engine.run(IMAGE, ["sh", "-c", script], encoding="utf-8", timeout=0.5)
    assert timeout.value.stdout == "caf�"
    with pytest.raises(skep.ExitError) as exit:
        engine.run(IMAGE, ["sh", "-c", "printf '\\303' >&2; exit 3"], encoding="utf-8", check=True)
    assert exit.value.stderr == "�"
    with pytest.raises(UnicodeDecodeError):
        engine.run(IMAGE, ["printf", "\\303"], encoding="utf-8")


def test_no_arguments(engine: skep.Engine) -> None:
    """None is an image's command, as for every other option."""
    nothing: Any = None
    assert engine.run(IMAGE, nothing, entrypoint=["echo", "x"]).stdout == b"x\n"
    with engine.spawn(IMAGE, nothing, entrypoint=["true"]) as child:
        assert child.args == []
        assert child.wait().success


def test_numbers_that_no_type_holds_are_refused_in_cores_words(
    engine: skep.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those with more digits than Python writes, too; and nothing is printed."""
    huge: Any = 10**5000
    run: Callable[..., Any] = engine.run
    options: list[Any] = [{"pids": huge}, {"memory": huge}, {"memory_swap": huge}]
    for option in [*options, {"rlimits": {"nofile": huge}}]:
        with pytest.raises(skep.InvalidInputError, match=r"^cannot .*a number of 16610 bits"):
            run(IMAGE, ["true"], **option)
    with pytest.raises(skep.InvalidInputError, match="cannot limit time to inf s"):
        engine.run(IMAGE, ["true"], timeout=huge)
    with pytest.raises(skep.InvalidInputError, match="cannot limit time to -inf s"):
        engine.run(IMAGE, ["true"], timeout=-huge)
    with pytest.raises(skep.InvalidInputError, match="cannot limit cpus to inf"):
        engine.run(IMAGE, ["true"], cpus=huge)
    with engine.spawn(IMAGE, ["sleep", "600"]) as child:
        with pytest.raises(skep.InvalidInputError, match="cannot send signal 1099511627776; give"):
            child.send_signal(2**40)
        with pytest.raises(skep.InvalidInputError):
            child.wait(huge)
    assert capfd.readouterr().err == ""


def test_a_running_container_has_no_copies(engine: skep.Engine) -> None:
    """The end of a copy would be the container's."""
    with engine.spawn(IMAGE, ["sleep", "600"]) as child:
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"cannot copy or pickle .*skep\.Child"):
                copied(child)
        gc.collect()
        assert child.poll() is None
