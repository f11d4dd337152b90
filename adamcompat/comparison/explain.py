"""Find the facts that explain why two optimizers differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adamcompat.comparison.measure import distance
from adamcompat.comparison.models import Difference, differences, spread
from adamcompat.comparison.result import Cause
from adamcompat.comparison.streams import Stream
from adamcompat.drive.driver import Opened
from adamcompat.drive.numpy import EngineDriver, Model

Array = NDArray[Any]

# A cause that explains less than this is not named, and with less than this left the search ends.
_SMALLEST_SHARE = 0.001


class Kept(NamedTuple):
    """Hold parameters after a step, and the units of their tensors then.

    Attributes:
        parameters: one array a parameter.
        units: one a parameter, see `measure.Scales`.
    """

    parameters: Sequence[Array]
    units: Sequence[float]


def explain(
    here: Model,
    there: Model,
    opened: Opened,
    start: Sequence[Array],
    stream: Stream,
    kept: dict[int, Kept],
    whole: float,
    tolerance: float,
) -> list[Cause]:
    """Give the first optimizer the facts of the second, the one that brings it nearest first.

    Args:
        here: the first optimizer's facts; it is repeated by the NumPy runtime.
        there: the second one's.
        opened: the first as it was driven, for names.
        start: the weights that it began with, in its dtype.
        stream: the gradients.
        kept: the second one's parameters after some steps, counted from 1.
        whole: the distance of the two at those steps, in spacings.
        tolerance: the search ends when the distance is within it, in spacings.

    Returns:
        The facts that explain the difference, in the order in which they were given. Each holds the share of `whole`
        that is gone with it and those before it: ``1 - distance / whole``. A fact that explains less than 0.1% is left
        out.
    """
    if here.groups or there.groups:
        here, there = spread(here, opened.names), spread(there, opened.names)
    left = differences(here, there, opened.names)
    causes: list[Cause] = []
    model, nearest = here, whole
    while left and nearest > tolerance and nearest > _SMALLEST_SHARE * whole:
        tried = [(_distance(difference.apply(model), opened, start, stream, kept), difference) for difference in left]
        best, chosen = min(tried, key=lambda pair: pair[0])
        if best > nearest - _SMALLEST_SHARE * whole:
            break
        model, nearest = chosen.apply(model), best
        left = [difference for difference in left if difference is not chosen]
        causes.append(_cause(chosen, 1 - nearest / whole if whole < np.inf else 1.0))
    return causes


def _cause(difference: Difference, explained: float) -> Cause:
    return Cause(difference.name, difference.here, difference.there, explained, list(difference.weights))


def _distance(model: Model, opened: Opened, start: Sequence[Array], stream: Stream, kept: dict[int, Kept]) -> float:
    driver = EngineDriver(opened, model, [weight.copy() for weight in start])
    if stream.state is not None:
        driver.load(stream.state)
    found = 0.0
    for step in range(max(kept)):
        driver.step(stream.gradients(step))
        if step + 1 in kept:
            wanted = kept[step + 1]
            found = max(found, distance(driver.parameters(), wanted.parameters, wanted.units).spacings)
    return found
