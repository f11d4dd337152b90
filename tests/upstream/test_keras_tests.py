"""Every test of Keras that passes with its own classes passes with ours under their names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.upstream.suites import Suite, keras, lost, run

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("keras") is None or find_spec("tensorflow") is None, reason="Keras or TensorFlow is not installed"
    ),
]

# Files that use optimizers; `scripts/upstream.py` runs the others too. Two tests of saving take half a minute with
# models that nobody compiles.
FILES = ("optimizers", "saving/saving_lib_test.py", "saving/file_editor_test.py")
WITHOUT = ("-k", "not efficientnet")
DIRECTLY = tuple(
    f"optimizers/{name}_test.py" for name in ("adam", "adamw", "optimizer", "optimizer_sparse", "multi_optimizer")
)


def test_the_same_tests_pass() -> None:
    suite = keras(*FILES, arguments=WITHOUT)
    if not suite.files:
        pytest.skip("this version of Keras does not ship its tests")
    runs = [run(suite, "installed"), run(keras(*DIRECTLY), "direct")]
    rest = {name for ours in runs for name in ours.outcomes.keys() - ours.passed}
    stock = run(suite, "stock", rest) if rest else None
    for ours in runs:
        assert stock is None or not lost(ours, stock)
        assert ours.made > 10
        assert ours.stepped
        assert len(ours.passed) > 0.5 * len(ours.outcomes)


SOME = """
import pytest
import keras

def stock():
    return keras.optimizers.Adam().__init__.__module__.partition(".")[0] == "keras"

def test_passes():
    assert keras.optimizers.Adam

def test_lost():
    assert stock()

def test_lost_by_a_skip():
    if not stock():
        pytest.skip()

@pytest.fixture
def stock_alone():
    assert stock()

def test_lost_in_a_fixture(stock_alone):
    pass

def test_gained():
    assert not stock()

def test_fails():
    assert False, "always"
"""
BROKEN = """
import keras
assert keras.optimizers.Adam.__init__.__module__.partition(".")[0] == "keras"
def test_lost_with_its_file(): pass
"""
CRASHES = "import os\ndef test_first(): pass\ndef test_ends(): os._exit(3)\n"


def test_what_is_lost_is_found(tmp_path: Path) -> None:
    for name, text in {"some_test.py": SOME, "broken_test.py": BROKEN}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    suite = Suite(("tensorflow", "keras"), tmp_path, ("some_test.py", "broken_test.py"))
    ours = run(suite, "installed")
    rest = ours.outcomes.keys() - ours.passed
    found = lost(ours, run(suite, "stock", rest))
    names = ("lost", "lost_by_a_skip", "lost_in_a_fixture")
    assert set(found) == {"broken_test.py::test_lost_with_its_file", *(f"some_test.py::test_{name}" for name in names)}
    assert ours.passed == {"some_test.py::test_passes", "some_test.py::test_gained"}
    assert "always" in ours.messages["some_test.py::test_fails"]
    assert ours.made == 4
    assert not ours.stepped


def test_an_end_of_the_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "crash_test.py").write_text(CRASHES, encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"pytest ended with 3, crash_test\.py::test_ends"):
        run(Suite((), tmp_path, ("crash_test.py",)), "stock")
