"""What Numba compiles is kept for later processes, for each version and processor, whatever else runs at the time."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")
from adamcompat.caches import user_folder
from adamcompat.executors.headers import FIELDS
from adamcompat.executors.stored import VERSIONS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
# For each dtype a step on NumPy; then whether the code was loaded or compiled, and the weights.
PROGRAM = """
import hashlib, sys
import numpy as np
from adamcompat import TFStyleAdam
found = hashlib.sha256()
for dtype in sys.argv[1:]:
    weights = np.linspace(-1, 1, 1003).astype(dtype)
    TFStyleAdam().apply_gradients([(np.cos(np.arange(1003)).astype(dtype), weights)])
    found.update(weights.tobytes())
import adamcompat.executors.fused as fused
stats = fused._update.stats
loaded, compiled = (sum(count.values()) for count in (stats.cache_hits, stats.cache_misses))
print(loaded, compiled, "numba.np.arraymath" in sys.modules, found.hexdigest())
"""


def start(home: Path, *dtypes: str, root: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    """Start a process whose user has their caches below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    own = {name: str(home) for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *dtypes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
        env=kept | own | {"PYTHONPATH": str(root), "ADAMCOMPAT_EXECUTOR": "numba"} | environment,
    )  # fmt: skip


def result(process: subprocess.Popen[str]) -> tuple[tuple[int, int], bool, str]:
    """How many functions were loaded and compiled, whether all of Numba was imported, and a hash of the weights."""
    out, said = process.communicate()
    assert (process.returncode, said) == (0, "")
    loaded, compiled, imported, weights = out.split()
    return (int(loaded), int(compiled)), imported == "True", weights


def files(folder: Path) -> list[Path]:
    """The files below a folder, but for the one function that is the same for all dtypes."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("take-"))


def code_beside_the_package() -> list[Path]:
    return [path for path in files(ROOT / "adamcompat") if path.suffix in (".nbi", ".nbc", ".bin")]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The caches of a user after a first step in float32, and the weights after it."""
    home = tmp_path_factory.mktemp("first")
    beside = code_beside_the_package()
    counts, _, weights = result(start(home, "float32"))
    assert counts == (0, 1)
    assert code_beside_the_package() == beside
    return home, weights


@pytest.fixture
def home(first: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(first[0], tmp_path / "home"))


def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "adamcompat", tmp_path / "adamcompat", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_later_process_compiles_nothing_and_imports_nothing_to_compile(first: tuple[Path, str], home: Path) -> None:
    kept = files(home)
    assert len(kept) == 1
    assert result(start(home, "float32")) == ((1, 0), False, first[1])
    assert files(home) == kept


def test_what_is_compiled_after_something_was_loaded_is_as_if_nothing_had_been(home: Path, tmp_path: Path) -> None:
    counts, _, weights = result(start(home, "float32", "float64"))
    assert counts == (1, 1)
    assert len(files(home)) == 2
    assert result(start(tmp_path / "empty", "float32", "float64"))[::2] == ((0, 2), weights)
    assert result(start(home, "float32", "float64")) == ((2, 0), False, weights)


