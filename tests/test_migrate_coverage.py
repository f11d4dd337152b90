"""The page about public repositories, and the script that writes its tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="needs LibCST: pip install libcst")

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.rules import RULES
from tests.test_migrate_report import FORMS

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "migrate_coverage.py"


def coverage(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_script_writes_the_page(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    for number, (form, _, _) in enumerate(FORMS.values()):
        (code / f"{number:02}.py").write_text(form, encoding="utf-8")
    page = tmp_path / "page.md"
    head, marker, rest = (ROOT / "docs/coverage.md").read_text("utf-8").partition("<!-- measured")
    page.write_text(head + marker + rest, encoding="utf-8")
    done = coverage(f"some/code@0123456789ab={code}", "--page", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert text.startswith(head)
    assert f"| some/code | `0123456789` | shim | {len(list(code.iterdir()))} |" in text
    assert "| some/code | `0123456789` | mindspore |" in text
    for line in text.partition("Why places")[2].splitlines():
        cells = line.split(" | ")
        if cells[0] in ("| explained", "| refused"):
            assert cells[-1].removesuffix(" |") == RULES[cells[1].strip("`")]
    assert coverage(f"some/code@0123456789ab={code}", "--page", page).returncode == 0
    assert page.read_text("utf-8") == text


def test_the_page_is_about_ten_repositories_and_its_sums_are_right() -> None:
    text = (ROOT / "docs/coverage.md").read_text("utf-8")
    rows = [
        line.strip("| ").split(" | ") for line in text.splitlines() if "/" in line.split(" | ")[0] and "| `" in line
    ]
    assert len({row[0] for row in rows}) >= 10
    assert len(rows) == 2 * len({row[0] for row in rows})
    assert {row[2] for row in rows} == {"shim", "mindspore", "tensorflow"}
    for row in rows:
        found, *fates = map(int, row[4:])
        assert found == sum(fates)
    titles = {dialect.title for dialect in MAPPING.dialects.values()} | {"unknown", "another Adam"}
    assert (
        set(map(str.strip, [line.split("|")[1] for line in text.splitlines() if "| the other framework |" in line]))
        <= titles
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none", "none is neither a folder of checkouts nor OWNER/NAME=FOLDER"),
        ("a/b=none", "none, given for a/b, is no folder"),
        ("a/b=docs", "docs is no checkout; write a/b@COMMIT=docs"),
        ("docs", "there is no checkout OWNER/NAME in the folders given"),
    ],
)
def test_the_script_says_what_is_wrong(given: str, said: str) -> None:
    done = coverage(given)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
