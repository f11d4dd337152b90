"""Define what all probes start from: small experiments that tell the values of the mapping's grammar apart.

A probe drives an optimizer, stock or ours, on a few numbers and compares its trajectory with the
predictions of every alternative. It returns all values that fit: none of them is preferred, and
where nothing fits, nothing is returned.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from adamcompat.verify.original import Array

Key = TypeVar("Key", bound=Hashable)

# float32 arithmetic strays this far from float64 in a few steps of the stream.
NEAR = 2e-5


def halve(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Halve gradients, as a function that changes them: an original that takes such functions is probed with it.

    Args:
        pairs: gradients and parameters; a gradient may be None.
    """
    return [(None if gradient is None else gradient * 0.5, parameter) for gradient, parameter in pairs]


BASE: dict[str, Any] = {"learning_rate": 0.05, "beta1": 0.9, "beta2": 0.8, "epsilon": 0.01}
# Values at which each hyperparameter matters on the stream below.
ACTIVE: dict[str, Any] = {
    "loss_scale": 3.0,
    "accumulation_steps": 2,
    "l2_weight_decay": 0.3,
    "clip_norm": 0.7,
    "global_clip_norm": 0.6,
    "clip_value": 0.5,
    "decoupled_weight_decay": 0.3,
    "amsgrad": True,
    "nesterov": True,
    "inverse_time_decay": 0.3,
    "gradient_aggregator": halve,
    "gradient_transformers": (halve,),
    "maximize": True,
}
# What else must be given for a hyperparameter to have an effect.
COMPANIONS: dict[str, dict[str, Any]] = {
    name: {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}
    for name in ("use_ema", "ema_momentum", "ema_overwrite_frequency")
}
COMPANIONS["decouples_decay"] = {"l2_weight_decay": 0.3}


def stream(dtype: Any = np.float32, steps: int = 6, sizes: Sequence[int] = (3, 2)) -> tuple[list[Any], list[list[Any]]]:
    """Return weights, and gradients whose size goes up and down, so that limits and maxima take effect.

    Args:
        dtype: of all arrays.
        steps: the number of steps.
        sizes: the number of elements of each parameter; all have one axis.

    Returns:
        The weights, one array a parameter, and for each step the gradients, one array a parameter. All are drawn from
        the normal distribution with a fixed seed; the gradients of each step are scaled by 1, 2, 0.2, 0.5, 3 or 0.1, in
        turn.
    """
    rng = np.random.default_rng(5)
    scales = [1.0, 2.0, 0.2, 0.5, 3.0, 0.1]
    weights = [np.asarray(rng.standard_normal(size), dtype) for size in sizes]
    gradients = [
        [np.asarray(scales[step % 6] * rng.standard_normal(size), dtype) for size in sizes] for step in range(steps)
    ]
    return weights, gradients


def fitting(seen: Array, predictions: Mapping[Key, Array], near: float = NEAR, share: float = 1.0) -> tuple[Key, ...]:
    """Return the alternatives that explain what was seen: those with the same bits, else those within `near`.

    Args:
        seen: what was seen.
        predictions: what each alternative would do, in arrays of the shape of `seen`.
        near: the largest difference of an element of an alternative without the same bits.
        share: the share of the elements, from 0 to 1, that must have the same bits; where that is less than all, the
            alternatives are returned that have most of them.

    Returns:
        The keys of the alternatives that fit, in the order of `predictions`; empty where none does.

    >>> one, two = np.array([1.0]), np.array([2.0])
    >>> fitting(one, {"a": one, "b": two}), fitting(np.array([3.0]), {"a": one, "b": two})
    (('a',), ())
    """
    distances, shares = {}, {}
    for key, prediction in predictions.items():
        distance = np.abs(np.asarray(seen, np.float64) - np.asarray(prediction, np.float64))
        distances[key] = float(distance.max()) if np.isfinite(distance).all() else np.inf
        shares[key] = float(np.mean(distance == 0))
    same = tuple(key for key in predictions if shares[key] >= share and shares[key] == max(shares.values()))
    return same or tuple(key for key, distance in distances.items() if distance <= near)
