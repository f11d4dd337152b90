"""Run several optimizers on the same weights and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adamcompat.comparison.asked import RECORDED, Optimizer, check, parsed
from adamcompat.comparison.explain import Kept, explain
from adamcompat.comparison.measure import Distance, Scales, distance
from adamcompat.comparison.models import effective, model_of
from adamcompat.comparison.result import Cause, Comparison, Pair, Point, Run
from adamcompat.comparison.streams import Stream, given_stream, load_stream, random_stream
from adamcompat.drive import Driver, Opened, prepare, start
from adamcompat.drive.numpy import EngineDriver, Model
from adamcompat.mapping import lens
from adamcompat.mapping.tables import MAPPING

Array = NDArray[Any]

STEPS = 1000
SHAPES = ((64, 32), (10,))
TOLERANCE = 2.0

# Parameters are kept after some steps, to be explained later; this bounds the memory that it takes.
_CHECKPOINTS = 50
_KEPT_BYTES = 2**28

# A distance that falls below this share of the last one falls visibly.
_FALL = 0.75


@dataclass(slots=True)
class _Runner:
    """Hold one optimizer while it runs."""

    label: str
    opened: Opened | None
    model: Model | None
    driver: Driver | None
    reference: EngineDriver | None
    parameters: list[Array] | None
    kept: dict[int, Sequence[Array]]
    to_float64: float = 0.0


def compare(
    *optimizers: Optimizer,
    steps: int | None = None,
    seed: int = 0,
    shapes: Sequence[tuple[int, ...]] = SHAPES,
    hyperparameters: Mapping[str, Any] | None = None,
    gradients: str | Path | Sequence[ArrayLike] | None = None,
    weights: Sequence[ArrayLike] | None = None,
    names: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    advance: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Send the same gradients through several optimizers, and say how far they drift apart, and why.

    Args:
        optimizers: at least two names as `adamcompat.drive.open_driver` takes them, with hyperparameters of their
            own in parentheses, as in ``"keras(epsilon=1e-8)"``, or as a pair ``("keras", {"epsilon": 1e-8})``.
            ``"recorded"`` stands for the parameters in a recording.
        steps: 1000 where gradients are drawn at random, else as many as there are.
        seed: of the random weights and gradients, at least 0.
        shapes: of the random parameters.
        hyperparameters: for all of them, by the names of any dialect. A name of an optimizer's own dialect keeps
            the meaning that it has there. With a recording, the recorded optimizer's own are the defaults.
        gradients: a file that `adamcompat.record` wrote, or one array for each of `weights` with the steps
            first. None means random.
        weights: the initial parameters for `gradients`.
        names: of the parameters, for `weights`.
        tolerance: the largest distance that counts as agreement, in spacings: units in the last place of the
            largest value that the tensor has had until then.
        advance: called with the number of steps done and their total.

    Returns:
        How each optimizer ran, and for each pair of them how far it is apart after each step, and why.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: fewer than two optimizers, an unknown optimizer or hyperparameter, gradients that do not
            fit, a file that is no recording.
        ModuleNotFoundError: a framework is not installed.

    >>> found = compare("float64(epsilon=1e-7)", "float64(epsilon=1e-8)", steps=10)
    >>> found.agree, found.pairs[0].sentences
    (False, ['epsilon: 1e-07 against 1e-08 explains 100% of it'])
    """
    # Everything is looked at before a framework is loaded.
    asked = [parsed(optimizer) for optimizer in optimizers]
    labels = [label for label, _, _ in asked]
    if len(asked) < 2:
        raise ValueError(f"got {len(asked)} optimizers; name at least two to compare")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{twice!r} is given twice; give one of them other hyperparameters, or leave it out")
    check(hyperparameters, tolerance, advance, gradients, weights, names)
    stream = _stream(steps, seed, shapes, gradients, weights, names)
    prepared = [_prepared(name, own, hyperparameters or {}, stream) for _, name, own in asked]
    runners = [_open(label, opened, stream) for label, opened in zip(labels, prepared, strict=True)]
    curves = _run(runners, stream, advance or (lambda done, total: None))
    runs = [
        Run(runner.label, effective(runner.model, stream.names), runner.to_float64, runner.parameters or [])
        for runner in runners
    ]
    pairs = [_pair(first, second, curves, stream, tolerance) for first, second in combinations(runners, 2)]
    return Comparison(stream.about, stream.steps, tolerance, runs, pairs)


