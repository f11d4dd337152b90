"""Run a suite of a framework's own tests, with its own classes or with ours under their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "adamcompat_swap"


class Suite(NamedTuple):
    """Tests of a framework.

    Args:
        modules: what is imported before names are replaced.
        root: the folder that the tests are named from.
        files: files and folders in it.
        arguments: of pytest.
        environment: variables that are set beside those of this process.
    """

    modules: tuple[str, ...]
    root: Path
    files: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = MappingProxyType({})


class Results(NamedTuple):
    """What became of a suite.

    Args:
        outcomes: by test, "passed", "failed", "skipped" or "crashed".
        messages: by test why it did not pass.
        made: how many of our optimizers were made.
        stepped: whether one was asked for a step.
    """

    outcomes: dict[str, str]
    messages: dict[str, str]
    made: int
    stepped: bool

    @property
    def passed(self) -> frozenset[str]:
        return frozenset(name for name, outcome in self.outcomes.items() if outcome == "passed")


def keras(*files: str, arguments: tuple[str, ...] = ()) -> Suite:
    """Return tests that ship in Keras's wheel.

    Args:
        files: files and folders of Keras's sources; those that this version lacks are left out.
        arguments: of pytest.
    """
    spec = find_spec("keras")
    assert spec is not None and spec.origin is not None, "Keras is not installed"
    home = Path(spec.origin).parent.parent
    found = [f"keras/src/{name}" for name in files]
    there = tuple(name for name in found if any_tests(home / name))
    return Suite(("tensorflow", "keras"), home, there, arguments)


def any_tests(path: Path) -> bool:
    """Whether a file is there, or a folder with tests."""
    return path.is_file() or any(path.glob("**/*_test.py"))


def run(suite: Suite, swap: str, only: Collection[str] = ()) -> Results:
    """Run tests in a process of their own, in an empty folder.

    Args:
        suite: the tests.
        swap: one of `tests.upstream.adamcompat_swap.SWAPS`.
        only: the tests or files to run; none: all.

    Raises:
        RuntimeError: the process ended before the tests did, or there is no test.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.jsonl")
        wanted = {"swap": swap, "modules": suite.modules, "only": sorted(only), "report": str(report)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        paths = [str(Path(__file__).parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **inherited,
            "ADAMCOMPAT_UPSTREAM": json.dumps(wanted),
            "KERAS_HOME": folder,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            **suite.environment,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={suite.root}"]
        command += ["-p", PLUGIN, "-p", "no:cacheprovider", "-p", "no:warnings", "-p", "no:xdist", "--tb=short"]
        command += [
            "--continue-on-collection-errors",
            *suite.arguments,
            *(str(suite.root / name) for name in suite.files),
        ]
        work = Path(folder, "work")
        work.mkdir()
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        lines = report.read_text(encoding="utf-8").splitlines() if report.exists() else []
    *tests, whole = [json.loads(line) for line in lines] or [{}]
    outcomes = {line["test"]: line["outcome"] for line in tests}
    if "stepped" not in whole or not outcomes:
        last = whole.get("test", "before the first test")
        raise RuntimeError(
            f"pytest ended with {done.returncode}, {last}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return Results(outcomes, {line["test"]: line["message"] for line in tests}, whole["made"], whole["stepped"])


def lost(ours: Results, stock: Results) -> dict[str, str]:
    """Return the tests that pass with the framework's own classes and not with ours, with what they say.

    Args:
        ours: the run with our classes.
        stock: the run with the framework's, at least of the tests that did not pass in the other.
    """
    not_run = "not run"
    return {name: ours.messages.get(name, not_run) for name in sorted(stock.passed - ours.passed)}
