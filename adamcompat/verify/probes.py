"""Small experiments that tell the values of the mapping's grammar apart.

A probe drives an optimizer, stock or ours, on a few numbers and compares its trajectory with the
predictions of every alternative. It returns all values that fit: none of them is preferred, and
where nothing fits, nothing is returned.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np

from adamcompat.mapping import model
from adamcompat.mapping.model import Dialect, Form, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import RowSparse
from adamcompat.stages import average
from adamcompat.verify import models
from adamcompat.verify.original import Array, NoSuchParameterError, Original, hushed

Key = TypeVar("Key", bound=Hashable)

# The stages that carry out a hyperparameter, and which.
STAGES = {stage: canonical for stage, canonical in model.STAGES.items() if canonical is not None}
# What else must be given for a hyperparameter to have an effect.
COMPANIONS: dict[str, dict[str, Any]] = {
    name: {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2}
    for name in ("use_ema", "ema_momentum", "ema_overwrite_frequency")
}
# Substrings of names that some framework or other leaves out of weight decay.
SKIP_CANDIDATES = ("beta", "gamma", "bias", "norm", "bn", "scale", "embedding", "weight", "kernel", "moving_mean")


def halve(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Halve gradients: what a function of an original that changes them is probed with."""
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
}

# float32 arithmetic strays this far from float64 in a few steps of the stream.
NEAR = 2e-5


def stream(dtype: Any = np.float32, steps: int = 6, sizes: Sequence[int] = (3, 2)) -> tuple[list[Any], list[list[Any]]]:
    """Weights and gradients whose size goes up and down, so that limits and maxima take effect."""
    rng = np.random.default_rng(5)
    scales = [1.0, 2.0, 0.2, 0.5, 3.0, 0.1]
    weights = [np.asarray(rng.standard_normal(size), dtype) for size in sizes]
    gradients = [
        [np.asarray(scales[step % 6] * rng.standard_normal(size), dtype) for size in sizes] for step in range(steps)
    ]
    return weights, gradients


def fitting(seen: Array, predictions: Mapping[Key, Array], near: float = NEAR) -> tuple[Key, ...]:
    """The alternatives that explain what was seen: those with the same bits, else those within `near`.

    >>> one, two = np.array([1.0]), np.array([2.0])
    >>> fitting(one, {"a": one, "b": two}), fitting(np.array([3.0]), {"a": one, "b": two})
    (('a',), ())
    """
    distances = {}
    for key, prediction in predictions.items():
        distance = np.abs(np.asarray(seen, np.float64) - np.asarray(prediction, np.float64))
        distances[key] = float(distance.max()) if np.isfinite(distance).all() else np.inf
    same = tuple(key for key, distance in distances.items() if distance == 0)
    return same or tuple(key for key, distance in distances.items() if distance <= near)


def epsilon(original: Original) -> tuple[str, ...]:
    """Return the forms of epsilon that fit; with a gradient as small as it first steps differ by a factor of 16."""
    return tuple(dict.fromkeys(form.epsilon for form in _forms(original)))


def bias_correction(original: Original) -> tuple[str, ...]:
    """Return which moments are corrected: without correction the first step is 3.16 times that of epsilon hat."""
    return tuple(dict.fromkeys(form.bias_correction for form in _forms(original)))


def _forms(original: Original) -> tuple[Form, ...]:
    given = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-5}
    weights, gradients = [np.zeros(1, np.float32)], [[np.full(1, 1e-5, np.float32)]]
    seen = original.trajectory(original.native(given), weights, gradients)
    return fitting(seen, {form: models.formula(given, weights, gradients, form=form) for form in models.FORMS})


def _decay(original: Original) -> str | None:
    """Return which kind of weight decay there is."""
    kinds = ("decoupled_weight_decay", "l2_weight_decay")
    return next((kind for kind in kinds if original.dialect.named(kind) is not None), None)


def decay_skips(original: Original) -> tuple[tuple[str, ...], ...]:
    """Return which names weight decay leaves alone: a weight without gradient moves by its decay only."""
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
    """Return whether the maximum is taken of raw or of corrected second moments."""
    if original.dialect.named("amsgrad") is None:
        return ("none",)
    given = BASE | {"epsilon": 1e-4, "beta2": 0.99}
    weights, _ = stream()
    gradients = [[np.full(w.shape, size, np.float32) for w in weights] for size in (2.0, 1.0, 0.1, 0.1, 0.5)]
    seen = original.trajectory(original.native(given | {"amsgrad": True}), weights, gradients)
    return fitting(seen, {form: models.formula(given, weights, gradients, amsgrad=form) for form in models.AMSGRAD})


