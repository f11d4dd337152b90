"""`import adamcompat` is light, and no framework is imported outside its own folder."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import adamcompat

PACKAGE = Path(adamcompat.__file__).parent
FRAMEWORKS = {"tensorflow", "tf_keras", "keras", "mindspore", "torch", "jax"}
HEAVY = FRAMEWORKS | {"numba", "llvmlite", "yaml", "rich", "matplotlib", "libcst"}


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nimport json\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


@pytest.mark.parametrize(
    "code",
    [
        "import adamcompat",
        "from adamcompat import TFStyleAdam, MindSporeStyleAdam",
        "from adamcompat.state import AdamState",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_making_an_optimizer_loads_no_framework() -> None:
    code = """
import numpy
from adamcompat import TFStyleAdam
weight = numpy.ones(3)
TFStyleAdam().apply_gradients([(numpy.ones(3), weight)])
"""
    assert not loaded_after(code) & FRAMEWORKS


def test_the_command_line_loads_no_framework() -> None:
    code = "from adamcompat.cli import main; main(['table', '--format', 'csv']); print()"
    program = f"import sys, io\nsys.stdout = io.StringIO()\n{code}\nsys.stdout = sys.__stdout__"
    assert not loaded_after(program) & (HEAVY - {"rich"})


MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_frameworks_stay_in_their_folders(module: Path) -> None:
    allowed = {"tensorflow": {"tensorflow", "tf_keras", "keras"}, "mindspore": {"mindspore"}}.get(
        module.parts[0], set()
    )
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in FRAMEWORKS - allowed, f"{module}:{node.lineno} imports {name}"


def test_the_public_surface() -> None:
    assert {"TFStyleAdam", "MindSporeStyleAdam", "Parameter", "RowSparse"} <= set(dir(adamcompat))
    with pytest.raises(AttributeError, match="has no attribute 'Adam'"):
        _ = adamcompat.Adam
    namespace: dict[str, object] = {}
    exec("from adamcompat.numpy import *", namespace)
    assert {"TFStyleAdam", "Parameter"} <= set(namespace)
