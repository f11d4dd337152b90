"""Every name under which the frameworks hold the classes that install() replaces is one that migrate knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate.strings import BY_NAME
from adamcompat.translation.names import KNOWN, drop_in, full

pytestmark = [
    pytest.mark.frameworks,
    pytest.mark.skipif(
        not all(map(find_spec, ("tensorflow", "tf_keras", "mindspore", "torch"))), reason="needs the frameworks"
    ),
]

ROOT = Path(__file__).resolve().parents[1]

# The classes are those of the recipes; a path is one that programs may write: modules and their public attributes.
PROGRAM = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
import tensorflow as tf, keras, tf_keras, mindspore, mindspore.nn, torch
from adamcompat.installation.frameworks import recipes
from adamcompat.installation.stand_in import replacement
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.names import full

originals = {entry.adapter.dialect: entry.original for entry in map(replacement, recipes())}
dialects = {id(cls): dialect for dialect, cls in originals.items()}
found = {}

def note(path, value):
    if id(value) in dialects:
        found[path] = dialects[id(value)]

for path, module in list(sys.modules.items()):
    for name, value in list(getattr(module, "__dict__", {}).items()) if path != "__main__" else ():
        note(f"{path}.{name}", value)

WAYS = ("compat", "v1", "v2", "keras", "optimizers", "legacy", "experimental", "train", "nn", "optim", "adam", "adamw")
def walk(path, module, depth):
    for name in {cls.__name__ for cls in originals.values()}:
        note(f"{path}.{name}", getattr(module, name, None))
    for name in WAYS if depth else ():
        try:
            inner = getattr(module, name)
        except Exception:
            continue
        if not isinstance(inner, type):
            walk(f"{path}.{name}", inner, depth - 1)

for root in ("tensorflow", "keras", "tf_keras", "mindspore", "torch"):
    walk(root, sys.modules[root], 6)

def resolve(path):
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                value = getattr(value, part)
            return value
        except (ImportError, AttributeError):
            continue
    return None

aliases = {}
for dialect, cls in originals.items():
    for path in {full(name) for name in MAPPING.dialects[dialect].names}:
        value = resolve(path)
        aliases[path] = "the class" if value is cls else "nothing" if value is None else str(value)
print(json.dumps({"found": found, "aliases": aliases}))
"""


@cache
def seen(legacy: str) -> dict[str, Any]:
    """What the frameworks hold, where tf.keras is Keras 3 ("0") or what it was before ("1")."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": legacy, "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_v": "3"},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("legacy", ["0", "1"])
def test_every_name_of_a_class_that_is_replaced_is_known(legacy: str) -> None:
    found = {
        path: dialect
        for path, dialect in seen(legacy)["found"].items()
        if not any(part.startswith("_") for part in path.split("."))
    }
    assert set(found.values()) == {name for name, dialect in MAPPING.dialects.items() if drop_in(dialect)}
    assert len(found) > 20
    for path, dialect in found.items():
        known = {signature.dialect.name for signature in KNOWN.classes.get(full(path), ())}
        # With TF_USE_LEGACY_KERAS=1 the class that ours stands for is tf_keras's, and named as such or as an
        # experiment. No file says whether that is set, so these names are reported, not rewritten.
        member = MAPPING.dialects[dialect] in BY_NAME.values()
        reported = legacy == "1" and member and KNOWN.elsewhere(path) is not None
        assert dialect in known or reported, f"{path} is {dialect}'s class, and mapping.yaml does not say so"


def test_every_alias_is_the_very_class_where_it_is_anything() -> None:
    one, other = seen("0")["aliases"], seen("1")["aliases"]
    never = {path: (one[path], other[path]) for path in one if "the class" not in (one[path], other[path])}
    # TensorFlow 1's own name, and Keras 2's, where Keras 3 has nothing or a class that only says that it is gone.
    gone = {"tensorflow.train.AdamOptimizer", "keras.optimizers.experimental.AdamW"}
    assert set(never) <= {*gone, "keras.optimizers.legacy.Adam"}
    assert all(never.pop(name, ("nothing", "nothing")) == ("nothing", "nothing") for name in gone)
    assert all("LegacyOptimizerWarning" in what for found in never.values() for what in found)


def test_other_names_of_modules_hold_the_same_classes() -> None:
    assert MAPPING.modules
    for legacy in ("0", "1"):
        found = seen(legacy)["found"]
        nested = [path for path in found if any(path.startswith(f"{module}.") for module in MAPPING.modules)]
        assert len(nested) > 4
        for path in nested:
            assert found[path] == found[full(path)], path
