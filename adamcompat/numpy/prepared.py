"""The stages before the update on NumPy: bundles take them as programs, which executors run in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import adamcompat.kernel as kernel
from adamcompat.interpreter import Interpreter, StepNumbers, bind
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.bundles import Bundle
from adamcompat.numpy.step import Step
from adamcompat.program import DIVIDE, MULTIPLY, Bound, Scalar


class Prepared(Interpreter):
    """Add each instruction to the programs of the bundles, with the numbers of one step.

    Args:
        numerics: how to round.
        step: the numbers of the step.
    """

    def __init__(self, numerics: Numerics, step: Step) -> None:
        self._numerics = numerics
        self.stepwise = step.program.stepwise
        self._numbers = {key: StepNumbers(rate, step.decays[key] or None) for key, rate in step.rates.items()}

    def elementwise(self, lane: Bundle, code: int, a: Scalar, b: Scalar) -> Bundle:
        """Add a stage of one formula to the programs of a bundle; a kind that the stage does not reach goes without it.

        Args:
            lane: the bundle, whose programs are replaced.
            code: the stage, one of the codes of `program`.
            a: the first number of its formula.
            b: the second number of its formula.

        Returns:
            The same bundle.
        """
        lane.programs = [
            (*program, *bind(code, a, b, self._numbers[id(kind.group)], decays=kind.decays))
            for kind, program in zip(lane.kinds, lane.programs, strict=True)
        ]
        return lane

    def multiplied(self, lane: Bundle, factor: Any) -> Bundle:
        """See `Interpreter`; the factor is a number, or one for each tensor."""
        lane.programs = [(*program, Bound(MULTIPLY, np.float64(factor))) for program in lane.programs]
        return lane

    def divided(self, lane: Bundle, divisor: Any) -> Bundle:
        """See `Interpreter`."""
        lane.programs = [(*program, Bound(DIVIDE, np.float64(divisor))) for program in lane.programs]
        return lane

    def centralized(self, lane: Bundle) -> Bundle:
        """See `Interpreter`."""
        lane.centralize()
        return lane

    def squares(self, lane: Bundle) -> Any:
        """See `Interpreter`."""
        return lane.squares()

    def norm_of_all(self, lanes: Sequence[Bundle]) -> Any:
        """See `Interpreter`."""
        return np.sqrt(np.float64(sum(float(np.sum(lane.squares())) for lane in lanes)))

    def narrowed(self, lane: Bundle, number: Any) -> Any:
        """See `Interpreter`."""
        return kernel.stage_dtype(self._numerics, lane.kinds[0].dtype).type(number)

    def root(self, number: Any) -> Any:
        """See `Interpreter`."""
        return np.sqrt(number)

    def maximum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return np.maximum(one, other)

    def minimum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return np.minimum(one, other)
