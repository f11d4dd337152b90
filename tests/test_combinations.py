"""The choice among combinations leaves no value of any parameter out."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.combinations import chosen

ROOT = Path(__file__).parent.parent
PLACES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40, unique=True
)


@given(PLACES, st.integers(1, 3))
def test_every_value_stands_as_often_as_asked_or_as_there_is(places: list[tuple[int, ...]], times: int) -> None:
    found = chosen(places, times)
    there = Counter((axis, value) for place in places for axis, value in enumerate(place))
    kept = Counter((axis, value) for position in found for axis, value in enumerate(places[position]))
    assert found == sorted(set(found))
    assert all(kept[key] >= min(times, count) for key, count in there.items())


@pytest.mark.parametrize(("sizes", "count"), [((25, 3), 25), ((4, 3, 2), 4), ((8, 8), 8)], ids=str)
def test_a_whole_grid_needs_as_many_as_its_longest_axis(sizes: tuple[int, ...], count: int) -> None:
    grid = list(product(*map(range, sizes)))
    found = [grid[position] for position in chosen(grid, 1)]
    assert len(found) == count
    for axis, size in enumerate(sizes):
        often = Counter(place[axis] for place in found)
        assert len(often) == size
        assert max(often.values()) - min(often.values()) <= 1


FILE = """
import pytest

@pytest.mark.frameworks
@pytest.mark.parametrize("mode", ["graph", "pynative"])
@pytest.mark.parametrize(("case", "number"), [(str(i), i) for i in range(7)])
def test_of_a_framework(case, number, mode):
    pass

@pytest.mark.frameworks
@pytest.mark.parametrize("mode", ["graph"])
@pytest.mark.parametrize("case", range(3))
def test_of_few(case, mode):
    pass

@pytest.mark.parametrize("mode", ["graph", "pynative"])
@pytest.mark.parametrize("case", range(9))
def test_without_a_framework(case, mode):
    pass
"""


@pytest.mark.parametrize(
    ("options", "passed", "left_out"),
    [((), 7 + 3 + 18, 7), (("--every-combination",), 14 + 3 + 18, 0), (("-k", "of_a_framework"), 14, 21)],
    ids=["chosen", "all", "named"],
)
def test_pytest_runs_the_choice_unless_all_are_asked_for(
    options: tuple[str, ...], passed: int, left_out: int, tmp_path: Path
) -> None:
    (tmp_path / "test_it.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_addoption, pytest_collection_modifyitems\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    frameworks: x\n    slow: x\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{passed} passed" in result.stdout
    assert (f"{left_out} deselected" in result.stdout) == bool(left_out)
