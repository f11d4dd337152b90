"""Probe the semantics of an original, and in which order its step does what it does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from adamcompat.mapping import vocabulary
from adamcompat.mapping.model import Form
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import RowSparse
from adamcompat.stages import average
from adamcompat.verify import models
from adamcompat.verify.experiment import ACTIVE, BASE, COMPANIONS, fitting, stream
from adamcompat.verify.original import Array, NoSuchParameterError, Original

# The stages that carry out a hyperparameter, and which.
STAGES = {stage: canonical for stage, canonical in vocabulary.STAGES.items() if canonical is not None}
# Substrings of names that some framework or other leaves out of weight decay.
SKIP_CANDIDATES = ("beta", "gamma", "bias", "norm", "bn", "scale", "embedding", "weight", "kernel", "moving_mean")


def epsilon(original: Original) -> tuple[str, ...]:
    """Return the forms of epsilon that fit; with a gradient as small as it first steps differ by a factor of 16."""
    return tuple(dict.fromkeys(form.epsilon for form in forms(original)))


def bias_correction(original: Original) -> tuple[str, ...]:
    """Return which moments are corrected: without correction the first step is 3.16 times that of epsilon hat."""
    return tuple(dict.fromkeys(form.bias_correction for form in forms(original)))


def forms(original: Original) -> tuple[Form, ...]:
    """Return the forms of the update that fit, seen from one step."""
    given = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-5}
    weights, gradients = [np.zeros(1, np.float32)], [[np.full(1, 1e-5, np.float32)]]
    seen = original.trajectory(original.native(given), weights, gradients)
    return fitting(seen, {form: models.formula(given, weights, gradients, form=form) for form in models.FORMS})


def _form(original: Original) -> Form:
    """Return the form of the update, for what is predicted beside it."""
    return next(iter(forms(original)), models.FORMS[0])


def _decay(original: Original) -> str | None:
    """Return the canonical name of the weight decay that the original has, or None."""
    kinds = ("decoupled_weight_decay", "l2_weight_decay")
    return next((kind for kind in kinds if original.dialect.named(kind) is not None), None)


def decay_skips(original: Original) -> tuple[tuple[str, ...], ...]:
    """Return the parts of names whose weights decay leaves alone; a weight without gradient moves by its decay only.

    Returns:
        One tuple of those among the parts that were tried.
    """
    decay = _decay(original)
    if decay is None:
        return ((),)
    known = [part for dialect in MAPPING.dialects.values() for part in dialect.semantics.decay_skips]
    parts = tuple(dict.fromkeys([*SKIP_CANDIDATES, *known]))
    weights = [np.ones(1, np.float32) for _ in parts]
    names = [f"omega{i}_{part}_x" for i, part in enumerate(parts)]
    gradients = [[np.zeros(1, np.float32) for _ in parts]]
    seen = original.trajectory(original.native(BASE | {decay: 0.3}), weights, gradients, names)
    return (tuple(part for part, value in zip(parts, seen, strict=True) if value == 1),)


def amsgrad(original: Original) -> tuple[str, ...]:
    """Return whether the maximum is taken of raw or of corrected second moments.

    Returns:
        The forms that fit, of "raw_maximum", "corrected_maximum" and "none".
    """
    if original.dialect.named("amsgrad") is None:
        return ("none",)
    given = BASE | {"epsilon": 1e-4, "beta2": 0.99}
    weights, _ = stream()
    gradients = [[np.full(w.shape, size, np.float32) for w in weights] for size in (2.0, 1.0, 0.1, 0.1, 0.5)]
    seen = original.trajectory(original.native(given | {"amsgrad": True}), weights, gradients)
    own = _form(original)
    predictions = {form: models.formula(given, weights, gradients, form=own, amsgrad=form) for form in models.AMSGRAD}
    return fitting(seen, predictions)


def nesterov(original: Original) -> tuple[str, ...]:
    """Return the forms of the look-ahead that fit: "blend", "dozat" or "none"."""
    if original.dialect.named("nesterov") is None:
        return ("none",)
    weights, gradients = stream()
    seen = original.trajectory(original.native(BASE | {"nesterov": True}), weights, gradients)
    return fitting(seen, {form: models.formula(BASE, weights, gradients, nesterov=form) for form in models.NESTEROV})


def schedule_start(original: Original) -> tuple[int, ...]:
    """Return the steps that a schedule may see first, from 0 to 3, by the size of the first two steps.

    Raises:
        NoSuchParameterError: the framework has no schedules.
    """
    if original.growing is None:
        raise NoSuchParameterError("a schedule")
    factor = 0.01
    given = original.native({"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8})
    zeros, ones = [np.zeros(1, np.float32)], [np.ones(1, np.float32)]

    def steps(rate: Any) -> Array:
        found = original.trajectory(given | original.native({"learning_rate": rate}), zeros, [ones, ones])
        return np.diff(found.astype(np.float64), prepend=0)

    # How long the steps are at a rate of 1 depends on the bias correction.
    seen, unit = steps(original.growing(factor)), steps(1.0)
    predictions = {start: unit * factor * np.array([start + 1, start + 2]) for start in (0, 1, 2, 3)}
    return fitting(seen, predictions)


def average_start(original: Original) -> tuple[str, ...]:
    """Return the forms of the first value of the moving average that fit: "first_update", "initial" or "none".

    With an overwrite after each step the weights show it.
    """
    if original.dialect.named("use_ema") is None:
        return ("none",)
    more = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 1}
    weights, gradients = [np.ones(1, np.float32)], [[np.ones(1, np.float32)]]
    seen = original.trajectory(original.native(BASE | more), weights, gradients)
    moved = models.formula(BASE, weights, gradients)
    predictions = {"first_update": moved, "initial": average(np.ones(1), moved, 0.5, 0.5), "none": np.zeros(1)}
    return fitting(seen, predictions)


SEMANTICS = {
    "epsilon": epsilon,
    "bias_correction": bias_correction,
    "decay_skips": decay_skips,
    "amsgrad": amsgrad,
    "nesterov": nesterov,
    "schedule_start": schedule_start,
    "average_start": average_start,
}


def deduplicates(original: Original) -> bool:
    """Return whether rows that a sparse gradient holds twice are added up before they are squared."""
    rows = RowSparse(np.array([1, 1, 3]), np.array([[1.0], [2.0], [0.5]], np.float32))
    weights = [np.ones((4, 1), np.float32)]
    seen = original.trajectory(original.native(BASE), weights, [[rows], [rows]])
    summed = rows.dense((4, 1)).astype(np.float64)
    return bool(fitting(seen, {"summed": models.formula(BASE, weights, [[summed], [summed]])}))


def precedence(original: Original, stages: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Return the pairs of stages of which the first was seen to come before the second.

    Of two stages that commute, or that the original refuses together, neither comes first.

    Args:
        original: the class to ask.
        stages: those that it has.
    """
    weights, gradients = stream()
    found = set()
    # What acts on the parameters commutes with what acts on the gradients; both are set against the update.
    inner = [stage for stage in stages if stage in STAGES and stage not in ("decoupled_decay", "average")]
    pairs = [*itertools.combinations(inner, 2), *((stage, "update") for stage in stages if stage in STAGES)]
    for pair in pairs:
        given = dict(BASE)
        for stage in pair:
            if stage in STAGES:
                canonical = STAGES[stage]
                given |= COMPANIONS.get(canonical, {}) or {canonical: ACTIVE[canonical]}
        try:
            seen = original.trajectory(original.native(given), weights, gradients)
        except Exception:  # the two are refused together
            continue
        tail = () if "update" in pair else ("update",)
        numerics = MAPPING.numerics[original.dialect.numerics]
        orders = {
            order: models.ordered(original.dialect, numerics, (*order, *tail), given, weights, gradients)
            for order in (pair, pair[::-1])
        }
        fits = fitting(seen, orders)
        if len(fits) == 1:
            found.add(fits[0])
    return frozenset(found)
