"""What surrounds the update: each stage a small function over the same few operations.

Stages of the gradient take ``(g, p, a)`` and return the new gradient; stages of the parameter take
``(p, a, b)`` and return the new parameter. ``a`` and ``b`` are scalars (or arrays that broadcast).
Which stages a step has, and in which order, is a fact of the dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.kernel import Operations, Value, stage_dtype
from adamcompat.mapping.model import Numerics


def make_stages(operations: Operations, minimum: Callable[[Value, Value], Value]) -> tuple[Callable[..., Value], ...]:
    """Build the stages; their order is the order of the codes below."""
    maximum = operations.maximum

    def multiply(g: Value, p: Value, a: Value) -> Value:
        return g * a

    def divide(g: Value, p: Value, a: Value) -> Value:
        return g / a

    def add_decay(g: Value, p: Value, a: Value) -> Value:
        return p * a + g

    def clip_value(g: Value, p: Value, a: Value) -> Value:
        return maximum(minimum(g, a), -a)

    def subtract(g: Value, p: Value, a: Value) -> Value:
        return g - a

    def decoupled_decay(p: Value, a: Value, b: Value) -> Value:
        return p - p * a * b

    return multiply, divide, add_decay, clip_value, subtract, decoupled_decay


MULTIPLY, DIVIDE, ADD_DECAY, CLIP_VALUE, SUBTRACT, DECOUPLED_DECAY = range(6)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One stage with its scalars, ready to be applied to a tensor.

    Attributes:
        code: which stage.
        a, b: its scalars, in float64; executors round them to the arithmetic dtype. For SUBTRACT,
            `a` holds one value for each index of the first axis; in a batch it may hold one for each
            tensor.
    """

    code: int
    a: Any
    b: Any = 1.0

    @property
    def scalar(self) -> bool:
        """Whether the stage needs nothing but scalars."""
        return self.code != SUBTRACT


Program = Sequence[Instruction]


def clip_factors(norm: Any, limit: float, real: Callable[[Any], Any], *, stepwise: bool) -> list[Instruction]:
    r"""Scale a gradient with L2 norm `norm` down to `limit`: :math:`g \cdot c / \max(\|g\|, c)`.

    Merged into one factor, or as TensorFlow's clip_by_norm does it: a product and a quotient.

    Args:
        norm: one norm, or an array with one for each tensor of a batch.
        limit: the largest norm allowed.
        real: rounds to the dtype of the stages.
        stepwise: whether to do as TensorFlow.
    """
    with np.errstate(all="ignore"):
        if stepwise:
            divisor = np.maximum(real(norm), real(limit)).astype(np.float64)
            return [Instruction(MULTIPLY, limit), Instruction(DIVIDE, divisor)]
        return [Instruction(MULTIPLY, np.where(np.less_equal(norm, limit), 1.0, np.divide(limit, norm)))]


def global_clip_factor(norm: float, limit: float, real: Callable[[Any], Any], *, stepwise: bool) -> list[Instruction]:
    r"""Scale every gradient by :math:`c / \max(\|g\|, c)`, where the norm is that of all together.

    A norm that is not finite makes every gradient NaN, as TensorFlow's clip_by_global_norm does:
    the alternative is a silent step along garbage.
    """
    if not np.isfinite(norm):
        return [Instruction(MULTIPLY, float("nan"))]
    if stepwise:
        with np.errstate(all="ignore"):
            one, bound, total = real(1), real(limit), real(norm)
            factor = bound * min(one / total, one / bound)
        return [Instruction(MULTIPLY, float(factor))]
    return [Instruction(MULTIPLY, min(1.0, limit / norm) if norm else 1.0)]


def average_weights(momentum: float, numerics: Numerics, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The weights of the old average and of the parameter, in the dtype of the stages."""
    real = stage_dtype(numerics, dtype).type
    weight = real(momentum)
    return weight, real(1 - momentum) if numerics.surroundings == "once" else real(1) - weight


def average(old: Value, p: Value, momentum: Value, complement: Value) -> Value:
    """Exponential moving average of the parameters."""
    return momentum * old + complement * p
