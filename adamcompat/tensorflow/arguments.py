"""Checks of the arguments that a TensorFlow adapter was called with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.tables import MAPPING
from adamcompat.tensorflow import update

# Types of values that cannot change without being set anew.
FIXED = (bool, int, float, type(None), np.bool_, np.number)
_LARGEST = float(np.finfo(np.float32).max)
NO_GRADIENTS = (
    "No gradients provided for any variable: every gradient is None. Check that the loss is computed from the "
    "variables, inside the GradientTape"
)


def dialect_of(adapter: Adapter) -> Dialect:
    """The dialect that an adapter speaks."""
    return MAPPING.dialects[adapter.dialect]


class Moments(NamedTuple):
    """The names of one variable's state under a dialect."""

    m: str
    v: str
    vhat: str


def moments_of(dialect: Dialect) -> Moments:
    """What a dialect's ``get_slot`` calls the moments."""
    names = dialect.slot_names
    return Moments(names["first_moment"], names["second_moment"], names["maximum_second_moment"])


def is_tensor(value: Any) -> bool:
    """Whether TensorFlow or Keras holds the value, so that it cannot be looked at now."""
    return tf.is_tensor(value) or isinstance(value, tf.Variable) or hasattr(value, "_value")


def raw(variable: Any) -> Any:
    """The tf.Variable of a variable of Keras; anything else as it is."""
    return variable.value if hasattr(variable, "path") else variable


def is_number(value: Any) -> bool:
    """Return whether a value is a plain Python number that float32 can hold, infinity and NaN included.

    NumPy's numbers and tensors bring a dtype along, and so change what they are computed with.
    """
    if type(value) is float:
        return not _LARGEST < abs(value) < math.inf
    return type(value) is int and abs(value) <= 2**24


def is_scalar(value: Any) -> bool:
    """Return whether a learning rate is one number: Python's own, or in a tensor or variable without axes."""
    return value.shape.rank == 0 if isinstance(value, (tf.Tensor, tf.Variable)) else is_number(value)


def stand_still(*betas: Any) -> bool:
    """Return whether the original does not train bfloat16 variables with one of these betas, which becomes 1 there.

    A beta that is known only when a graph runs may be one of them.
    """
    return any(_as_bfloat16(beta() if callable(beta) else beta) == 1 for beta in betas)


def _as_bfloat16(beta: Any) -> Any:
    if isinstance(beta, tf.Variable):
        beta = beta.read_value() if tf.executing_eagerly() else None
    value = tf.get_static_value(beta) if tf.is_tensor(beta) else beta
    try:
        return tf.bfloat16.as_numpy_dtype(1 if value is None else value)
    except (TypeError, ValueError):  # the original will refuse it
        return None


def refuse_no_gradients(gradients: Iterable[Any]) -> None:
    """Refuse a step in which every gradient is None.

    Raises:
        ValueError: that is so.
    """
    found = list(gradients)
    if found and all(gradient is None for gradient in found):
        raise ValueError(NO_GRADIENTS)


def refuse_session(original: str) -> None:
    """Refuse to build a step in a graph that runs in a Session, where `original` would update nothing.

    Raises:
        RuntimeError: that is so.
    """
    if update.in_session_graph():
        raise RuntimeError(
            f"adamcompat.tensorflow.Adam needs eager execution or tf.function: in a graph that runs in a Session, "
            f"{original}'s optimizer would update nothing. Use adamcompat.tensorflow.v1.AdamOptimizer there, or "
            f"adamcompat.tensorflow.legacy.Adam"
        )
