"""The exceptions: their classes, what they carry, and that they travel."""

from __future__ import annotations

import builtins
import copy
import multiprocessing
import pickle
from pathlib import Path

import pytest
import skep
from conftest import IMAGE, REPOSITORY
from skep._errors import from_core


def kinds_of_core() -> list[str]:
    """The names of core's kinds, from its source."""
    source = (REPOSITORY / "core/src/error.rs").read_text()
    body = source.split("pub enum ErrorKind {")[1].split("\n}")[0]
    return [line.strip().rstrip(",") for line in body.splitlines() if line.strip()[:1].isalpha()]


def test_each_kind_of_core_has_a_class() -> None:
    kinds = kinds_of_core()
    assert len(kinds) >= 14
    for kind in kinds:
        error = from_core(kind, "cannot do it", "do", "it", 2)
        assert type(error) is not skep.Error
        assert (error.kind, error.operation, error.subject, error.errno) == (kind, "do", "it", 2)
        assert str(error) == "cannot do it"
        assert type(error).__name__ in skep.__all__


@pytest.mark.parametrize(
    ("ours", "pythons"),
    [
        (skep.NotFoundError, FileNotFoundError),
        (skep.AlreadyExistsError, FileExistsError),
        (skep.PermissionDeniedError, PermissionError),
        (skep.InvalidInputError, ValueError),
        (skep.TimeoutError, builtins.TimeoutError),
        (skep.IoError, OSError),
    ],
)
def test_some_are_pythons_too(ours: type[skep.Error], pythons: type[Exception]) -> None:
    assert issubclass(ours, pythons)
    assert issubclass(ours, skep.Error)


def test_a_missing_command_is_an_error_with_an_errno(engine: skep.Engine) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        engine.run(IMAGE, ["no-such-command"])
    assert isinstance(caught.value, skep.NotFoundError)
    assert caught.value.errno == 2
    assert caught.value.subject == "no-such-command"


def test_errors_and_results_can_be_pickled_and_copied(engine: skep.Engine) -> None:
    with pytest.raises(skep.TimeoutError) as caught:
        engine.run(IMAGE, ["sh", "-c", "echo out; sleep 600"], timeout=0.2)
    error = caught.value
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is skep.TimeoutError
        assert str(other) == str(error)
        assert (other.operation, other.subject, other.errno) == ("run", "sh", None)
        assert (other.status, other.stdout, other.stderr) == (error.status, b"out\n", b"")
    not_found = skep.NotFoundError("cannot find it", "find", "it", 2)
    assert pickle.loads(pickle.dumps(not_found)).errno == 2
    result = engine.run(IMAGE, ["echo"])
    assert pickle.loads(pickle.dumps(result)) == result


def fails(store: str) -> int:
    """Runs in another process."""
    with skep.Engine(store) as engine:
        return engine.run(IMAGE, ["sh", "-c", "echo out; exit 3"], check=True).returncode


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_errors_come_through_multiprocessing(store: Path, method: str) -> None:
    pool = multiprocessing.get_context(method).Pool(1)
    with pool, pytest.raises(skep.ExitError) as caught:
        pool.apply(fails, [str(store)])
    assert (caught.value.returncode, caught.value.stdout) == (3, b"out\n")