def _stream(
    steps: int | None,
    seed: int,
    shapes: Sequence[tuple[int, ...]],
    gradients: str | Path | Sequence[ArrayLike] | None,
    weights: Sequence[ArrayLike] | None,
    names: Sequence[str] | None,
) -> Stream:
    if gradients is None:
        if weights is not None or names is not None:
            raise ValueError("weights and names belong to gradients that are given as arrays; give those too")
        return random_stream(shapes, STEPS if steps is None else steps, seed)
    if isinstance(gradients, (str, PathLike)):
        if weights is not None or names is not None:
            raise ValueError("a recording holds its own weights and names; leave them out")
        return load_stream(gradients, steps)
    if weights is None:
        raise ValueError("gradients given as arrays need the weights that they belong to")
    stream = given_stream(weights, gradients, names)
    if steps is not None and steps != stream.steps:
        raise ValueError(f"the gradients have {stream.steps} steps, but steps={steps}; leave it out")
    return stream


def _prepared(name: str, own: dict[str, Any], shared: Mapping[str, Any], stream: Stream) -> Opened | None:
    """Return what is to be run; None where it has been run already."""
    if name == RECORDED:
        if stream.recording is None:
            raise ValueError(f"{RECORDED!r} stands for the parameters of a recording; give one as gradients")
        if own:
            raise ValueError(f"{RECORDED!r} takes no hyperparameters: it has been run already")
        return None
    # Each is translated by itself, so that its own hyperparameters win over those for all, and these over the
    # recorded ones, whatever they are called.
    opened = prepare(name, {}, stream.names)
    for given in (_recorded_for(opened, stream), shared, own):
        part = prepare(name, given, stream.names, opened.native)
        opened = replace(
            part,
            own={**opened.own, **part.own},
            groups=part.groups or opened.groups,
        )
    return opened


def _open(label: str, opened: Opened | None, stream: Stream) -> _Runner:
    weights = [weight.copy() for weight in stream.weights]
    if opened is None:
        opened, model = _recorded(stream)
        reference = _reference(opened, model, stream) if opened is not None and model is not None else None
        return _Runner(label, opened, model, None, reference, weights, {})
    model = model_of(opened)
    driver = start(opened, weights)
    if stream.state is not None:
        driver.load(stream.state)
    return _Runner(label, opened, model, driver, _reference(opened, model, stream), weights, {})


def _recorded(stream: Stream) -> tuple[Opened, Model] | tuple[None, None]:
    """Return what was recorded, where the recording knows the optimizer's facts."""
    recording = stream.recording
    if recording is None or recording.driver is None or recording.hyperparameters is None:
        return None, None
    opened = prepare(recording.driver, recording.hyperparameters, stream.names)
    return opened, model_of(opened)


def _recorded_for(opened: Opened, stream: Stream) -> dict[str, Any]:
    """Return the hyperparameters of a recording, as far as an optimizer has a counterpart, by the optimizer's names."""
    recorded, _ = _recorded(stream)
    if recorded is None:
        return {}
    same = recorded.entry == opened.entry
    found = dict(recorded.own) if same else {}
    borrowed = (fact for _, fact in MAPPING.borrowed(recorded.adapter))
    known = lens.to_canonical(recorded.dialect, recorded.native, borrowed).items()
    here = {name: value for name, value in known if value is not None and opened.dialect.named(name) is not None}
    found |= lens.to_native(opened.dialect, here)
    groups = opened.dialect.named("parameters")
    if recorded.groups is not None and groups is not None:
        found[groups.name] = list(recorded.groups.entries)
    return found


def _reference(opened: Opened, model: Model, stream: Stream) -> EngineDriver:
    exact = replace(model, numerics=MAPPING.numerics["canonical"])
    driver = EngineDriver(opened, exact, [weight.astype(np.float64) for weight in stream.weights])
    if stream.state is not None:
        driver.load(stream.state)
    return driver


class _Curves(NamedTuple):
    """Hold what was measured step by step.

    Attributes:
        pairs: for each pair of labels the steps, counted from 1, and the distance after each.
        units: of the tensors, after the steps whose parameters are kept.
        doubled: for each pair the steps at which its distance falls because a unit has doubled.
    """

    pairs: dict[tuple[str, str], list[tuple[int, Distance]]]
    units: dict[int, list[float]]
    doubled: dict[tuple[str, str], list[int]]

    def add(self, pair: tuple[_Runner, _Runner], step: int, units: list[float], before: list[float]) -> None:
        """Measure a pair after a step.

        Args:
            pair: both have parameters.
            step: counted from 1.
            units: of the tensors.
            before: the units when the pair was measured last.
        """
        first, second = pair
        one, other = first.parameters or [], second.parameters or []
        found, curve = distance(one, other, units), self.pairs[first.label, second.label]
        if units != before and curve and found.spacings < _FALL * curve[-1][1].spacings:
            in_the_old = distance(one, other, before).spacings
            if found.spacings < _FALL * in_the_old:
                self.doubled[first.label, second.label].append(step)
        curve.append((step, found))


