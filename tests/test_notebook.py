"""``%load_ext adamcompat`` in IPython's own shell."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def cell(source):
    result = shell.run_cell(source, store_history=True)
    result.raise_error()
    return result.result
"""


def run(program: str, tmp_path: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=240,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.skipif(find_spec("IPython") is None, reason="needs ipython")
def test_the_extension_is_loaded_reloaded_and_unloaded(tmp_path: Path) -> None:
    program = """
cell("%load_ext adamcompat")
cell("import adamcompat")
assert cell("bool(adamcompat.installed())")
cell("%reload_ext adamcompat")
assert cell("bool(adamcompat.installed())")
cell("%unload_ext adamcompat")
assert not cell("bool(adamcompat.installed())")
import sys
assert not {"tensorflow", "keras", "mindspore"} & set(sys.modules)
"""
    run(program, tmp_path)


@pytest.mark.frameworks
@pytest.mark.skipif(find_spec("IPython") is None or find_spec("tensorflow") is None, reason="needs ipython, tensorflow")
def test_names_in_a_notebook_become_ours(tmp_path: Path) -> None:
    program = """
cell("import tensorflow as tf\\nfrom tensorflow.keras.optimizers import Adam\\nstock = [Adam]")
cell("%load_ext adamcompat")
assert "adamcompat" in str(cell("type(Adam(0.1)).__mro__[1].__module__"))
assert cell("Adam is tf.keras.optimizers.Adam")
cell("v = tf.Variable([1.0]); Adam(0.1).apply_gradients([(tf.constant([1.0]), v)])")
cell("import adamcompat")
assert cell("adamcompat.installed().report.in_use")
cell("%unload_ext adamcompat")
assert cell("Adam is stock[0] is tf.keras.optimizers.Adam")
"""
    run(program, tmp_path)
