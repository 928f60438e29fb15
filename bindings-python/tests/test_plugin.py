"""The pytest plugin."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import IMAGE, REPOSITORY

TESTS = f"""
import pytest, skep, sys
IMAGE = {IMAGE!r}

def test_engine(skep_engine):
    assert skep_engine.run(IMAGE, ["echo", "x"], text=True).stdout == "x\\n"

children = []

@pytest.mark.parametrize("number", range(6))
def test_spawn(skep_spawn, number):
    child = skep_spawn(IMAGE, ["cat"], stdin=skep.PIPE, stdout=skep.PIPE, text=True)
    child.stdin.write(f"{{number}}\\n")
    assert child.stdout.readline() == f"{{number}}\\n"
    # The one of the test before, if that was in this process, has ended with it.
    assert all(before.status.signal == 9 for before in children)
    children.append(child)
"""


def test_fixtures(pytester: pytest.Pytester, store: Path) -> None:
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess("--skep-store", store).assert_outcomes(passed=7)


def test_the_store_may_be_in_the_configuration(pytester: pytest.Pytester, store: Path) -> None:
    pytester.makeini(f"[pytest]\nskep_store = {store}\n")
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess().assert_outcomes(passed=7)


def test_workers_of_xdist_share_a_store(pytester: pytest.Pytester, store: Path) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("--skep-store", store, "-n", "2")
    result.assert_outcomes(passed=7)


def test_a_failing_test_ends_its_containers(pytester: pytest.Pytester, store: Path) -> None:
    pytester.makepyfile(f"""
        import skep
        children = []

        def test_fails(skep_spawn):
            children.append(skep_spawn({IMAGE!r}, ["sleep", "600"]))
            assert False

        def test_after():
            assert children[0].status.signal == 9
    """)
    result = pytester.runpytest_subprocess("--skep-store", store)
    result.assert_outcomes(passed=1, failed=1)


def test_nothing_native_is_loaded_before_it_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_nothing():
            assert not [name for name in sys.modules if name.split(".")[0] == "skep"]

        def test_found(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("skep")
    """)
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


def test_what_the_documentation_shows(pytester: pytest.Pytester, store: Path) -> None:
    page = (REPOSITORY / "docs/python.md").read_text()
    section = page.split("\n## pytest\n")[1]
    pytester.makepyfile(section.split("```python\n")[1].split("```")[0])
    pytester.runpytest_subprocess("--skep-store", store).assert_outcomes(passed=2)


def test_fixtures_are_explained(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures", "-v")
    result.stdout.fnmatch_lines(["skep_engine*", "skep_spawn*"])
