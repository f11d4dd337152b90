"""List the recipes for TensorFlow's and Keras's classes, which ours replace while adamcompat is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable

from adamcompat.installation.frameworks import Recipe, drop_ins
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.originals import originals

_TF, _KERAS = "tf.", "tf.keras."
# TensorFlow's and tf_keras's public classes carry their public names as attributes.
_MARKS = "_api_names"


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return the recipes for the classes that can be replaced now; TensorFlow is imported.

    Args:
        loaded: returns whether a module is imported, and has finished with it.
    """
    # TensorFlow imports the Keras that its tf.keras is, and Keras imports TensorFlow.
    kerases = [name for name in ("keras", "tf_keras") if name in sys.modules]
    ready = {"tensorflow", *(kerases if all(map(loaded, kerases)) else ())}
    found = []
    for adapter, dialect in drop_ins("tensorflow"):
        packages = {original.package for original in originals().values() if original.dialect is dialect}
        if packages & ready:
            found.append(_recipe(adapter, dialect))
    return found


def _recipe(adapter: Adapter, dialect: Dialect) -> Recipe:
    public = next(name for name in dialect.names if name.startswith(_TF))
    # Files of Keras name a class by its public module.
    module = public.removeprefix(_TF).rpartition(".")[0] if public.startswith(_KERAS) else None
    steps = tuple(method.name for method in dialect.methods if method.role == "step")
    return Recipe(adapter, public, steps, module=module, marks=_MARKS)
