"""Check the gradients of a step with another framework's call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from adamcompat.tensorflow.arguments import raw
from adamcompat.tensorflow.call_state import label
from adamcompat.tensorflow.step import Member


def signature(gradient: Any) -> Any:
    """Return a key that differs where a gradient has a function traced anew: its dtypes and its shape."""
    if isinstance(gradient, tf.IndexedSlices):
        return gradient.values.dtype, tuple(gradient.values.shape), gradient.indices.dtype
    return gradient.dtype, tuple(gradient.shape)


def fitting(gradient: Any, variable: Any, error: Callable[[str], type[Exception]]) -> Any:
    """Return a gradient as a tensor or IndexedSlices, checked; None stays.

    Args:
        gradient: as it was given.
        variable: the variable that it belongs to.
        error: takes a kind of mistake, ``"wrong_type"`` or ``"wrong_gradients"``, and returns the exception for it.

    Raises:
        TypeError, ValueError: it does not fit.
    """
    if gradient is None:
        return None
    name, shape = label(variable), raw(variable).shape
    sparse = isinstance(gradient, tf.IndexedSlices)
    try:
        values = tf.convert_to_tensor(gradient.values if sparse else raw(gradient))
    except (TypeError, ValueError):
        raise error("wrong_type")(
            f"the gradient of {name!r} must be a tensor or IndexedSlices, got {type(gradient).__name__}"
        ) from None
    if not (values.dtype.is_floating or values.dtype.is_integer):
        raise error("wrong_type")(f"the gradient of {name!r} must hold real numbers, got {values.dtype.name}")
    indices = tf.convert_to_tensor(gradient.indices) if sparse else None
    wanted = shape if indices is None or not shape.rank else indices.shape[:1].concatenate(shape[1:])
    if not values.shape.is_compatible_with(wanted):
        raise error("wrong_gradients")(
            f"the gradient of {name!r} has shape {tuple(values.shape)}, but {tuple(wanted)} is needed"
        )
    if indices is None:
        return values
    if tf.executing_eagerly() and indices.shape[0]:
        least, most = int(tf.reduce_min(indices)), int(tf.reduce_max(indices))
        if least < 0 or most >= shape[0]:
            raise error("wrong_gradients")(
                f"the gradient of {name!r} names row {least if least < 0 else most}, but rows run from 0 to "
                f"{shape[0] - 1}"
            )
    return tf.IndexedSlices(values, indices, None)


def row_checks(gradients: Sequence[Any], members: Sequence[Member]) -> list[Any]:
    """Return the assertions on rows that must hold before a graph may write anything.

    Args:
        gradients: tensors or IndexedSlices; only the latter are checked.
        members: the variables, in the same order.
    """
    checks = []
    for member, gradient in zip(members, gradients, strict=True):
        if isinstance(gradient, tf.IndexedSlices):
            rows = tf.cast(gradient.indices, tf.int64)
            inside = tf.reduce_all((rows >= 0) & (rows < member.variable.shape[0]))
            message = f"the gradient of {member.variable.name!r} names a row that does not exist"
            checks.append(tf.debugging.Assert(inside, [message, gradient.indices]))
    return [check for check in checks if check is not None]
