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
    r"""Return the stages over some operations, in the order of the codes in `program`.

    With a gradient :math:`g`, a parameter :math:`p` and scalars :math:`a` and :math:`b` they compute, in this order:

    .. math::
        g a, \quad g / a, \quad g + p a, \quad \max(\min(g, a), -a), \quad
        g - a, \quad p - p a b, \quad g + p a, \quad p a

    Args:
        operations: the operations of the runtime.
        minimum: returns the smaller of two values; NaN wins.
        once: ``a*b + c`` rounded once, for the second of the two stages that add a decay; None means that of
            `operations`.

    Returns:
        The stages. Those of the gradient take ``(g, p, a)``; those of the parameter, the sixth and the last, take
        ``(p, a, b)``.
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
    r"""Return the factor that scales a gradient down to an L2 norm: :math:`c / \max(\|g\|, c)`.

    Args:
        norm: the L2 norm :math:`\|g\|` of the gradient, not negative.
        limit: the largest norm :math:`c` that is allowed, more than 0.
        maximum: returns the larger of two values; NaN wins.
    """
    return limit / maximum(norm, limit)


def global_norm_factor(norm: Value, limit: Value, maximum: Callable[[Value, Value], Value]) -> Value:
    r"""Return the factor that scales all gradients together down to an L2 norm: :math:`c / \max(n, c)`.

    It is NaN for a norm that is not finite. TensorFlow's clip_by_global_norm does so too: the alternative is a silent
    step along garbage.

    Args:
        norm: the L2 norm :math:`n` of all gradients together, not negative.
        limit: the largest norm :math:`c` that is allowed, more than 0.
        maximum: returns the larger of two values; NaN wins.

    Returns:
        The factor, at most 1.
    """
    return norm_factor(norm, limit, maximum) + norm * 0


def stepwise_global_norm_factor(
    norm: Value, limit: Value, one: Value, minimum: Callable[[Value, Value], Value]
) -> Value:
    r"""Return the factor of `global_norm_factor` rounded as TensorFlow's: :math:`c \min(1/n, 1/c)`.

    Args:
        norm: the L2 norm :math:`n` of all gradients together, in the dtype of the gradients.
        limit: the largest norm :math:`c` that is allowed, in the same dtype.
        one: 1 in the same dtype.
        minimum: returns the smaller of two values; NaN wins.

    Returns:
        The factor, at most 1 but for rounding; NaN for a norm that is not finite.
    """
    return limit * minimum(one / norm, one / limit) + norm * 0


def time_decayed(rate: Value, step: Value, decay: Value, one: Value) -> Value:
    r"""Return a learning rate after its decay over time: :math:`\eta / (1 + d t)`; all numbers of one dtype.

    Args:
        rate: the learning rate :math:`\eta`.
        step: the number :math:`t` of the step, in the dtype of the rate.
        decay: the decay :math:`d` for each step.
        one: 1 in the dtype of the rate.
    """
    return rate / (one + decay * step)


def average_weights(momentum: float, numerics: Numerics, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the weights of the old average and of the parameter in the moving average.

    Args:
        momentum: the weight of the old average, in [0, 1].
        numerics: how to round.
        dtype: the dtype of the parameters.

    Returns:
        The momentum, and one minus the momentum, each in the dtype of the stages.
    """
    real = stage_dtype(numerics, dtype).type
    weight = real(momentum)
    return weight, real(1 - momentum) if numerics.surroundings == "once" else real(1) - weight


def average(old: Value, p: Value, momentum: Value, complement: Value) -> Value:
    r"""Return the exponential moving average of the parameters: :math:`\mu\, a + (1 - \mu)\, p`.

    Args:
        old: the old average :math:`a`.
        p: the parameter, of the same shape.
        momentum: the weight :math:`\mu` of the old average, in [0, 1].
        complement: the weight of the parameter, one minus the momentum.
    """
    return momentum * old + complement * p