def nesterov(original: Original) -> tuple[str, ...]:
    """Return which look-ahead, if any."""
    if original.dialect.named("nesterov") is None:
        return ("none",)
    weights, gradients = stream()
    seen = original.trajectory(original.native(BASE | {"nesterov": True}), weights, gradients)
    return fitting(seen, {form: models.formula(BASE, weights, gradients, nesterov=form) for form in models.NESTEROV})


def schedule_start(original: Original) -> tuple[int, ...]:
    """The step that a schedule sees first: it is read off the size of the first two steps."""
    if original.growing is None:
        raise NoSuchParameterError("a schedule")
    factor = 0.01
    given = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    native = original.native(given) | original.native({"learning_rate": original.growing(factor)})
    ones = [np.ones(1, np.float32)]
    seen = original.trajectory(native, [np.zeros(1, np.float32)], [ones, ones])
    predictions = {
        start: np.array([-factor * (start + 1), -factor * (start + 1) - factor * (start + 2)]) for start in (0, 1, 2, 3)
    }
    return fitting(seen, predictions)


def average_start(original: Original) -> tuple[str, ...]:
    """The first value of the moving average: with an overwrite after each step the weights show it."""
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

# A step with every stage there is, for predictions that depend on no dialect.
_FULL: Dialect = dataclasses.replace(
    MAPPING.dialects["keras3"],
    stages=(
        "deduplicate",
        "unscale",
        "accumulate",
        "l2_decay",
        "clip_value",
        "clip_norm",
        "global_clip_norm",
        "decoupled_decay",
        "update",
        "average",
    ),
)


# What a parameter means.


def meaning(original: Original, name: str, flag: bool) -> tuple[str, ...]:
    """The canonical names that have the effect of a parameter.

    Several are returned where no number shows a difference, as between a lock and a label.
    """
    own = next((fact.canonical for fact in original.dialect.facts if fact.name == name), None)
    contexts = []
    for companions in ({}, COMPANIONS["use_ema"]):
        given = {key: value for key, value in {**BASE, **companions}.items() if key != own}
        with contextlib.suppress(NoSuchParameterError):
            contexts.append((given, original.native(given)))
    weights, gradients = stream()
    for value in (True,) if flag else (0.3, 2, "label", halve, (halve,)):
        try:
            seen = [original.trajectory(native | {name: value}, weights, gradients) for _, native in contexts]
        except Exception:  # the original may refuse what it likes; another kind of value is tried
            continue
        # Without an average its momentum does nothing; a model needs some number.
        effects = [_effects(tuple((BASE | {"ema_momentum": 0.5} | given).items()), value) for given, _ in contexts]
        fits = [set(fitting(one, predictions)) for one, predictions in zip(seen, effects, strict=True)]
        return tuple(sorted(set.intersection(*fits)))
    return ()


@cache
def _effects(given: tuple[tuple[str, Any], ...], value: Any) -> dict[str, Array]:
    """Return what becomes of the stream if any one canonical name of the right kind is given a value."""
    weights, gradients = models.exact(*stream())
    predictions = {}
    for canonical, entry in MAPPING.canonical.items():
        if entry.scope in ("hyperparameter", "label") and _kind(canonical) == _kind_of(value):
            full, used = dict(given), gradients
            if _kind(canonical) in ("function", "functions"):
                used = [[gradient for gradient, _ in halve([(g, None) for g in step])] for step in gradients]
            elif entry.scope != "label":
                full[canonical] = value
            with contextlib.suppress(Exception), hushed():
                predictions[canonical] = models.predicted(_FULL, models.CANONICAL, full, weights, used)
    return predictions


def _kind_of(value: Any) -> str:
    if callable(value):
        return "function"
    known = {bool: "flag", int: "integer", tuple: "functions"}
    return known.get(type(value), type(value).__name__)


def _kind(canonical: str) -> str:
    """The kind of values of a canonical name, in the words of `_kind_of`."""
    facts = [fact for dialect in MAPPING.dialects.values() for fact in dialect.facts if fact.canonical == canonical]
    kind = facts[0].type if facts else ""
    return {"text": "str"}.get(kind, kind if kind in ("flag", "integer", "function", "functions") else "float")


