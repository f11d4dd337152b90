"""``migrate --format sarif``, the action that uploads it, and the hook for pre-commit, each run as it is used."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")
import jsonschema
import yaml

import adamcompat
from adamcompat import cli
from adamcompat.migrate import Finding, Outcome, find, migrate_files
from adamcompat.migrate.rules import RULES
from adamcompat.migrate.sarif import sarif
from adamcompat.translation.messages import error
from tests.test_migrate_files import notebook

ROOT = Path(__file__).resolve().parents[1]
# The schema as Microsoft's SARIF packages ship it, under the MIT licence.
SCHEMA = json.loads((ROOT / "tests/data/sarif-2.1.0-rtm.5.json").read_text("utf-8"))
posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
LEVELS = {"INFO": "note", "WARNING": "warning", "ERROR": "error"}
KERAS = "import keras\nopt = keras.optimizers.Adam(1e-3)\n"
FILES = {
    "plain.py": KERAS,
    "odd name é.py": f"# é\n{KERAS}x = 'é'; opt.step(loss)\n",
    "deep/inner.py": "import torch\nopt = torch.optim.Adam(p)\nopt.zero_grad()\n",
    "broken.py": "print 'Adam'\n",
    "null.py": "Adam\0",
    "a.ipynb": json.dumps(json.loads(notebook("x = 1\n", f"'''\n'''\n{KERAS}")), indent=1),
    "lines.ipynb": json.dumps(
        {
            "cells": [{"cell_type": "code", "source": ["import keras\n", "o = keras.optimizers.Adam()"]}],
            "nbformat": 4,
        },
        indent=1,
    ),
    "clean.py": "import keras\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def log(text: str) -> dict[str, Any]:
    """The log, if the schema takes it."""
    document: dict[str, Any] = json.loads(text)
    kind = jsonschema.validators.validator_for(SCHEMA)
    kind(SCHEMA, format_checker=kind.FORMAT_CHECKER).validate(document)
    return document


@pytest.mark.parametrize(
    ("options", "status"),
    [((), 1), (("--check",), 1), (("--diff",), 1), (("--write",), 1)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
@pytest.mark.parametrize("to", ["shim", "mindspore", "tensorflow"])
def test_the_log_is_valid_and_has_every_remark(
    to: str, options: tuple[str, ...], status: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [
        (os.fsdecode(outcome.path.as_posix()), finding)
        for outcome in migrate_files(list(find([Path()])), to)
        for finding in outcome.findings
    ]
    assert cli.main(["migrate", ".", "--to", to, *options, "--format", "sarif"]) == status
    said = capsys.readouterr()
    assert said.err == ""
    (run,) = log(said.out)["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("adamcompat", adamcompat.__version__)
    assert len(run["results"]) == len(expected) > 5
    for result, (path, finding) in zip(run["results"], expected, strict=True):
        message = finding.message
        assert (result["ruleId"], result["level"]) == (message.code, LEVELS[message.severity.value])
        assert result["message"]["text"] == message.text
        rule = driver["rules"][result["ruleIndex"]]
        assert (rule["id"], rule["help"]["markdown"]) == (message.code, RULES[message.code])
        place = result["locations"][0]["physicalLocation"]
        assert unquote(place["artifactLocation"]["uri"]) == path
        assert place["artifactLocation"]["uriBaseId"] == "%SRCROOT%"
        if finding.cell is None:
            region = {"startLine": finding.line or 1, "startColumn": finding.column or 1}
            assert place["region"] == region
        elif message.code == "name-replaced":
            # The line of the notebook's own text.
            lines = (folder / path).read_text("utf-8").splitlines() if "--write" not in options else None
            assert lines is None or ".Adam(" in lines[place["region"]["startLine"] - 1]
            name = result["locations"][0]["logicalLocations"][0]["name"]
            assert name == f"cell {finding.cell}, line {finding.line}, column {finding.column}"


def test_without_anything_to_say_the_log_is_valid_and_the_status_0(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["migrate", "clean.py", "--to", "shim", "--check", "--format", "sarif"]) == 0
    (run,) = log(capsys.readouterr().out)["runs"]
    assert (run["results"], run["tool"]["driver"]["rules"]) == ([], [])


def test_a_file_elsewhere_has_its_whole_address(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "deep")
    document = sarif(migrate_files([folder / "plain.py", folder / "deep/inner.py"], "shim"), Path.cwd())
    log(json.dumps(document))
    places = [item["locations"][0]["physicalLocation"]["artifactLocation"] for item in document["runs"][0]["results"]]
    assert places[0] == {"uri": (folder / "plain.py").as_uri()}
    assert places[-1] == {"uri": "inner.py", "uriBaseId": "%SRCROOT%"}


@pytest.mark.parametrize(
    ("strings", "line"),
    [
        (["import keras\n", "keras.optimizers.Adam()"], 1),
        (["x = 1\n\nimport ", "keras\n", "y = 2\n", "keras.optimizers.Adam()"], 3),
        (["x = 1  # ", "", "\n", "import keras\n", "keras.optimizers.Adam()\n"], 4),
        (["x = 'a\u2028b'\n", "import keras\n", "\x0cx = 'a\\x0cb\x1d'\n", "keras.optimizers.Adam()\n"], 3),
        (["import keras\nx = 1\nkeras.optimizers.Adam()\n", "y = 1"], 0),
        (["import keras\r\n", "keras.optimizers.Adam()\r\n"], 1),
    ],
    ids=["lines", "pieces", "empty", "odd", "together", "CRLF"],
)
def test_a_remark_stands_in_the_string_in_which_its_line_begins(strings: list[str], line: int, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": strings}]}, indent=0), encoding="utf-8")
    (result,) = sarif(migrate_files(path, "shim"), tmp_path)["runs"][0]["results"]
    shown = path.read_text("utf-8").splitlines().index('"source": [') + 2
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": shown + line}


@posix
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("a b.py", "a%20b.py"),
        ("50%20#?.py", "50%2520%23%3F.py"),
        ("c:é.py", "c%3A%C3%A9.py"),
        (os.fsdecode(b"\xff.py"), "%FF.py"),
    ],
    ids=["space", "escape", "colon", "bytes"],
)
def test_an_address_is_quoted(name: str, address: str, tmp_path: Path) -> None:
    outcome = Outcome(tmp_path / "in" / name, (Finding(error("cannot-read", "odd")),))
    for root, found in ((tmp_path, f"in/{address}"), (tmp_path / "out", f"{(tmp_path / 'in').as_uri()}/{address}")):
        (result,) = log(json.dumps(sarif([outcome], root)))["runs"][0]["results"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == found


def test_the_rules_are_the_rows_of_the_pages() -> None:
    rows: dict[str, str] = {}
    for page in ("migrate.md", "translate.md"):
        text = (ROOT / "docs" / page).read_text("utf-8")
        for codes, meaning in re.findall(
            r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| [A-Z, ]+ \| (.*) \|$", text, re.MULTILINE
        ):
            rows |= dict.fromkeys(re.findall(r"[a-z-]+", codes), meaning)
    assert rows == RULES
    used: set[str] = set()
    for room in ("migrate", "translation", "commands"):
        for path in (ROOT / "adamcompat" / room).glob("*.py"):
            used |= set(re.findall(r"\b(?:info|warning|error)\(\s*\"([\w-]+)\"", path.read_text("utf-8")))
    assert used <= RULES.keys()


@pytest.fixture
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose `adamcompat` is this checkout's, and whose `python` only says what it was asked."""
    tools = tmp_path_factory.mktemp("tools")
    for name, line in {
        "adamcompat": f'exec "{sys.executable}" -m adamcompat "$@"',
        "python": 'printf "%s\\n" "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    return os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def block(page: str, key: str) -> Any:
    """The YAML block of a page that has a key."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (data for data in map(yaml.safe_load, blocks) if key in data)
    return found


ACTION = ROOT / ".github/actions/migrate/action.yml"


def run_action(given: Mapping[str, str], folder: Path, environment: Mapping[str, str]) -> tuple[list[int], str, Path]:
    """Run the action's commands as GitHub does; returns their statuses, what they said, and what is uploaded."""
    action = yaml.safe_load(ACTION.read_text("utf-8"))
    inputs = {name: value["default"] for name, value in action["inputs"].items()} | dict(given)
    temporary, output = folder.parent / "temporary", folder.parent / "output"
    temporary.mkdir(exist_ok=True)
    output.write_text("", encoding="utf-8")
    values = {f"inputs.{name}": value for name, value in inputs.items()} | {"runner.temp": str(temporary)}

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda match: values[match[1]], text)

    own = {"GITHUB_ACTION_PATH": str(ACTION.parent), "RUNNER_TEMP": str(temporary), "GITHUB_OUTPUT": str(output)}
    statuses, said, uploaded = [], "", Path()
    for step in action["runs"]["steps"]:
        if "run" not in step:
            uploaded = Path(filled(step["with"].get("sarif_file", str(uploaded))))
            continue
        assert step["shell"] == "bash"
        if step.get("if"):
            wanted = "inputs.fail-on-findings == 'true' && steps.migrate.outputs.status == '1'"
            assert step["if"] == wanted
            if inputs["fail-on-findings"] != "true" or output.read_text("utf-8") != "status=1\n":
                continue
        variables = {name: filled(value) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env={**environment, **own, **variables}, cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        statuses.append(done.returncode)
        said += done.stdout + done.stderr
        if done.returncode:
            break
    return statuses, said, uploaded


@posix
@pytest.mark.parametrize(
    ("given", "statuses", "results"),
    [
        ({}, [0, 0, 1], True),
        ({"path": "deep", "fail-on-findings": "false"}, [0, 0], True),
        ({"path": "odd name é.py", "to": "mindspore"}, [0, 0, 1], True),
        ({"path": "clean.py"}, [0, 0], False),
        ({"path": "missing"}, [0, 2], None),
        ({"to": "nonsense"}, [0, 2], None),
        ({"path": "--help"}, [0, 2], None),
        ({"path": "--to=tensorflow"}, [0, 2], None),
        ({"to": "--help"}, [0, 2], None),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_the_action_runs(
    given: dict[str, str], statuses: list[int], results: bool | None, folder: Path, commands: dict[str, str]
) -> None:
    inside = folder / "checkout"
    inside.mkdir()
    for name in FILES:
        (inside / name).parent.mkdir(exist_ok=True)
        (folder / name).rename(inside / name)
    found, said, uploaded = run_action(given, inside, commands)
    assert found == statuses, said
    assert said.startswith("-I\n-m\npip\n"), "a pip.py in the checkout must not be run"
    # The package of the action's own checkout, with what migrate needs.
    installed, extras = re.findall(r"^(\S+)\[([\w,]+)\]$", said, re.MULTILINE)[0]
    assert (Path(installed).resolve(), extras) == (ROOT, "migrate")
    if results is not None:
        (run,) = log(uploaded.read_text("utf-8"))["runs"]
        assert bool(run["results"]) is results


def test_the_page_shows_the_action_with_inputs_that_it_has() -> None:
    # YAML reads `on` as True.
    (job,) = block("docs/migrate.md", "jobs")["jobs"].values()
    used = next(step for step in job["steps"] if ".github" in step["uses"])
    action = yaml.safe_load(ACTION.read_text("utf-8"))
    assert used["with"].keys() == action["inputs"].keys()
    home = used["uses"].partition("@")[0].partition(".github")[2]
    assert (ROOT / f".github{home}" / "action.yml").resolve() == ACTION
    assert job["permissions"]["security-events"] == "write"


@posix
@pytest.mark.parametrize(
    ("names", "status"),
    [(["clean.py"], 0), (["clean.py", "plain.py"], 1), (["a.ipynb"], 1)],
    ids=["clean", "adam", "notebook"],
)
def test_the_hook_passes_and_fails(names: list[str], status: int, folder: Path, commands: dict[str, str]) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    (repository,) = block("docs/migrate.md", "repos")["repos"]
    assert [used["id"] for used in repository["hooks"]] == [hook["id"]]
    done = subprocess.run(
        [*shlex.split(hook["entry"]), *names], env=commands, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert ("INFO name-replaced" in done.stderr) is bool(status)