def test_processes_may_start_at_once_without_a_cache(first: tuple[Path, str], tmp_path: Path) -> None:
    dtypes = ("float32", "float64", "float32", "float64")
    found = [result(process)[2] for process in [start(tmp_path, dtype) for dtype in dtypes]]
    assert found[0] == found[2] == first[1]
    assert found[1] == found[3]
    assert [path.suffix for path in files(tmp_path)] == [".bin", ".bin"]
    assert [result(start(tmp_path, dtype)) for dtype in dtypes[:2]] == [((1, 0), False, text) for text in found[:2]]


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "another's"])
def test_a_damaged_file_is_replaced(damage: str, first: tuple[Path, str], home: Path) -> None:
    (path,) = files(home)
    content = path.read_bytes()
    if damage == "another's":
        result(start(home, "float64"))
        (other,) = {*files(home)} - {path}
        shutil.copy(other, path)
    else:
        # What unpickles to the same object is damaged, too.
        path.write_bytes({"cut": content[: len(content) // 2], "longer": content + b"\0", "empty": b""}[damage])
    counts, _, weights = result(start(home, "float32"))
    assert (counts, weights) == ((0, 1), first[1])
    assert result(start(home, "float32")) == ((1, 0), False, first[1])


def test_a_processor_has_code_of_its_own(first: tuple[Path, str], home: Path) -> None:
    kept = files(home)
    counts, _, weights = result(start(home, "float32", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=""))
    assert (counts, weights) == ((0, 1), first[1])
    assert len(files(home)) == len(kept) + 1
    assert result(start(home, "float32", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=""))[0] == (1, 0)
    assert result(start(home, "float32"))[0] == (1, 0)


@pytest.mark.parametrize("module", ["executors/sweeps", "executors/launch"])
def test_a_change_of_any_source_that_is_compiled_in_is_another_version(module: str, home: Path, tmp_path: Path) -> None:
    root = copied(tmp_path)
    source = root / "adamcompat" / f"{module}.py"
    source.write_text(source.read_text(encoding="utf-8") + "# Changed.\n", encoding="utf-8")
    assert result(start(home, "float32", root=root))[0] == (0, 1)


def test_changed_sources_have_code_of_their_own_and_old_code_is_forgotten(home: Path, tmp_path: Path) -> None:
    root = copied(tmp_path)
    kernel = root / "adamcompat" / "kernel.py"
    kernel.write_text(kernel.read_text(encoding="utf-8") + "# Changed.\n", encoding="utf-8")
    (known,) = {path.parent for path in files(home)}
    for age in range(VERSIONS):
        older = known.with_name(f"numba-{age}")
        older.mkdir()
        os.utime(older, (10**9 - age, 10**9 - age))
    assert result(start(home, "float32", root=root))[0] == (0, 1)
    left = {path.name for path in known.parent.iterdir()}
    assert len(left) == VERSIONS
    assert {known.name, "numba-0"} < left
    assert not {f"numba-{VERSIONS - 1}", f"numba-{VERSIONS - 2}"} & left
    assert result(start(home, "float32", root=root))[0] == result(start(home, "float32"))[0] == (1, 0)


@pytest.mark.parametrize("setting", ["NUMBA_LOOP_VECTORIZE", "NUMBA_BOUNDSCHECK", "NUMBA_OPT"])
def test_settings_of_numba_have_code_of_their_own(setting: str, first: tuple[Path, str], tmp_path: Path) -> None:
    """Slow code is not left to whoever asks for nothing."""
    value = "0" if setting == "NUMBA_LOOP_VECTORIZE" else "1"
    for expected in ((0, 1), (1, 0)):
        found = result(start(tmp_path, "float32", root=ROOT, **{setting: value}))
        assert found[::2] == (expected, first[1])
    assert result(start(tmp_path, "float32"))[::2] == ((0, 1), first[1])


def test_where_the_user_may_not_write_code_lies_beside_the_package_or_nowhere(
    first: tuple[Path, str], tmp_path: Path
) -> None:
    root = copied(tmp_path)
    beside = root / "adamcompat" / "executors" / "__pycache__"
    closed = tmp_path / "file"
    closed.touch()
    assert result(start(closed, "float32", root=root))[::2] == ((0, 1), first[1])
    assert [path.suffix for path in files(beside) if path.suffix != ".pyc"] == [".bin"]
    assert result(start(closed, "float32", root=root)) == ((1, 0), False, first[1])
    shutil.rmtree(beside)
    beside.touch()
    for _ in range(2):
        assert result(start(closed, "float32", root=root))[::2] == ((0, 1), first[1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a FIFO")
def test_what_is_no_file_is_not_read(first: tuple[Path, str], home: Path, tmp_path: Path) -> None:
    root = copied(tmp_path)
    (path,) = files(home)
    path.unlink()
    os.mkfifo(path)
    process = start(home, "float32", root=root)
    try:
        process.wait(60)
    finally:
        process.kill()
    assert result(process)[::2] == ((0, 1), first[1])


class StopError(TimeoutError):
    """Stand for an exception from the handler of an alarm, or from another thread."""


def test_an_exception_that_comes_while_code_is_loaded_is_raised() -> None:
    from adamcompat.executors import fused, stored

    dispatcher: Any = fused.same_headers
    none = np.zeros(0, np.int64)
    assert dispatcher(none, none.reshape(0, FIELDS), none)
    types = dispatcher.signatures[0]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and next(lines) == chosen:
            raise StopError
        return trace if frame.f_code.co_filename == stored.__file__ else None

    before, chosen = sys.gettrace(), 0
    while True:
        lines = itertools.count()
        try:
            sys.settrace(trace)
            found = dispatcher._cache.load_overload(types, dispatcher.targetctx)
            break
        except StopError:
            chosen += 1
        finally:
            sys.settrace(before)
    # One was raised at each line of a first try, and none was lost.
    assert chosen == next(lines) > 10
    assert found is not None


def test_a_home_below_the_working_directory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, "home")
    for system in (sys.platform, "linux", "darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        assert user_folder() is None


def test_where_numba_may_not_compile_numpy_makes_the_steps(home: Path) -> None:
    program = "import adamcompat.executors as executors; print(executors.compiled())"
    said = []
    for asked in ("", "numba"):
        own = {"NUMBA_DISABLE_JIT": "1", "ADAMCOMPAT_EXECUTOR": asked, "HOME": str(home)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | own
        )
        said.append((done.returncode, done.stdout.strip(), done.stderr.strip().rpartition("\n")[2]))
    assert said[0] == (0, "None", "")
    assert said[1][::2] == (
        1,
        "ValueError: ADAMCOMPAT_EXECUTOR is numba, but NUMBA_DISABLE_JIT keeps Numba from compiling; unset one of them",
    )


def test_the_folder_that_numba_is_told_comes_first(first: tuple[Path, str], home: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert result(start(home, "float64", NUMBA_CACHE_DIR=str(own)))[0] == (0, 1)
    assert len(files(own)) == len(files(home)) == 1
    assert result(start(home, "float32", NUMBA_CACHE_DIR=str(own))) == ((1, 0), False, first[1])
