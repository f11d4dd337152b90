"""Every tutorial is walked through as a reader would: files are written, commands run, and their output is as shown.

A file is a block of Python whose first line is a comment with its name. Of what a command shows, each line must come,
in that order; numbers may be off by 1%, and `...` stands for lines that are left out.
"""

from __future__ import annotations

import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import processes
from tests.noise import not_meant
from tests.test_stderr import NEEDED

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+(?:e[+-]\d+)?(?![\w.])")
_NAMED = re.compile(r"# (\w+\.py)\n")


def commands_of(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line != "...":
            found[-1][1].append(line)
    return found


def is_shown(wanted: str, line: str) -> bool:
    """Whether a line begins with what a page shows, but for the digits of fractions."""
    head = _NUMBER.sub("#", wanted)
    if not _NUMBER.sub("#", line).startswith(head):
        return False
    pairs = zip(_NUMBER.findall(wanted), _NUMBER.findall(line), strict=False)
    return all(float(one) == pytest.approx(float(other), rel=0.01) for one, other in pairs)


def missing(wanted: list[str], said: str) -> list[str]:
    """The shown lines that do not come, in their order."""
    lines = iter(said.splitlines())
    return [one for one in wanted if not any(is_shown(one.rstrip(), line) for line in lines)]


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason="needs TensorFlow, MindSpore, PyTorch and the extras")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_is_what_happens(page: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GLOG_v"}
    # Tables are as wide as they like.
    environment |= {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment |= {"COLUMNS": "300"}
    for language, body in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            named = _NAMED.match(body)
            assert named is not None, f"a block of {page.name} has no name: {body[:60]}"
            (tmp_path / named[1]).write_text(body, encoding="utf-8")
        for command, shown in commands_of(body) if language == "console" else []:
            words = shlex.split(command)
            arguments = words if words[0] == "adamcompat" else [words[1].removesuffix(".py")]
            done = processes.run(
                ["-m", *arguments], environment=environment, folder=tmp_path, timeout=600,
                imported=("tensorflow", "keras", "mindspore"),
            )  # fmt: skip
            # What is found, or not translated, is a result; what cannot be done at all would be 2.
            assert done.returncode in ((0, 1) if words[0] == "adamcompat" else (0,)), f"{command}\n{done.stderr}"
            assert missing(shown, f"{done.stdout}\n{done.stderr}") == [], f"{command}\n{done.stdout}\n{done.stderr}"
            assert not_meant(done.stderr) == [], command


def test_every_page_with_commands_is_run_by_somebody() -> None:
    # Those of docs/ are run by tests/test_stderr.py; what is made from the facts shows nothing that is run.
    folders = {path.parent.name for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text("utf-8")}
    assert folders <= {"docs", "tutorials"}
    assert {page.stem for page in PAGES} >= {"keras-to-mindspore", "torch-to-tensorflow", "is-it-the-optimizer"}


def test_the_judge_of_output_finds_what_is_missing() -> None:
    said = "Keras, epochs: 0.4368 0.4402\nnext: 1 file"
    assert missing(["Keras, epochs: 0.4370 0.4400", "next:"], said) == []
    assert missing(["Keras, epochs: 0.5368 0.4402"], said) == ["Keras, epochs: 0.5368 0.4402"]
    assert missing(["next: 2 files"], said) == ["next: 2 files"]
    assert missing(["next:", "Keras, epochs:"], said) == ["Keras, epochs:"]
