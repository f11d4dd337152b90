"""scripts/test-matrix: what it installs, which Pythons it finds, and the page that it writes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "test-matrix"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    loader = SourceFileLoader("test_matrix_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # A compiled script would lie beside it.
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_oldest_versions_are_those_of_pyproject(matrix: ModuleType) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for bound in ("tensorflow>=2.16", "keras>=3.3", "mindspore>=2.7.1", "numba>=0.61", "numpy>=1.26"):
        assert f'"{bound}"' in pyproject
        assert f"{bound.replace('>=', '==')}.*" in matrix.OLDEST
    assert matrix.lower_bounds('a = ["x-y>=1.2.3", "z", "n<2"]\nrequires-python = ">=3.10"') == ("x-y==1.2.3.*",)


def test_every_supported_python_is_there(matrix: ModuleType) -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for version in {environment.python for environment in matrix.ENVIRONMENTS.values()}:
        assert f'"Programming Language :: Python :: {version}"' in pyproject
    assert {name.partition("-")[0] for name in matrix.ENVIRONMENTS} == {"3.10", "3.11", "3.12", "3.13"}
    assert all(name.startswith(environment.python) for name, environment in matrix.ENVIRONMENTS.items())


def test_pythons_are_found_on_the_path_or_named(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(tmp_path / "python3.10", "echo 3.10")
    program(tmp_path / "python3.11", "echo not installed >&2; exit 127")
    named = program(tmp_path / "mine", "echo 3.12")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert matrix.pythons([], ["3.10", "3.11", "3.12"]) == {"3.10": str(tmp_path / "python3.10")}
    assert matrix.pythons([named], ["3.12"]) == {"3.12": named}
    with pytest.raises(SystemExit, match="no program that runs Python"):
        matrix.pythons([str(tmp_path / "python3.11")], [])
    with pytest.raises(SystemExit, match="no program that runs Python"):
        matrix.pythons([str(tmp_path / "absent")], [])


def test_the_page_keeps_what_was_not_measured_again(matrix: ModuleType) -> None:
    first, second = list(matrix.ENVIRONMENTS)[:2]
    cells = [str(number) for number in range(len(matrix.TITLES) - 1)]
    empty = f"before\n{matrix.START}{matrix.END}after\n"
    page = matrix.page(empty, {second: cells})
    page = matrix.page(page, {first: cells[::-1], second: cells})
    page = matrix.page(page.replace(second, "gone"), {})
    lines = page.splitlines()
    assert lines[0] == "before" and lines[-1] == "after"
    assert [line.count("|") for line in lines if "|" in line] == [len(matrix.TITLES) + 1] * 3
    assert f"| {first} | {' | '.join(cells[::-1])} |" in lines
    assert "gone" not in page


def test_the_committed_page_has_rows_for_environments_that_exist(matrix: ModuleType) -> None:
    text = matrix.PAGE.read_text(encoding="utf-8")
    assert matrix.page(text, {}) == text


def test_errors_of_collection_count_as_failures(matrix: ModuleType) -> None:
    report = '<testsuites><testsuite tests="9" errors="1" failures="2" skipped="3"/></testsuites>'
    assert matrix.outcomes(report) == {"passed": 3, "skipped": 3, "failed": 3}


def test_an_absent_python_is_named_and_no_failure(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "environments", "--only", "3.10-light"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "3.10-light: Python 3.10 was not found; name it with --python\n"
    assert not (tmp_path / "environments").exists()
