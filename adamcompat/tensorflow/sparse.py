"""Gradients that hold some rows of a variable only (tf.IndexedSlices), some of them perhaps repeatedly."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


class Scalable(tf.IndexedSlices):  # type: ignore[misc]
    """Rows that can be divided: Keras divides gradients by a loss scale, and TensorFlow's own rows refuse that."""

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
    indices = indices[indices >= 0]
    if not indices.size:
        return False
    if indices.max() < 8 * indices.size:
        return bool(np.bincount(indices).max() > 1)
    return bool(np.unique(indices).size < indices.size)


def fits(gradient: Any, variable: Any) -> bool:
    """Return whether a gradient is not stated to be one of another shape of variable."""
    if not isinstance(gradient, tf.IndexedSlices) or gradient.dense_shape is None:
        return True
    shape = tf.get_static_value(tf.convert_to_tensor(gradient.dense_shape))
    return shape is None or tuple(shape) == tuple(variable.shape)


def dense(gradient: Any, shape: Any) -> Any:
    """Return a gradient as a tensor of that shape; rows of IndexedSlices with the same index are added up."""
    if isinstance(gradient, tf.IndexedSlices):
        gradient = _summed(gradient.values, gradient, shape)
    gradient = tf.convert_to_tensor(gradient)
    return gradient if gradient.shape == shape else tf.broadcast_to(gradient, shape)


def dense_and_square(gradient: Any, shape: Any, dtype: Any) -> tuple[Any, Any]:
    """Return a gradient and its square as Keras 3 forms them; the square is None where it is that of the gradient.

    Keras 3 squares each row of IndexedSlices before it adds up those with the same index.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return dense(gradient, shape), None
    values = tf.cast(gradient.values, dtype)
    return _summed(values, gradient, shape), _summed(tf.square(values), gradient, shape)


def _summed(values: Any, gradient: Any, shape: Any) -> Any:
    values, indices = tf.convert_to_tensor(values), tf.convert_to_tensor(gradient.indices)
    return tf.math.unsorted_segment_sum(values, indices, shape[0])
