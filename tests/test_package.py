"""What is built from the checkout works without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adamcompat import __version__

pytest.importorskip("hatchling", reason="needs hatchling: pip install 'adamcompat[dev]'")

ROOT = Path(__file__).parent.parent
PROGRAM = """
import numpy as np, adamcompat
from adamcompat import TFStyleAdam
weight = np.ones(3, np.float32)
TFStyleAdam(learning_rate=0.1).apply_gradients([(np.ones(3, np.float32), weight)])
print(adamcompat.__file__, np.allclose(weight, 0.9))
"""


def python(*arguments: str | Path, path: Path | None = None, folder: Path) -> str:
    """Run Python outside the checkout; what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel, and in it one with the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    python("-m", "hatchling", "build", "-d", folder, folder=ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        # The first patch releases of Python 3.10 and 3.11 know no filters.
        filters: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder / "source", **filters)
    source = next((folder / "source").iterdir())
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder / "again", folder=source)
    return folder


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    found = names(next(built.glob("*.whl")))
    package = {name for name in found if ".dist-info/" not in name}
    files = {path for path in (ROOT / "adamcompat").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert package == {
        path.relative_to(ROOT).as_posix() for path in files if path.suffix == ".py" or path.name == "py.typed"
    }
    assert {"adamcompat/py.typed", "adamcompat/mapping/tables.py"} <= package
    assert any(name.endswith("LICENSE") for name in found - package)


def test_the_sdist_holds_what_the_tests_and_the_wheel_need(built: Path) -> None:
    source = next((built / "source").iterdir())
    for name in ("mapping.yaml", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "conftest.py"):
        assert (source / name).read_bytes() == (ROOT / name).read_bytes()
    for name in (
        "tests/data/tf26_shared.npz",
        "scripts/test",
        "scripts/demo",
        "scripts/test-matrix",
        "docs/mapping.md",
        ".github/actions/migrate/action.yml",
        ".pre-commit-hooks.yaml",
    ):
        assert (source / name).exists()
    assert names(next((built / "again").glob("*.whl"))) == names(next(built.glob("*.whl")))


@pytest.mark.slow
def test_the_installed_wheel_works(built: Path, tmp_path: Path) -> None:
    wheel = next((built / "again").glob("*.whl"))
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, folder=elsewhere)
    where, _, right = python("-c", PROGRAM, path=target, folder=elsewhere).partition(" ")
    assert (Path(where), right) == (target / "adamcompat" / "__init__.py", "True\n")
    assert "use_amsgrad" in python(
        "-m", "adamcompat", "table", "--from", "tf26", "--to", "mindspore", path=target, folder=elsewhere
    )
    assert python("-m", "adamcompat", "demo", path=target, folder=elsewhere).startswith("Same bits? Yes: both calls ")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
def test_a_release_is_built_and_checked(tmp_path: Path) -> None:
    if find_spec("twine") is None or not (ROOT / ".venv/bin/python").exists():
        pytest.skip("needs twine, in .venv: scripts/test installs it")
    other = tmp_path / "release" / "adamcompat-notes.txt"
    other.parent.mkdir()
    other.write_text("mine", encoding="utf-8")
    (other.parent / "adamcompat-0.0.1.tar.gz").touch()
    result = subprocess.run(
        [ROOT / "scripts/release", "release"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert sorted(path.name for path in other.parent.iterdir()) == [
        f"adamcompat-{__version__}-py3-none-any.whl",
        f"adamcompat-{__version__}.tar.gz",
        "adamcompat-notes.txt",
    ]
    assert result.stdout.count("PASSED") == 2
    assert result.stdout.count("Nothing that is installed is known to fail.") == 2


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(("given", "site"), [("site", "away/site"), ("/tmp/site", "/tmp/site"), (None, "build/site")])
def test_the_site_is_built_in_the_folder_that_is_named(given: str | None, site: str, tmp_path: Path) -> None:
    away, checkout = tmp_path / "away", tmp_path / "checkout"
    away.mkdir()
    (checkout / "scripts").mkdir(parents=True)
    (checkout / ".venv/bin").mkdir(parents=True)
    script = shutil.copy(ROOT / "scripts/docs", checkout / "scripts")
    for name in ("python", "sphinx-build"):
        tool = checkout / ".venv/bin" / name
        tool.write_text("#!/bin/sh\n", encoding="utf-8")
        tool.chmod(0o755)
    done = subprocess.run([script, *([given] if given else [])], cwd=away, capture_output=True, text=True, check=True)
    expected = f"{tmp_path / site}/index.html" if given else f"{site}/index.html"
    assert done.stdout == f"{expected}\n"
