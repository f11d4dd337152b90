"""Treat gradients that hold some rows of a variable only (tf.IndexedSlices), some of them perhaps repeatedly."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class Scalable(tf.IndexedSlices):  # type: ignore[misc]
    """Hold rows that can be divided: Keras divides gradients by a loss scale, and TensorFlow's own rows refuse that."""

    def __truediv__(self, divisor: Any) -> Any:
        return tf.IndexedSlices(self.values / divisor, self.indices, self.dense_shape)


def deduplicate(gradient: Any) -> Any:
    """Return IndexedSlices with each index once, in order of appearance; values of one index are added up."""
    values = tf.convert_to_tensor(gradient.values)
    indices = tf.convert_to_tensor(gradient.indices)
    if indices.dtype not in (tf.int32, tf.int64):
        indices = tf.cast(indices, tf.int64)
    unique, position = tf.unique(indices)
    total = tf.math.unsorted_segment_sum(values, position, tf.shape(unique)[0])
    shape = gradient.dense_shape
    return tf.IndexedSlices(total, unique, None if shape is None else tf.convert_to_tensor(shape))


def may_repeat(gradient: Any) -> bool:
    """Return whether IndexedSlices hold a row twice, or may do so where a graph is built."""
    indices = tf.get_static_value(tf.convert_to_tensor(gradient.indices))
    if indices is None:
        return True
    if not np.issubdtype(indices.dtype, np.integer):
        return False
    indices = indices[indices >= 0]
    if not indices.size:
        return False
    if indices.max() < 8 * indices.size:
        return bool(np.bincount(indices).max() > 1)
    return bool(np.unique(indices).size < indices.size)


def fits(gradient: Any, variable: Any) -> bool:
    """Return False if a gradient is known to belong to a variable of another shape."""
    if not isinstance(gradient, tf.IndexedSlices):
        return True
    if not tf.TensorShape(np.shape(gradient.values))[1:].is_compatible_with(variable.shape[1:]):
        return False
    if gradient.dense_shape is None:
        return True
    shape = tf.get_static_value(tf.convert_to_tensor(gradient.dense_shape))
    return shape is None or tuple(shape) == tuple(variable.shape)


def well_formed(gradient: Any, shape: Any) -> bool:
    """Return whether eager IndexedSlices hold one row of a variable of that shape for each of their indices."""
    indices, values = np.asarray(gradient.indices), tf.TensorShape(np.shape(gradient.values))
    wanted = tf.TensorShape(indices.shape).concatenate(shape[1:])
    return indices.dtype in (np.int32, np.int64) and indices.ndim == 1 and values.is_compatible_with(wanted)


def broadcasts(own: Any, wanted: Any) -> bool:
    """Return whether a tensor of shape `own` becomes one of shape `wanted` by broadcasting."""
    pairs = zip(own[::-1], wanted[::-1], strict=False)
    return len(own) <= len(wanted) and all(size in (1, other) for size, other in pairs)


def dense(gradient: Any, shape: Any) -> Any:
    """Return a gradient as a tensor of that shape; rows of IndexedSlices with the same index are added up."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient = _summed(gradient.values, gradient, shape)
    gradient = tf.convert_to_tensor(gradient)
    return gradient if gradient.shape == shape else tf.broadcast_to(gradient, shape)


def dense_and_square(gradient: Any, shape: Any, dtype: Any, zero: Any = None) -> tuple[Any, Any]:
    """Return rows, and their squares, as tensors of a variable's shape.

    Each row is squared before the rows of one index add up.

    Args:
        gradient: IndexedSlices.
        shape: of the variable, whose first size is the number of rows.
        dtype: the dtype to compute in.
        zero: inside XLA, a zero that keeps the product and the sum after it apart; else None.
    """
    values = tf.cast(gradient.values, dtype)
    square = tf.square(values) if zero is None else tf.square(values) + zero
    return _summed(values, gradient, shape), _summed(square, gradient, shape)


def by_index(gradient: Any, dtype: Any) -> tuple[Any, Any, Any]:
    """Return the indices of IndexedSlices, each once, and for each the sum of its rows and of their squares.

    Negative indices are left out, as in a dense gradient.

    Args:
        gradient: IndexedSlices.
        dtype: the dtype to compute in.
    """
    values, indices = tf.cast(gradient.values, dtype), tf.convert_to_tensor(gradient.indices)
    kept = indices >= 0
    values, indices = tf.boolean_mask(values, kept), tf.boolean_mask(indices, kept)
    unique, position = tf.unique(indices)
    count = tf.shape(unique)[0]
    sums = (tf.math.unsorted_segment_sum(one, position, count) for one in (values, tf.square(values)))
    return unique, *sums


def _summed(values: Any, gradient: Any, shape: Any) -> Any:
    values, indices = tf.convert_to_tensor(values), tf.convert_to_tensor(gradient.indices)
    return tf.math.unsorted_segment_sum(values, indices, shape[0])
