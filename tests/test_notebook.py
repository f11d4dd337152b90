"""``%load_ext adamcompat`` in IPython's own shell, and results in a real notebook."""

from __future__ import annotations

import json
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


# What each cell shows must hold these texts.
CELLS = {
    "import adamcompat\nadamcompat.table('tf26', 'mindspore')": ["<table>", "use_amsgrad", "renamed, other default"],
    "adamcompat.installed()": ["adamcompat: not installed"],
    "adamcompat.compare('float64(epsilon=1e-7)', 'float64(epsilon=1e-8)', steps=20)": [
        "1 of 1 pairs differ",
        "epsilon: 1e-07 against 1e-08 explains",
        "<svg",
    ],
    "adamcompat.translate('keras.optimizers.Adam(1e-3)', 'mindspore')": ["mindspore.nn.Adam(params"],
    "from adamcompat.mapping import runtimes\nruntimes.ORIGINALS.clear()\nadamcompat.verify()": [
        "Nothing was measured"
    ],
    "from pathlib import Path\n"
    "Path('train.py').write_text('import keras\\nopt = keras.optimizers.Adam()\\n')\n"
    "adamcompat.migrate('train.py', 'shim')": ["1 file looked at, 1 to change", "+opt = adamcompat.tensorflow.Adam()"],
    "import numpy as np\n"
    "from adamcompat.state import AdamState\n"
    "weight = adamcompat.Parameter(np.ones((2, 3)), 'net.weight')\n"
    "optimizer = adamcompat.TFStyleAdam(0.1)\n"
    "optimizer.apply_gradients([(np.ones((2, 3)), weight)])\n"
    "state = AdamState.of(optimizer)\n"
    "state": ["AdamState(step 1, 1 parameter, 6 elements", "net.weight"],
    "state.match({'net/kernel': (3, 2)}, convention='tensorflow')": ["net.weight (2, 3)", "net/kernel (3, 2)", "dense"],
}
NEEDED = ("nbclient", "nbformat", "ipykernel", "matplotlib", "libcst")


@pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_results_show_themselves_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbclient
    import nbformat

    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    for name, value in (("PYTHONPATH", path), ("IPYTHONDIR", str(tmp_path)), ("JUPYTER_RUNTIME_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    # The kernel of this very Python, whatever is installed beside it.
    specs = tmp_path / "kernels" / "this"
    specs.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": command, "display_name": "this", "language": "python"})
    (specs / "kernel.json").write_text(text, encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    nbclient.NotebookClient(
        notebook, kernel_name="this", timeout=120, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    nbformat.validate(notebook)
    for cell, texts in zip(notebook.cells, CELLS.values(), strict=True):
        data = next(output.data for output in cell.outputs if output.output_type == "execute_result")
        assert data["text/html"].startswith('<div class="adamcompat">')
        assert [text for text in texts if text not in data["text/html"]] == [], cell.source
        assert " object at 0x" not in data["text/plain"]
