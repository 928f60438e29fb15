"""Fixtures: an engine on a temporary store with the behaviours' image."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import skep

REPOSITORY = Path(__file__).parents[2]
IMAGE = "localhost/skep-behaviours:1"


def temporary(prefix: str) -> Iterator[Path]:
    """A directory that is removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture(scope="session")
def rootfs() -> Iterator[Path]:
    """The tar of a root file system with a busybox in it."""
    given = os.environ.get("SKEP_TEST_ROOTFS")
    if given:
        yield Path(given)
        return
    for directory in temporary("skep-rootfs-"):
        tar = directory / "root.tar"
        subprocess.run([REPOSITORY / "tests/behaviours/rootfs.sh", tar], check=True)
        yield tar


@pytest.fixture(scope="session")
def store(rootfs: Path) -> Iterator[Path]:
    """A store with the image `IMAGE`."""
    for directory in temporary("skep-store-"):
        with skep.Engine(directory) as engine:
            engine.images.import_(rootfs, IMAGE)
        yield directory


@pytest.fixture(scope="session")
def engine(store: Path) -> Iterator[skep.Engine]:
    with skep.Engine(store) as engine:
        yield engine


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory."""
    yield from temporary("skep-test-")
