"""Probe what the parameters of an original mean, what they take for "not given", and which go together."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping, Set
from functools import cache
from typing import Any

import numpy as np

from adamcompat.mapping.model import Dialect, Form
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify import models
from adamcompat.verify.experiment import BASE, COMPANIONS, fitting, halve, stream
from adamcompat.verify.original import Array, NoSuchParameterError, Original, hushed
from adamcompat.verify.probes import forms

# A step with every stage there is, for predictions that depend on no dialect.
_FULL: Dialect = dataclasses.replace(
    MAPPING.dialects["keras3"],
    stages=(
        "deduplicate",
        "maximize",
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


def meaning(original: Original, name: str, flag: bool) -> tuple[str, ...]:
    """Return the canonical names that have the effect of a parameter.

    Several are returned where no number shows a difference, as between a lock and a label.

    Args:
        original: the class to ask.
        name: of the parameter, as the original spells it.
        flag: whether it is on or off; else numbers, a text and functions are tried.

    Returns:
        The names in alphabetical order; empty where the original refuses every value, or none has such an effect.
    """
    own = next((fact.canonical for fact in original.dialect.facts if fact.name == name), None)
    contexts = []
    for companions in dict.fromkeys(map(_frozen, ({}, COMPANIONS["use_ema"], COMPANIONS.get(str(own), {})))):
        given = {key: value for key, value in {**BASE, **dict(companions)}.items() if key != own}
        with contextlib.suppress(NoSuchParameterError):
            contexts.append((given, original.native(given)))
    weights, gradients = stream()
    for value in (True,) if flag else (0.3, 2, "label", halve, (halve,)):
        try:
            seen = [original.trajectory(native | {name: value}, weights, gradients) for _, native in contexts]
        except Exception:  # the original may refuse what it likes; another kind of value is tried
            continue
        # Without an average its momentum does nothing; a model needs some number.
        form = next(iter(forms(original)), models.FORMS[0])
        effects = [
            _effects(tuple((BASE | {"ema_momentum": 0.5} | given).items()), value, form) for given, _ in contexts
        ]
        fits = [set(fitting(one, predictions)) for one, predictions in zip(seen, effects, strict=True)]
        return tuple(sorted(set.intersection(*fits)))
    return ()


def _frozen(companions: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(companions.items())


@cache
def _effects(given: tuple[tuple[str, Any], ...], value: Any, form: Form) -> dict[str, Array]:
    """Return what becomes of the stream if any one canonical name of the right kind is given a value."""
    weights, gradients = models.exact(*stream())
    semantics = dataclasses.replace(_FULL.semantics, epsilon=form.epsilon, bias_correction=form.bias_correction)
    full_step = dataclasses.replace(_FULL, semantics=semantics)
    predictions = {}
    for canonical, entry in MAPPING.canonical.items():
        if entry.scope in ("hyperparameter", "label") and _kind(canonical) == _kind_of(value):
            full, used = dict(given), gradients
            if _kind(canonical) in ("function", "functions"):
                used = [[gradient for gradient, _ in halve([(g, None) for g in step])] for step in gradients]
            elif entry.scope != "label":
                full[canonical] = value
            with contextlib.suppress(Exception), hushed():
                predictions[canonical] = models.predicted(full_step, models.CANONICAL, full, weights, used)
    return predictions


def _kind_of(value: Any) -> str:
    if callable(value):
        return "function"
    known = {bool: "flag", int: "integer", tuple: "functions"}
    return known.get(type(value), type(value).__name__)


def _kind(canonical: str) -> str:
    """Return the kind of values of a canonical name, in the words of `_kind_of`."""
    facts = [fact for dialect in MAPPING.dialects.values() for fact in dialect.facts if fact.canonical == canonical]
    kind = facts[0].type if facts else ""
    return {"text": "str"}.get(kind, kind if kind in ("flag", "integer", "function", "functions") else "float")


def read_as_default(
    original: Original, name: str, default: Any, beside: Mapping[str, Any], zero: float
) -> tuple[Any, ...]:
    """Return the values among None and 0 that an original takes for "not given".

    They do what the default does, and another number does not.

    Args:
        original: the class to ask.
        name: of the parameter, as the original spells it.
        default: its default; None where it is not given.
        beside: native keywords that must be given for the parameter to have an effect.
        zero: 0 as the parameter takes it, as an int or a float.

    Returns:
        The values; empty also where the parameter has no effect on what is tried.
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


def conflicts(
    original: Original, switches: Mapping[str, Any], labels: Set[str] = frozenset()
) -> tuple[dict[tuple[str, str], str], list[str]]:
    """Find pairs of options that exclude each other.

    A pair "raises" where the original refuses the two together. It "ignores" where both have an effect alone, and
    together there is only that of one of them.

    Args:
        original: the class to ask.
        switches: options by their own names, each with a value at which it matters.
        labels: those that change no more than roundings, so that nothing shows whether they are ignored.

    Returns:
        For each pair that does not go together "raises" or "ignores", and the names of the exceptions that were raised.
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
        shows = [name for name in (one, other) if name not in labels]
        works = [name for name in shows if not np.array_equal(alone[name], plain)]
        if len(works) == 2 and any(np.array_equal(seen, alone[name]) for name in works):
            found[one, other] = "ignores"
    return found, raised