def _run(runners: list[_Runner], stream: Stream, advance: Callable[[int, int], None]) -> _Curves:
    """Run all of them side by side."""
    pairs = list(combinations(runners, 2))
    labels = [(first.label, second.label) for first, second in pairs]
    curves = _Curves({pair: [] for pair in labels}, {}, {pair: [] for pair in labels})
    checkpoints, scales = _checkpoints(stream, len(runners)), Scales(stream.weights)
    measured = dict.fromkeys(labels, scales.units)
    for step in range(stream.steps):
        gradients = stream.gradients(step)
        for runner in runners:
            if runner.driver is not None:
                runner.driver.step(gradients)
                runner.parameters = runner.driver.parameters()
            elif stream.recording is not None:
                runner.parameters = stream.recording.parameters_after(step + 1)
            if runner.reference is not None:
                runner.reference.step(gradients)
            scales.update(runner.parameters or ())
        units = scales.units
        for runner in runners:
            if runner.reference is not None and runner.parameters is not None:
                off = distance(runner.parameters, runner.reference.parameters(), units).spacings
                runner.to_float64 = max(runner.to_float64, off)
            if step + 1 in checkpoints and runner.parameters is not None:
                runner.kept[step + 1] = runner.parameters
                curves.units[step + 1] = units
        for label, (first, second) in zip(labels, pairs, strict=True):
            if first.parameters is not None and second.parameters is not None:
                curves.add((first, second), step + 1, units, measured[label])
                measured[label] = units
        advance(step + 1, stream.steps)
    return curves


def _checkpoints(stream: Stream, runners: int) -> set[int]:
    """Return the steps after which parameters are kept: spread over the orders of magnitude, the last among them."""
    size = sum(weight.nbytes for weight in stream.weights) * runners
    count = max(1, min(_CHECKPOINTS, _KEPT_BYTES // max(size, 1)))
    chosen = {round(float(step)) for step in np.geomspace(stream.steps, 1, count)}
    if stream.recording is not None:
        # A recording may have kept some steps only.
        chosen |= set(stream.recording.kept[-count:])
    return chosen


def _pair(first: _Runner, second: _Runner, curves: _Curves, stream: Stream, tolerance: float) -> Pair:
    curve = curves.pairs[first.label, second.label]
    if not curve:
        raise ValueError(f"{first.label} and {second.label} have no step in common: the recording kept no parameters")
    largest = max(found.spacings for _, found in curve)
    nearer = None
    if largest and first.reference and second.reference and first.to_float64 != second.to_float64:
        nearer = min((first, second), key=lambda runner: runner.to_float64).label
    agree = largest <= tolerance
    causes = [] if agree else _causes(first, second, curves, stream, tolerance)
    left = 1 - causes[-1].explained if causes else 1.0
    return Pair(
        first=first.label,
        second=second.label,
        spacings=largest,
        absolute=max(found.absolute for _, found in curve),
        at_the_end=curve[-1][1].spacings,
        first_step=next((step for step, found in curve if found.spacings), None),
        nearer=nearer,
        agree=agree,
        curve=[Point(step, *found) for step, found in curve],
        causes=causes,
        doubled=curves.doubled[first.label, second.label],
        unexplained=left if left * largest > tolerance else 0.0,
    )


def _causes(first: _Runner, second: _Runner, curves: _Curves, stream: Stream, tolerance: float) -> list[Cause] | None:
    if first.model is None or second.model is None or first.opened is None or not first.kept:
        return None
    curve = dict(curves.pairs[first.label, second.label])
    kept = {step: Kept(values, curves.units[step]) for step, values in second.kept.items() if step in curve}
    if not kept:
        return None
    whole = max(curve[step].spacings for step in kept)
    own = next(iter(first.kept.values()))
    weights = [weight.astype(array.dtype) for weight, array in zip(stream.weights, own, strict=True)]
    return explain(first.model, second.model, first.opened, weights, stream, kept, whole, tolerance)
