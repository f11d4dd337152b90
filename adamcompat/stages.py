"""Define what surrounds the update: each stage a small function over the same few operations.

Stages of the gradient take ``(g, p, a)`` and return the new gradient; stages of the parameter take
``(p, a, b)`` and return the new parameter. ``a`` and ``b`` are scalars (or arrays that broadcast).
Which stages a step has, and in which order, is a fact of the dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adamcompat.kernel import Operations, Value, stage_dtype
from adamcompat.mapping.model import Numerics


def make_stages(
    operations: Operations,
    minimum: Callable[[Value, Value], Value],
    once: Callable[[Value, Value, Value], Value] | None = None,
) -> tuple[Callable[..., Value], ...]:
    """Build the stages; their order is that of the codes in `program`.

    Args:
        operations: of the runtime.
        minimum: the smaller of two values; NaN wins.
        once: ``a*b + c`` rounded once; by default that of `operations`.
    """
    fma, maximum = operations.fma, operations.maximum
    fma_once = fma if once is None else once

    def multiply(g: Value, p: Value, a: Value) -> Value:
        return g * a

    def divide(g: Value, p: Value, a: Value) -> Value:
        return g / a

    def add_decay(g: Value, p: Value, a: Value) -> Value:
        return fma(p, a, g)

    def clip_value(g: Value, p: Value, a: Value) -> Value:
        return maximum(minimum(g, a), -a)

    def subtract(g: Value, p: Value, a: Value) -> Value:
        return g - a

    def decoupled_decay(p: Value, a: Value, b: Value) -> Value:
        return fma(-(p * a), b, p)

    def add_decay_once(g: Value, p: Value, a: Value) -> Value:
        return fma_once(p, a, g)

    def scale_parameter(p: Value, a: Value, b: Value) -> Value:
        return p * a

    return multiply, divide, add_decay, clip_value, subtract, decoupled_decay, add_decay_once, scale_parameter


def norm_factor(norm: Value, limit: Value, maximum: Callable[[Value, Value], Value]) -> Value:
    r"""Return what scales a gradient with L2 norm `norm` down to `limit`: :math:`c / \max(\|g\|, c)`."""
    return limit / maximum(norm, limit)


def global_norm_factor(norm: Value, limit: Value, maximum: Callable[[Value, Value], Value]) -> Value:
    """The factor for all gradients together; NaN for a norm that is not finite.

    TensorFlow's clip_by_global_norm does so too: the alternative is a silent step along garbage.
    """
    return norm_factor(norm, limit, maximum) + norm * 0


def stepwise_global_norm_factor(
    norm: Value, limit: Value, one: Value, minimum: Callable[[Value, Value], Value]
) -> Value:
    """The same as TensorFlow computes it, in the dtype of the gradients."""
    return limit * minimum(one / norm, one / limit) + norm * 0


def time_decayed(rate: Value, step: Value, decay: Value, one: Value) -> Value:
    r"""Return a learning rate after its decay over time: :math:`\eta / (1 + d t)`; all numbers of one dtype."""
    return rate / (one + decay * step)


def average_weights(momentum: float, numerics: Numerics, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The weights of the old average and of the parameter, in the dtype of the stages."""
    real = stage_dtype(numerics, dtype).type
    weight = real(momentum)
    return weight, real(1 - momentum) if numerics.surroundings == "once" else real(1) - weight


def average(old: Value, p: Value, momentum: Value, complement: Value) -> Value:
    """Exponential moving average of the parameters."""
    return momentum * old + complement * p
