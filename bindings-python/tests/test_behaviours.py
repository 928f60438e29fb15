"""The cases of tests/behaviours, once in threads and once in asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import behaviours
import pytest
import skep
import skep.aio

CASES = list(behaviours.cases())


@pytest.fixture(scope="session")
def loop_face(store: Path) -> Iterator[behaviours.Face]:
    engine = skep.aio.Engine(store)
    face = behaviours.Loop(engine)
    yield face
    face.close()
    asyncio.run(engine.close())


def named(case: dict[str, Any]) -> str:
    name: str = case["name"]
    return name


@pytest.mark.parametrize("case", CASES, ids=named)
def test_threads(engine: skep.Engine, rootfs: Path, case: dict[str, Any]) -> None:
    behaviours.carry_out(behaviours.Threads(engine), rootfs, case)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_asyncio(loop_face: behaviours.Face, rootfs: Path, case: dict[str, Any]) -> None:
    behaviours.carry_out(loop_face, rootfs, case)


def test_there_are_cases() -> None:
    assert len(CASES) >= 60
