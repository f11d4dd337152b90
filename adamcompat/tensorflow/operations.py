"""TensorFlow's operations for the update and the stages, and where they run: eagerly, in a graph, inside XLA."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from adamcompat.kernel import Operations
from adamcompat.program import DECOUPLED_DECAY
from adamcompat.stages import make_stages

# What can be updated here.
FLOATS = frozenset((tf.float16, tf.bfloat16, tf.float32, tf.float64))


def arithmetic(dtype: Any) -> Any:
    """Return the dtype in which variables of `dtype` are updated: float32 for bfloat16, which rounds 0.999 to 1."""
    return tf.float32 if dtype == tf.bfloat16 else dtype


def in_float32(create: Any, **arguments: Any) -> Any:
    """Create a variable in float32; for tf.variable_creator_scope.

    Args:
        create: the next creator, which makes the variable.
        arguments: of `create`, by name. The initial value is rounded to float32.
    """
    initial = arguments["initial_value"]
    value = tf.cast(initial() if callable(initial) else initial, tf.float32)
    return create(**{**arguments, "initial_value": value, "dtype": tf.float32})


def narrow(variables: Iterable[Any]) -> list[Any]:
    """Return the variables of bfloat16."""
    return [variable for variable in variables if variable.dtype == tf.bfloat16]


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of two tensors, and NaN where the second is NaN: XLA's own maximum loses it."""
    larger = tf.maximum(a, b)
    return tf.where(tf.math.is_nan(b), b, larger) if inside_xla() else larger


def separate(barrier: Callable[[Any], Any]) -> Operations:
    """Return operations that round products and sums one by one.

    Args:
        barrier: takes each product before it is added to something, and returns the same number. It may keep a compiler
            from contracting the two.
    """
    return Operations(
        fma=lambda a, b, c: barrier(a * b) + c,
        blend=lambda a, x, b, y: barrier(a * x) + barrier(b * y),
        sqrt=tf.sqrt,
        maximum=maximum,
        widen=lambda x: x,
        multiply=lambda a, b: barrier(a * b),
    )


def negative_zero(iterations: Any, dtype: Any) -> Any:
    """Return -0.0, which added changes nothing, as a tensor that no compiler can fold.

    Args:
        iterations: the step counter, a tensor or variable of whole numbers from 0 up to but without 2**62.
        dtype: of the result.
    """
    return -tf.cast(tf.bitwise.right_shift(tf.cast(iterations, tf.int64), tf.constant(62, tf.int64)), dtype)


def barred(zero: Any) -> Operations:
    """Return operations for XLA: each product is followed by the addition of `zero`, a `negative_zero`.

    Contracted or not, that leaves the rounded product, and the sum after it is rounded on its own.
    """
    return separate(lambda product: product + zero)


def make_decoupled_decay(operations: Operations) -> Callable[[Any, Any, Any], Any]:
    """Return the stage that decays a variable ``p``: ``p - p weight_decay learning_rate``.

    Args:
        operations: how products and sums are rounded.

    Returns:
        A function of the variable, the weight decay and the learning rate.
    """
    return make_stages(operations, tf.minimum)[DECOUPLED_DECAY]


PLAIN = separate(lambda product: product)
decoupled_decay = make_decoupled_decay(PLAIN)


def moving_average(old: Any, variable: Any, momentum: Any, iterations: Any) -> Any:
    """Return the next value of the moving average of a variable, inside XLA::

        momentum old + (1 - momentum) variable

    Args:
        old: the average before the step.
        variable: the variable, of the same shape and dtype.
        momentum: weight of the old average, in [0, 1], of the same dtype.
        iterations: the step counter, which keeps XLA from contracting products and sums.

    Returns:
        A tensor of that shape and dtype.
    """
    blend = barred(negative_zero(iterations, variable.dtype)).blend
    return blend(momentum, old, 1 - momentum, variable)


def unrecorded() -> AbstractContextManager[None]:
    """Return a context in which no gradient tape of the user's records the call of a function in eager execution.

    Recorded, a function is differentiated when it is called, which fails for a loop of XLA, and it looks for the
    variables that it was traced with. No gradient passes through an update: it is written into variables.
    """
    context: AbstractContextManager[None] = tf.init_scope()
    return context


def inside_xla() -> bool:
    """Return whether the graph being traced will be compiled by XLA because the user asked for it."""
    if tf.executing_eagerly():
        return False
    from tensorflow.python.framework import ops
    from tensorflow.python.ops import control_flow_util

    return bool(control_flow_util.GraphOrParentsInXlaContext(ops.get_default_graph()))


def in_session_graph() -> bool:
    """Return whether operations now go to a graph that runs in a Session."""
    return not tf.executing_eagerly() and not getattr(tf.compat.v1.get_default_graph(), "building_function", False)