def read_as_default(
    original: Original, name: str, default: Any, beside: Mapping[str, Any], zero: float
) -> tuple[Any, ...]:
    """The values among None and 0 that an original takes for "not given".

    They do what the default does, and another number does not.

    Args:
        original: what to ask.
        name: of the parameter.
        default: its default; None where it is not given.
        beside: what must be given for the parameter to have an effect.
        zero: 0 as the parameter takes it.
    """
    own = next((fact.canonical for fact in original.dialect.facts if fact.name == name), None)
    native = original.native({key: value for key, value in BASE.items() if key != own}) | dict(beside)
    weights, gradients = stream()
    # From zero, with gradients of the size of an epsilon, every change of that shows.
    small = [0 * w for w in weights], [[g * np.float32(1e-6) for g in step] for step in gradients]

    def seen(value: Any) -> Array | None:
        given = native if value is default is None else native | {name: value}
        try:
            return np.concatenate([original.trajectory(given, *run) for run in ((weights, gradients), small)])
        except Exception:  # it refuses the value
            return None

    expected, others = seen(default), [seen(value) for value in (0.3, 2)]
    if expected is None or all(other is None or np.array_equal(expected, other) for other in others):
        return ()
    neutral = None if own is None else MAPPING.canonical[own].neutral
    candidates = [value for value in (None, zero) if value != default and (value is None or value != neutral)]
    return tuple(value for value in candidates if (run := seen(value)) is not None and np.array_equal(run, expected))


# Which options go together.


def conflicts(original: Original, switches: Mapping[str, Any]) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Pairs of options that exclude each other.

    raises: the original refuses the two together. ignores: both have an effect alone, and together
    there is only that of one of them.

    Args:
        original: what to ask.
        switches: options by their own names, each with a value at which it matters.

    Returns:
        What became of each pair that does not go together, and the exceptions that were raised.
    """
    weights, gradients = stream()
    base = original.native(BASE)
    plain = original.trajectory(base, weights, gradients)
    alone: dict[str, Array] = {}
    for name, value in switches.items():
        with contextlib.suppress(Exception):
            alone[name] = original.trajectory(base | {name: value}, weights, gradients)
    found: dict[tuple[str, str], str] = {}
    raised: list[str] = []
    for one, other in itertools.combinations(alone, 2):
        both = base | {one: switches[one], other: switches[other]}
        try:
            seen = original.trajectory(both, weights, gradients)
        except Exception as error:  # what the original raises is the finding
            found[one, other] = "raises"
            raised.append(type(error).__name__)
            continue
        works = [name for name in (one, other) if not np.array_equal(alone[name], plain)]
        if len(works) == 2 and any(np.array_equal(seen, alone[name]) for name in works):
            found[one, other] = "ignores"
    return found, raised


# What a step does, and in which order.


def deduplicates(original: Original) -> bool:
    """Return whether rows that a sparse gradient holds twice are added up before they are squared."""
    rows = RowSparse(np.array([1, 1, 3]), np.array([[1.0], [2.0], [0.5]], np.float32))
    weights = [np.ones((4, 1), np.float32)]
    seen = original.trajectory(original.native(BASE), weights, [[rows], [rows]])
    summed = rows.dense((4, 1)).astype(np.float64)
    return bool(fitting(seen, {"summed": models.formula(BASE, weights, [[summed], [summed]])}))


def precedence(original: Original, stages: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Pairs of stages of which the first was seen to come before the second.

    Of two stages that commute, or that the original refuses together, neither comes first.
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


# How it rounds.

ROUNDING: dict[str, tuple[str, ...]] = {
    "given": ("float64", "float32_rates", "float32"),
    "scalars": ("float64", "float32", "parameter"),
    "one_minus_beta": ("float64", "scalar"),
    "beta_power": ("power", "product"),
    "multiply_add": ("separate", "fused", "fused_blocks", "fused_wide"),
    "half": ("float16", "float32"),
    "unscale": ("quotient", "reciprocal"),
    "surroundings": ("once", "stepwise"),
    "decay": ("parameter", "update"),
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
    """For each key of the numerics, the values whose bits the original repeats, the others as mapped."""
    mapped = MAPPING.numerics[original.dialect.numerics]
    found: dict[str, tuple[str, ...]] = {}
    for dtype, more, near in _WORKOUTS:
        given = {**_ROUNDED, **more}
        weights, gradients = stream(dtype, steps=18, sizes=(13, 3))
        try:
            seen = original.trajectory(original.native(given), weights, gradients)
        except Exception:  # a dtype or an option that the original does not have
            continue
        for key, fits in _rounding(original.dialect, mapped, given, weights, gradients, seen, near):
            # A run that no value of this key explains differs in another key.
            if fits:
                before = found.get(key, ROUNDING[key])
                found[key] = tuple(value for value in before if value in fits)
    return {key: found.get(key, ()) for key in ROUNDING}


def _rounding(
    dialect: Dialect,
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
            changed = dataclasses.replace(mapped, **{key: value})
            if changed not in known:
                known[changed] = models.predicted(dialect, changed, given, weights, gradients)
            predictions[value] = known[changed]
        yield key, fitting(seen, predictions, near)
