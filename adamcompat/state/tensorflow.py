"""Describe TensorFlow's optimizers for `adamcompat.state`.

A framework that is not loaded cannot have made an optimizer, so that none is imported to look.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from adamcompat.mapping.originals import original_of
from adamcompat.state.live import Live
from adamcompat.state.terms import StateError

# The function that describes objects of a runtime's classes.
_FUNCTIONS = {
    "tensorflow": ("adamcompat.state.tensorflow_keras", "keras"),
    "tensorflow_legacy": ("adamcompat.state.tensorflow_slots", "legacy"),
    "tensorflow_v1": ("adamcompat.state.tensorflow_slots", "v1"),
}


def describe(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live | None:
    """Describe one of TensorFlow's and Keras's Adams, or one of adamcompat's in another framework's style.

    Args:
        optimizer: the optimizer, or anything else.
        parameters: the variables that it updates: a dictionary from names to them, or a sequence; None for those that
            it knows itself.
        session: the tf.compat.v1.Session for an optimizer in a graph; None for the current one, or in eager execution.
        build: whether an optimizer without state is built with `parameters`.

    Returns:
        The description; None if `optimizer` is something else.

    Raises:
        StateError: `optimizer` wraps another optimizer or holds several, `parameters` or `session` do not fit it, it
            has no state, or it keeps something unknown.
    """
    if hasattr(optimizer, "inner_optimizer"):
        raise StateError(f"{type(optimizer).__name__} wraps an optimizer; pass its inner_optimizer")
    if hasattr(optimizer, "_inner_optimizers"):
        raise StateError(f"{type(optimizer).__name__} holds several optimizers; pass each of its optimizers")
    if type(optimizer).__module__.startswith("adamcompat."):
        ours = import_module("adamcompat.state.tensorflow_call")
        if isinstance(optimizer, ours.StyledAdam):
            found: Live = ours.call(optimizer, parameters, session, build=build)
            return found
    original = original_of(type(optimizer))
    if original is None or original.runtime not in _FUNCTIONS:
        return None
    module, function = _FUNCTIONS[original.runtime]
    live: Live = getattr(import_module(module), function)(optimizer, original, parameters, session, build=build)
    return live
