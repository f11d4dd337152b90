"""Checks of the arguments that a TensorFlow adapter was called with."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from adamcompat.hyperparameters import resolve
from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING


def adapter_of(runtime: str, name: str) -> Adapter:
    """The adapter of that runtime and class name."""
    return next(entry for entry in MAPPING.adapters if (entry.runtime, entry.name) == (runtime, name))


def dialect_of(adapter: Adapter) -> Dialect:
    """The dialect that an adapter speaks."""
    return MAPPING.dialects[adapter.dialect]


def is_tensor(value: Any) -> bool:
    """Whether TensorFlow or Keras holds the value, so that it cannot be looked at now."""
    return tf.is_tensor(value) or isinstance(value, tf.Variable) or hasattr(value, "_value")


def check(adapter: Adapter, given: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Validate a call; what only the original can judge passes.

    Returns:
        The arguments by their own names, without the keywords that were not given.

    Raises:
        The dialect's exceptions for unknown keywords, wrong types and values out of range.
    """
    defaults = {fact.name: fact.default for fact in dialect_of(adapter).accepted}
    known = {name: defaults[name] if is_tensor(value) else value for name, value in given.items()}
    resolve(adapter, known, extra)
    return {**given, **extra}
