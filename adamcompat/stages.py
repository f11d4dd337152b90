"""Define what surrounds the update: each stage a small function over the same few operations.

Stages of the gradient take ``(g, p, a)`` and return the new gradient; stages of the parameter take
``(p, a, b)`` and return the new parameter. ``a`` and ``b`` are scalars (or arrays that broadcast).
Which stages a step has, and in which order, is a fact of the dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.hyperparameters import Hyperparameters
from adamcompat.kernel import Operations, Value, stage_dtype
from adamcompat.mapping.model import Dialect, Numerics


def make_stages(operations: Operations, minimum: Callable[[Value, Value], Value]) -> tuple[Callable[..., Value], ...]:
    """Build the stages; their order is the order of the codes below."""
    fma, maximum = operations.fma, operations.maximum

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
        """Return whether the stage needs nothing but scalars."""
        return self.code != SUBTRACT


Program = Sequence[Instruction]


def _narrow(value: float) -> float:
    return float(np.float32(value))


def elementwise(
    stage: str,
    dialect: Dialect,
    numerics: Numerics,
    hyper: Hyperparameters,
    *,
    decays: bool,
    rate: Any,
    l2_decay: Any,
    narrow: Callable[[Any], Any] = _narrow,
) -> list[Instruction]:
    """The instructions of a stage that needs no reduction.

    Args:
        stage: one of the dialect's.
        dialect: whose order of stages to follow.
        numerics: how to round.
        hyper: the hyperparameters.
        decays: whether weight decay reaches the parameter.
        rate: the learning rate of the step.
        l2_decay: the L2 decay of the step, or None.
        narrow: rounds a number to float32; numbers may be tensors.

    Raises:
        NotImplementedError: no stage here has that name.
    """
    scale = hyper["loss_scale"]
    if stage == "unscale":
        if scale == 1:
            return []
        if numerics.unscale == "reciprocal":
            return [Instruction(MULTIPLY, 1 / scale)]
        return [Instruction(DIVIDE, scale)]
    if stage == "l2_decay":
        if not decays or l2_decay is None:
            return []
        # Decay does not depend on the loss scale, whichever comes first.
        order = dialect.stages
        before = "unscale" in order and order.index("l2_decay") < order.index("unscale")
        return [Instruction(ADD_DECAY, l2_decay * scale if before else l2_decay)]
    if stage == "clip_value":
        return [] if hyper["clip_value"] is None else [Instruction(CLIP_VALUE, hyper["clip_value"])]
    if stage == "decoupled_decay":
        decay = hyper["decoupled_weight_decay"]
        if not decays or not decay:
            return []
        if numerics.surroundings == "once":
            return [Instruction(DECOUPLED_DECAY, decay * rate)]
        return [Instruction(DECOUPLED_DECAY, narrow(decay), narrow(rate))]
    raise NotImplementedError(
        f"no instruction for the stage {stage!r}: add one to elementwise() in adamcompat/stages.py"
    )


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
        return [Instruction(MULTIPLY, norm_factor(norm, limit, np.maximum))]


def global_clip_factor(norm: float, limit: float, real: Callable[[Any], Any], *, stepwise: bool) -> list[Instruction]:
    """Scale every gradient by `global_norm_factor`."""
    with np.errstate(all="ignore"):
        if stepwise:
            factor = stepwise_global_norm_factor(real(norm), real(limit), real(1), np.minimum)
        else:
            factor = global_norm_factor(np.float64(norm), limit, np.maximum)
    return [Instruction(MULTIPLY, float(factor))]


def average_weights(momentum: float, numerics: Numerics, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The weights of the old average and of the parameter, in the dtype of the stages."""
    real = stage_dtype(numerics, dtype).type
    weight = real(momentum)
    return weight, real(1 - momentum) if numerics.surroundings == "once" else real(1) - weight


def average(old: Value, p: Value, momentum: Value, complement: Value) -> Value:
    """Exponential moving average of the parameters."""
    return momentum * old + complement * p
