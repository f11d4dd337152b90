"""The command line, as a user runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import adamcompat
import adamcompat.cli as cli
import adamcompat.demo as demo


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adamcompat", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_demo_shows_both_outputs_the_truth_and_the_table() -> None:
    result = run("demo", COLUMNS="200")
    assert (result.returncode, result.stderr) == (0, "")
    assert "200/200" in result.stdout
    assert result.stdout.count("[[ 5.8998876 11.100113 ] [12.299808  24.700195 ]]") == 2
    assert "[[5.89988898, 11.10011102], [12.2998097, 24.7001903]]" in result.stdout
    assert "The two styles agree bit for bit." in result.stdout
    assert "same name, other meaning" in result.stdout


def test_the_truth_of_the_demo_is_its_float64_run() -> None:
    for result in demo.run(lambda: None, np.float64):
        np.testing.assert_allclose(result.output, demo.TRUTH, rtol=0, atol=1e-8)


def test_a_demo_whose_styles_differ_exits_with_1(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    results = [demo.Result("one", demo.TRUTH), demo.Result("other", demo.TRUTH + 1)]
    monkeypatch.setattr(demo, "run", lambda advance: results)
    assert cli.main(["demo"]) == 1
    assert "one and other differ." in capsys.readouterr().out


def test_table_has_the_same_rows_in_every_format() -> None:
    rows = json.loads(run("table", "--from", "tf26", "--format", "json").stdout)["rows"]
    for form in ("rich", "markdown", "csv", "html"):
        result = run("table", "--from", "tf26", "--to", "mindspore", "--format", form, COLUMNS="200")
        assert (result.returncode, result.stderr) == (0, "")
        for row in rows:
            assert (row["source"] or row["target"]) in result.stdout


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_names_are_whole_in_a_narrow_terminal(columns: str) -> None:
    text = run("table", COLUMNS=columns).stdout
    for name in ("gradient_accumulation_steps", "use_nesterov", "epsilon", "eps"):
        assert re.search(rf"(^| ){name} ", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("kears3", "did you mean keras3?"), ("mindspor", "did you mean mindspore?"), ("x", "known: keras3, tf26, tf1")],
)
def test_an_unknown_dialect_gets_a_suggestion(name: str, hint: str) -> None:
    result = run("table", "--from", name)
    assert result.returncode == 2
    assert f"unknown dialect '{name}'" in result.stderr
    assert hint in result.stderr


def test_a_dialect_can_be_named_by_its_class() -> None:
    by_class = run("table", "--from", "tf.keras.optimizers.Adam", "--to", "mindspore.nn.Adam", "--format", "csv")
    assert by_class.stdout == run("table", "--format", "csv").stdout


@pytest.mark.parametrize("arguments", [(), ("dance",), ("table", "--format", "pdf"), ("demo", "--runtime")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "usage: adamcompat" in result.stderr


def test_help_has_examples() -> None:
    for arguments in (("--help",), ("table", "--help")):
        result = run(*arguments)
        assert result.returncode == 0
        assert "adamcompat table --from tf26 --to mindspore" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"adamcompat {adamcompat.__version__}\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m adamcompat table --format html | head -c 10"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("<!doctype ", "")
