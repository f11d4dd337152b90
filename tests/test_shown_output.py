"""The output that the README and the pages show is what the commands print, at 80 columns and into a pipe."""

from __future__ import annotations

import os
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from adamcompat.mapping.runtimes import ORIGINALS
from tests import processes
from tests.noise import not_meant

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("tensorflow", "tf_keras", "mindspore", "torch", "yaml")
GAP = "..."


def shown(page: str) -> dict[str, list[str]]:
    """The commands of a page that have output, with it."""
    found: dict[str, list[str]] = {}
    for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *lines = part.splitlines()
            if lines and command.startswith("adamcompat "):
                found[command] = lines
    return found


def is_printed(lines: list[str], printed: list[str]) -> bool:
    """Whether lines stand in what was printed from its first line to its last, but for what a gap leaves out."""
    at, loose = 0, False
    for line in lines:
        if line == GAP:
            loose = True
            continue
        if loose and line in printed[at:]:
            at = printed.index(line, at)
        if printed[at : at + 1] != [line]:
            return False
        at, loose = at + 1, False
    return loose or at == len(printed)


def output(arguments: list[str], folder: Path) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = processes.run(
        arguments, environment=environment, imported=("tensorflow", "keras", "mindspore"), folder=folder, timeout=600
    )
    assert result.returncode in (0, 1), result.stderr
    assert not_meant(result.stderr) == []
    assert isinstance(result.stdout, str)
    return result.stdout.splitlines()


COMPARED = {
    command: lines
    for page in ("README.md", "docs/compare.md")
    for command, lines in shown(page).items()
    if command.startswith("adamcompat compare ")
}


def test_the_readme_and_the_page_show_the_same() -> None:
    readme, page = (shown(name)["adamcompat compare keras tf26 mindspore"] for name in ("README.md", "docs/compare.md"))
    assert readme[-1] == page[-1] == GAP
    assert len(readme) > 4
    assert readme[:-1] == page[: len(readme) - 1]
    assert len(COMPARED) > 1


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason="needs TensorFlow, MindSpore and PyTorch")
@pytest.mark.parametrize("command", COMPARED, ids=lambda command: command[19:60])
def test_what_compare_is_shown_to_print_is_what_it_prints(command: str, tmp_path: Path) -> None:
    printed = output(["-m", *shlex.split(command)], tmp_path)
    assert is_printed(COMPARED[command], printed), printed[:12]


# The originals are observed once, and judged by one mapping after the other.
VERIFY = f"""
import functools, sys
from adamcompat.cli import main
from adamcompat.mapping.runtimes import ORIGINALS
for framework in ORIGINALS.values():
    module = framework.load("verify")
    module.observe = functools.cache(module.observe)
for arguments in sys.argv[1:]:
    main(arguments.split())
    print({GAP!r})
"""


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason="needs TensorFlow, MindSpore and PyTorch")
def test_what_verify_is_shown_to_print_is_what_it_prints(tmp_path: Path) -> None:
    assert len(ORIGINALS) == 3
    found = shown("docs/verify.md")
    mapping = (ROOT / "mapping.yaml").read_text(encoding="utf-8")
    (tmp_path / "changed.yaml").write_text(mapping.replace("epsilon: hat", "epsilon: paper", 1), encoding="utf-8")
    printed = output(["-c", VERIFY, *(command.removeprefix("adamcompat ") for command in found)], tmp_path)
    versions = [line.partition(":")[0] for line in printed if re.match(r"\w+ [\d.]+\S*: \d+ facts: ", line)]
    if not all(any(line.startswith(f"{version}:") for line in found["adamcompat verify"]) for version in versions):
        pytest.skip(f"the page shows other versions than {', '.join(versions)}")
    for lines in found.values():
        end = printed.index(GAP)
        assert is_printed(lines, printed[:end]), printed[:12]
        printed = printed[end + 1 :]


def test_the_judge_of_what_is_shown() -> None:
    printed = ["a", "b", "c", "d"]
    for lines in (["a", "b", "c", "d"], ["a", GAP], [GAP, "b", "c", GAP], ["a", GAP, "d"]):
        assert is_printed(lines, printed), lines
    for lines in (["a", "b", "c"], ["b", GAP], ["a", "c", GAP], ["a", GAP, "c"], ["a", GAP, "c", "b", GAP], [GAP, "x"]):
        assert not is_printed(lines, printed), lines
