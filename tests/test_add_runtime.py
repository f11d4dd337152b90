"""A runtime is added to a copy of the package as docs/contributing.md says, and optimizes there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.test_generate import edit, make_copy, python

ROOT = Path(__file__).parent.parent
# Its tensors are Python's own arrays; the kernel takes NumPy's views of their memory.
BASE = '''"""TensorFlow's calling convention on Python's arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from adamcompat.numpy import apply_gradients


class BufferAdam(apply_gradients.ApplyGradientsAdam):
    """Base of the adapters on Python's arrays."""

    _runtime = "buffers"

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> int:
        """Update arrays with their gradients."""
        return super().apply_gradients([(_view(gradient), _view(variable)) for gradient, variable in grads_and_vars])


def _view(values: array[float]) -> Any:
    return np.frombuffer(values, values.typecode)
'''
DRIVER = '''"""Drivers of the classes on Python's arrays."""

from array import array

import numpy as np

from adamcompat.buffers import adapters
from adamcompat.drive.driver import keyword_only


def _class_of(entry):
    return getattr(adapters, entry.adapter.name)


def own_keywords(entry):
    return keyword_only(_class_of(entry))


def open_driver(opened, weights):
    return BufferDriver(opened, weights)


class BufferDriver:
    def __init__(self, opened, weights):
        self.opened, self._shapes = opened, [weight.shape for weight in weights]
        self._arrays = [array("f", weight.ravel().tolist()) for weight in weights]
        self._optimizer = _class_of(opened.entry)(**opened.native, **opened.own)

    def step(self, gradients):
        taken = [array("f", np.asarray(gradient, np.float32).ravel().tolist()) for gradient in gradients]
        self._optimizer.apply_gradients(zip(taken, self._arrays))

    def parameters(self):
        return [np.array(values, np.float32).reshape(shape) for values, shape in zip(self._arrays, self._shapes)]
'''
RUNTIME = """    "buffers": Runtime(
        FRAMEWORKS["buffers"],
        (),
        (),
        (
            Base(
                *("apply_gradients", None, "adamcompat.buffers.base", "BufferAdam"),
                *(_EVERY, _ANY_FORM),
            ),
        ),
    ),
"""
LOOK = """LOOKS["buffers"] = dataclasses.replace(
    LOOKS["numpy"],
    path="adamcompat/buffers/adapters.py",
    about="Adapters for Python's arrays: the exact signature of each dialect.",
    arrays="Python's arrays",
)
"""
ADAPTER = """
adapters:
  - {name: TFStyleAdam, module: adamcompat.buffers, runtime: buffers, dialect: keras3, borrows: {tf26: [lr]}}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    root = make_copy(tmp_path)
    package = root / "adamcompat"
    (package / "buffers").mkdir()
    (package / "buffers/__init__.py").write_text("from adamcompat.buffers.adapters import *\n", encoding="utf-8")
    (package / "buffers/base.py").write_text(BASE, encoding="utf-8")
    (package / "drive/buffers.py").write_text(DRIVER, encoding="utf-8")
    runtimes = package / "mapping/runtimes.py"
    edit(runtimes, '        Framework("numpy", ("numpy",), "NumPy"),\n',
         '        Framework("numpy", ("numpy",), "NumPy"),\n'
         '        Framework("buffers", ("array",), "Buffers"),\n')  # fmt: skip
    edit(runtimes, "\nRUNTIMES = {\n", f"\nRUNTIMES = {{\n{RUNTIME}")
    edit(root / "scripts/generate.py", "EPSILONS = {", f"{LOOK}EPSILONS = {{")
    edit(root / "mapping.yaml", "\nadapters:\n", ADAPTER)
    return root


def test_a_new_runtime_optimizes_and_the_tools_know_it(copy: Path) -> None:
    result = python(copy, "scripts/generate.py")
    assert (result.returncode, result.stderr) == (0, "")
    code = """
import json
from array import array
import numpy as np
import adamcompat
from adamcompat.buffers import TFStyleAdam
numbers = [1.0, 2.0, -3.0]
weight, other = array("f", numbers), np.array(numbers, np.float32)
ours = TFStyleAdam(0.1, weight_decay=0.1, clipnorm=0.5, amsgrad=True)
theirs = adamcompat.TFStyleAdam(0.1, weight_decay=0.1, clipnorm=0.5, amsgrad=True)
for step in range(5):
    gradient = array("f", [0.5 * step, -0.5, 0.25])
    ours.apply_gradients([(gradient, weight)])
    theirs.apply_gradients([(np.array(gradient), other)])
print(json.dumps([weight.tolist(), other.tolist(), TFStyleAdam.__doc__.split(".")[0]]))
"""
    result = python(copy, "-c", code)
    assert result.returncode == 0, result.stderr
    ours, theirs, documented = json.loads(result.stdout)
    assert ours == theirs != [1.0, 2.0, -3.0]
    assert documented == "Adam as Keras 3 calls it, on Python's arrays, which are updated in place"
    compared = python(copy, "-m", "adamcompat", "compare", "adamcompat.TFStyleAdam", "adamcompat.buffers.TFStyleAdam")
    assert compared.returncode == 0, compared.stderr
    assert "All agree within 2 spacings, in every step." in compared.stdout


def test_what_a_new_runtime_does_not_declare_is_refused(copy: Path) -> None:
    runtimes = copy / "adamcompat/mapping/runtimes.py"
    edit(runtimes, '"adamcompat.buffers.base", "BufferAdam"),\n                *(_EVERY, _ANY_FORM),',
         '"adamcompat.buffers.base", "BufferAdam"),\n                *(("update",), _ANY_FORM),')  # fmt: skip
    result = python(copy, "scripts/generate.py")
    assert result.returncode == 1
    assert "the adapter adamcompat.buffers.TFStyleAdam needs deduplicate, unscale, accumulate" in result.stderr
    assert "adamcompat.buffers.base.BufferAdam does not execute that" in result.stderr


def test_the_pages_line_counts_are_those_of_the_files() -> None:
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    paragraph = page[page.index("PyTorch was added so:") : page.index("## What a change must keep")]
    told = dict(re.findall(r"`((?:\w+/)?\w+\.py)`[^`]*?\((\d+)(?: lines)?\)", paragraph))
    by_hand = {path.name for path in (ROOT / "adamcompat" / "torch").glob("*.py")} - {"__init__.py", "adapters.py"}
    assert by_hand <= set(told)
    for name, lines in told.items():
        path = ROOT / "adamcompat" / ("torch" if "/" not in name else "") / name
        assert abs(path.read_text(encoding="utf-8").count("\n") - int(lines)) <= 15, name
