"""Probe how an original rounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np

from adamcompat.mapping.model import Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.mapping.vocabulary import words
from adamcompat.verify import models
from adamcompat.verify.experiment import fitting, stream
from adamcompat.verify.original import Array, Original

ROUNDING: dict[str, tuple[str, ...]] = {
    field: words(kind) for field, kind in get_type_hints(Numerics).items() if field not in ("name", "extends", "about")
}

_ROUNDED: dict[str, Any] = {"learning_rate": 0.3123, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3}
# One run each: the dtype, what is given beside the rates, and how far the framework's own power may stray.
_WORKOUTS: tuple[tuple[Any, dict[str, Any], float], ...] = (
    (np.float32, {}, 0.0),
    (np.float32, {"loss_scale": 3.0}, 0.0),
    (np.float32, {"l2_weight_decay": 0.07}, 0.0),
    (np.float32, {"decoupled_weight_decay": 0.07}, 0.0),
    (np.float32, {"inverse_time_decay": 0.07}, 0.0),
    (np.float16, {"epsilon": 1e-2}, 0.0),
    (np.float16, {"epsilon": 1e-2, "l2_weight_decay": 0.07}, 0.0),
    (np.float64, {}, 1e-13),
    (np.float64, {"amsgrad": True}, 1e-13),
)


def numerics(original: Original) -> dict[str, tuple[str, ...]]:
    """Return for each key of the numerics the values whose bits the original repeats, the others as mapped.

    Args:
        original: the class to ask.
    """
    mapped = MAPPING.numerics[original.dialect.numerics]
    found: dict[str, tuple[str, ...]] = {}
    for dtype, more, near in _WORKOUTS:
        given = {**_ROUNDED, **more}
        # Where not all bits are met, many elements and few steps tell more.
        steps, sizes = (18, (13, 3)) if original.share == 1 else (3, (4003, 3))
        weights, gradients = stream(dtype, steps, sizes)
        try:
            seen = original.trajectory(original.native(given), weights, gradients)
        except Exception:  # a dtype or an option that the original does not have
            continue
        for key, fits in _rounding(original, mapped, given, weights, gradients, seen, near):
            # A run that no value of this key explains differs in another key.
            if fits:
                before = found.get(key, ROUNDING[key])
                found[key] = tuple(value for value in before if value in fits)
    return {key: found.get(key, ()) for key in ROUNDING}


def _rounding(
    original: Original,
    mapped: Numerics,
    given: Mapping[str, Any],
    weights: Sequence[Array],
    gradients: Sequence[Sequence[Any]],
    seen: Array,
    near: float,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    known: dict[Numerics, Array] = {}
    for key, values in ROUNDING.items():
        predictions = {}
        for value in values:
            changes: dict[str, Any] = {key: value}
            changed = dataclasses.replace(mapped, **changes)
            if changed not in known:
                known[changed] = models.predicted(original.dialect, changed, given, weights, gradients)
            predictions[value] = known[changed]
        yield key, fitting(seen, predictions, near, original.share)
