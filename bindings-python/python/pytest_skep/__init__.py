"""pytest's fixtures for containers: `skep_engine` and `skep_spawn`.

A package of its own, so that pytest can have the plugin without loading the native module: that
happens in the first test that uses a fixture.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import skep
    from skep._options import Source, StartOptions
    from typing_extensions import Unpack


class Spawn(Protocol):
    """The type of `skep_spawn`: `skep.Engine.spawn`."""

    def __call__(
        self,
        image: Source,
        args: Sequence[str] | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        keep_files: bool = False,
        **options: Unpack[StartOptions],
    ) -> skep.Child[Any]:
        """Starts a container that ends with the test."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option for the store, and its place in the configuration file."""
    help = "the directory of skep's store; /var/lib/skep without"
    parser.getgroup("skep").addoption("--skep-store", metavar="DIR", help=help)
    parser.addini("skep_store", help)


@pytest.fixture(scope="session")
def skep_engine(pytestconfig: pytest.Config) -> Iterator[skep.Engine]:
    """An open engine for the whole session, on the store of `--skep-store` or the ini `skep_store`.

    Under pytest-xdist every worker has an engine of its own, and all share the store.
    """
    import skep

    store = pytestconfig.getoption("--skep-store") or pytestconfig.getini("skep_store")
    with skep.Engine(store or None) as engine:
        yield engine


@pytest.fixture
def skep_spawn(skep_engine: skep.Engine) -> Iterator[Spawn]:
    """`skep_engine.spawn`, whose containers end with the test."""
    with ExitStack() as children:

        def spawn(*args: Any, **options: Any) -> Any:
            start: Any = skep_engine.spawn
            return children.enter_context(start(*args, **options))

        yield spawn
