"""List what of TensorFlow's and Keras's is ours while adamcompat is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from adamcompat.installation.frameworks import Recipe
from adamcompat.mapping.tables import MAPPING

_TF = "tf."
# TensorFlow's and tf_keras's public classes carry their public names as attributes.
_MARKS = "_api_names"


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced, given which modules are imported; TensorFlow is.

    Args:
        loaded: whether a module is imported, and has finished with it.
    """
    found = [_recipe("tensorflow_v1", "AdamOptimizer", ("apply_gradients",), in_files=False)]
    # TensorFlow imports the Keras that its tf.keras is, and Keras imports TensorFlow.
    imported = [name for name in ("keras", "tf_keras") if name in sys.modules]
    if imported and all(map(loaded, imported)):
        found.append(_recipe("tensorflow", "Adam", ("apply", "apply_gradients")))
        if "tf_keras" in imported:
            found.append(_recipe("tensorflow_legacy", "Adam", ("apply_gradients",)))
    return found


def _recipe(runtime: str, name: str, steps: tuple[str, ...], *, in_files: bool = True) -> Recipe:
    adapter = MAPPING.adapter(runtime, name)
    dialect = MAPPING.dialects[adapter.dialect]
    public = next(name for name in (dialect.target, *dialect.aliases) if name.startswith(_TF))
    # Files of Keras name a class by its public module.
    module = public.removeprefix(_TF).rpartition(".")[0] if in_files else None
    return Recipe(adapter, public, steps, module=module, marks=_MARKS)
