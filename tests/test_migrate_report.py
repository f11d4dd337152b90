"""``migrate --report``: every place that makes an Adam is listed once, with one fate and a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat import cli
from adamcompat.migrate import migrate_file
from adamcompat.migrate.text import migrated
from adamcompat.translation.names import KNOWN
from tests.test_migrate_files import notebook

TF, KERAS, TORCH = "import tensorflow as tf\n", "import keras\n", "import torch\n"
LOOP = "opt = keras.optimizers.Adam(1e-3)\nopt.minimize(loss, v)\n"
# Text, target, and the line, dialect, fate and decisive code of each place.
Places = list[tuple[int, str, str, str]]
FORMS: dict[str, tuple[str, str, Places]] = {
    "an attribute": (TF + "o = tf.keras.optimizers.Adam(1e-3)\n", "shim", [
        (2, "Keras 3", "rewritten", "name-replaced")]),
    "an import": ("from keras.optimizers import Adam\nAdam(1e-3)\nAdam(1e-4)\n", "shim", [
        (2, "Keras 3", "rewritten", "unexplained"), (3, "Keras 3", "rewritten", "unexplained")]),
    "an import of several": ("from keras.optimizers import Adam, AdamW\nAdam()\nAdamW()\n", "shim", [
        (2, "Keras 3", "rewritten", "unexplained"), (3, "Keras 3 AdamW", "rewritten", "unexplained")]),
    "an import of all": ("from keras.optimizers import *\nAdam(1e-3)\n", "shim", [
        (2, "Keras 3", "rewritten", "import-replaced")]),
    "another name": (KERAS + "A = keras.optimizers.Adam\nA(1e-3)\n", "shim", [
        (3, "Keras 3", "rewritten", "unexplained")]),
    "a class passed on": (TORCH + "train(torch.optim.Adam)\n", "shim", [(2, "PyTorch", "rewritten", "name-replaced")]),
    "a class passed on, to another": (TORCH + "train(torch.optim.Adam)\n", "mindspore", [
        (2, "PyTorch", "refused", "class-as-value")]),
    "a subclass in the same convention": (TF + "class A(tf.compat.v1.train.AdamOptimizer): pass\n", "tensorflow", [
        (2, "TensorFlow 1", "explained", "class-as-value")]),
    "a question of types": (KERAS + "isinstance(o, keras.optimizers.Adam)\n", "shim", []),
    "a string": (KERAS + "m.compile('adam', loss='mse')\n", "shim", [(2, "Keras 3", "rewritten", "string-replaced")]),
    "a string, to another": (KERAS + "m().compile('adam', loss='mse')\n", "mindspore", [
        (2, "Keras 3", "refused", "string-form")]),
    "a string of somebody": ("m.compile('adam', loss='mse')\n", "shim", [
        (1, "Keras 3", "explained", "unclear-string")]),
    "a string that stays": (KERAS + "m.compile('adam', loss='mse')\n", "tensorflow", [
        (2, "Keras 3", "explained", "already-there")]),
    "the target's own": (KERAS + "keras.optimizers.Adam(1e-3)\n", "tensorflow", [
        (2, "Keras 3", "explained", "already-there")]),
    "ours": ("import adamcompat.torch\nadamcompat.torch.Adam(p)\n", "shim", [
        (2, "PyTorch", "explained", "already-there")]),
    "a call that is translated": (TORCH + "torch.optim.Adam(p, lr=0.1, eps=1e-7)\n", "mindspore", [
        (2, "PyTorch", "rewritten", "other-epsilon")]),
    "behind one that is rewritten": (TORCH + "torch.optim.Adam(p)\ntorch.optim.Adam(p, nonsense=1)\n", "mindspore", [
        (2, "PyTorch", "rewritten", "other-epsilon"), (3, "PyTorch", "refused", "unknown-parameter")]),
    "a step in the way": (KERAS + LOOP, "mindspore", [(2, "Keras 3", "refused", "step-method")]),
    "no such keyword": (KERAS + "keras.optimizers.Adam(nonsense=1)\n", "shim", [
        (2, "Keras 3", "refused", "unknown-parameter")]),
    "beside a call with no such keyword": ("from torch.optim import Adam\nAdam(p)\nAdam(p, nonsense=1)\n", "shim", [
        (2, "PyTorch", "refused", "unknown-parameter"), (3, "PyTorch", "refused", "unknown-parameter")]),
    "nobody's": ("o = Adam(1e-3)\n", "shim", [(1, "unknown", "explained", "unknown-name")]),
    "one's own": ("from mine import Adam\no = Adam(1e-3)\n", "shim", [
        (2, "another Adam", "explained", "another-adam")]),
    "another Adam": (TORCH + "torch.optim.NAdam(p)\n", "shim", [(2, "another Adam", "explained", "another-adam")]),
    "Adam or not": (
        "try:\n    from keras.optimizers import Adam\nexcept E:\n    from mine import Adam\nAdam(1e-3)\n", "shim", [
        (5, "Keras 3", "refused", "unclear-name")]),
    "passed over": (KERAS + "keras.optimizers.Adam(1e-3)  # adamcompat: ignore\n", "shim", [
        (2, "Keras 3", "explained", "passed-over")]),
    "an import passed over": ("from keras.optimizers import Adam  # adamcompat: ignore\nAdam(1e-3)\n", "shim", [
        (2, "Keras 3", "explained", "passed-over")]),
    "no drop-in": ("from optax import adam\nadam(1e-3)\n", "shim", [(2, "Optax", "explained", "no-drop-in")]),
    "an old Python": ("print 'x'\ndef Adam(a): pass\no = nn.Adam(p)  # Adam(p)\n", "shim", [
        (3, "unknown", "refused", "does-not-parse")]),
    "two on a line": (TORCH + "a, b = torch.optim.Adam(p), torch.optim.AdamW(q)\n", "shim", [
        (2, "PyTorch", "rewritten", "name-replaced"), (2, "PyTorch AdamW", "rewritten", "name-replaced")]),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_each_place_is_listed_once_with_what_decided_it(form: str) -> None:
    text, to, places = FORMS[form]
    found = migrated(text, to, KNOWN).constructions
    assert [(item.line, item.dialect, item.fate.value, item.decisive) for item in found] == places


def test_what_cannot_be_written_after_all_is_refused() -> None:
    """An import that a change needs would tell whose the other Adam is, which nothing tells now."""
    text = TORCH + "a = torch.optim.Adam(p, lr=1e-3)\nb = keras.optimizers.Adam(lr=1e-5)\n"
    done = migrated(text, "tensorflow", KNOWN)
    plain = [(item.line, item.fate.value, item.decisive) for item in done.constructions]
    assert done.text == text
    assert plain == [(2, "refused", "not-rewritten"), (3, "explained", "unknown-name")]


def test_a_notebook_names_the_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(TORCH, "x = 1\no = torch.optim.Adam(p)", "print 'x'\nAdam(p)"), encoding="utf-8")
    made = migrate_file(path, "shim").constructions
    assert [(item.cell, item.line, item.fate.value) for item in made] == [(2, 2, "rewritten"), (3, 2, "refused")]
    assert made[0].where(path) == f"{path}:cell 2:2:5"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with every form, a string by which an Adam may be chosen, and a file that is no Python."""
    folder = tmp_path / "code"
    folder.mkdir()
    for number, (text, to, _) in enumerate(FORMS.values()):
        if to == "shim":
            (folder / f"{number:02}.py").write_text(text, encoding="utf-8")
    (folder / "option.py").write_text(KERAS + "name = 'adam'\nbuild(optimizer=name)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_counts_are_those_of_the_places(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "code", "--to", "shim", "--report", "--format", "json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    expected = [place for _, to, places in FORMS.values() if to == "shim" for place in places]
    listed = report["constructions"]
    assert [(item["line"], item["dialect"], item["fate"]) for item in listed] == [place[:3] for place in expected]
    assert len({(item["path"], item["cell"], item["line"], item["column"]) for item in listed}) == report["found"]
    for fate in ("rewritten", "explained", "refused"):
        number = sum(place[2] == fate for place in expected)
        assert report[fate] == number == sum(counts[fate] for counts in report["dialects"].values())
        if fate != "rewritten":
            assert sum(report["reasons"][fate].values()) == number
    assert report["found"] == len(expected) == sum(counts["found"] for counts in report["dialects"].values())
    assert (report["perhaps"], len(report["not_read"]), report["looked_at"]) == (1, 1, len(list(code.iterdir())))
    assert all(item["reasons"] for item in listed if item["fate"] != "rewritten")


def test_the_text_says_the_same(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in code.iterdir()}
    assert cli.main(["migrate", "code", "--to", "shim", "--report"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0] == "code/00.py:2:5: rewritten: tf.keras.optimizers.Adam, Keras 3"
    total = next(line for line in lines if line.startswith("total")).split()[1:]
    expected = [place[2] for _, to, places in FORMS.values() if to == "shim" for place in places]
    fates = ("rewritten", "explained", "refused")
    assert [int(number) for number in total] == [len(expected), *map(expected.count, fates)]
    assert "may get an Adam by a name or a look-up: 1" in lines
    assert "files that could not be read in whole: 1" in lines
    assert {path: path.read_bytes() for path in code.iterdir()} == before


def test_a_report_has_no_sarif(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["migrate", "code", "--to", "shim", "--report", "--format", "sarif"]) == 2
    assert "write --format json, or leave --report out" in capsys.readouterr().err


def test_the_most_frequent_dialect_stands_first_and_equals_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.py"
    path.write_text(KERAS + TORCH + "a = torch.optim.AdamW(p)\nb = torch.optim.Adam(p)\n" * 2, encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write("keras.optimizers.AdamW()\n" * 3 + "keras.optimizers.Adam()\n")
    assert cli.main(["migrate", str(path), "--to", "shim", "--report", "--format", "json"]) == 0
    dialects = json.loads(capsys.readouterr().out)["dialects"]
    assert list(dialects) == ["Keras 3 AdamW", "PyTorch", "PyTorch AdamW", "Keras 3"]
