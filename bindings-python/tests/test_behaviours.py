"""The cases of tests/behaviours, once in threads and once in asyncio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import behaviours
import pytest
import skep
import skep.aio

CASES = list(behaviours.cases())
FORBID_SKIPS = "SKEP_FORBID_SKIPS" in os.environ


def need_registry(case: dict[str, Any]) -> None:
    """Skips, where that is allowed, what needs a registry that is not there."""
    if case["name"].startswith("registry/") and "SKEP_TEST_REGISTRY" not in os.environ:
        assert not FORBID_SKIPS, "SKEP_TEST_REGISTRY is not set"
        pytest.skip("SKEP_TEST_REGISTRY is not set: see tests/registry/run")


@pytest.fixture(scope="session")
def loop_face(store: Path) -> Iterator[behaviours.Face]:
    face = behaviours.Loop(skep.aio.Engine(store))
    yield face
    face.close()


def named(case: dict[str, Any]) -> str:
    name: str = case["name"]
    return name


@pytest.mark.parametrize("case", CASES, ids=named)
def test_threads(engine: skep.Engine, rootfs: Path, case: dict[str, Any]) -> None:
    need_registry(case)
    behaviours.carry_out(behaviours.Threads(engine), rootfs, case)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_asyncio(loop_face: behaviours.Face, rootfs: Path, case: dict[str, Any]) -> None:
    need_registry(case)
    behaviours.carry_out(loop_face, rootfs, case)


def test_there_are_cases() -> None:
    assert len(CASES) >= 90
