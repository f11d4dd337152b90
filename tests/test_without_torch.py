"""Where PyTorch is not installed, each tool says what to install, and none needs it otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAID = "pip install 'torch>=2.6'"
# As if it were not installed.
PROGRAM = """
import sys
sys.modules["torch"] = None
from adamcompat.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True, text=True, check=False, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "torch", "float64"),
        ("verify", "--runtime", "torch"),
        ("state", "show", "run.pt"),
        ("state", "convert", "run.pth", "a.safetensors"),
    ],
    ids=" ".join,
)
def test_what_to_install_is_said(arguments: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("run.pt", "run.pth"):
        (tmp_path / name).write_bytes(b"PK")
    result = run(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert SAID in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.pt", "run.pth"]


def test_its_style_on_numpy_is_compared_without_it(tmp_path: Path) -> None:
    result = run("compare", "float64:torch", "adamcompat.TorchStyleAdam", "--steps", "5", folder=tmp_path)
    assert (result.returncode, "All agree" in result.stdout) == (0, True), result.stderr
