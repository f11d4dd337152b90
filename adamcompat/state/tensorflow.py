"""TensorFlow's optimizers, described for `adamcompat.state`.

A framework that is not loaded cannot have made an optimizer, so that none is imported to look.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from adamcompat.state.live import Live
from adamcompat.state.terms import StateError

# The class, by package and dotted name, and the function that describes its objects.
_CLASSES = (
    ("keras", "optimizers.Adam", "adamcompat.state.tensorflow_keras", "keras3"),
    ("tf_keras", "optimizers.Adam", "adamcompat.state.tensorflow_keras", "keras2"),
    ("tf_keras", "optimizers.legacy.Adam", "adamcompat.state.tensorflow_slots", "legacy"),
    ("tensorflow", "compat.v1.train.AdamOptimizer", "adamcompat.state.tensorflow_slots", "v1"),
)


def describe(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live | None:
    """One of TensorFlow's four kinds of Adam, or ours in MindSpore's style; None if it is something else."""
    if hasattr(optimizer, "inner_optimizer"):
        raise StateError(f"{type(optimizer).__name__} wraps an optimizer; pass its inner_optimizer")
    if hasattr(optimizer, "_inner_optimizers"):
        raise StateError(f"{type(optimizer).__name__} holds several optimizers; pass each of its optimizers")
    if type(optimizer).__module__.startswith("adamcompat."):
        ours = import_module("adamcompat.state.tensorflow_call")
        if isinstance(optimizer, ours.CallAdam):
            found: Live = ours.call(optimizer, parameters, session, build=build)
            return found
    for package, name, module, function in _CLASSES:
        kind: Any = sys.modules.get(package)
        for part in name.split("."):
            kind = getattr(kind, part, None)
        if isinstance(kind, type) and isinstance(optimizer, kind):
            live: Live = getattr(import_module(module), function)(optimizer, parameters, session, build=build)
            return live
    return None
