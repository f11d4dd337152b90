"""Run the stages of a program over the operations of any runtime.

The methods use loops over tuples and nothing else that MindSpore's compiler does not read, so that one text runs on
NumPy, is traced by TensorFlow and is compiled by MindSpore.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from adamcompat.program import (
    CENTRALIZE,
    CLIP_NORM,
    DECAY,
    DECAYED_RATE,
    GLOBAL_CLIP_NORM,
    NAMES,
    NARROW_RATE,
    OF_DECAYING,
    RATE,
    RECIPROCAL_SCALE,
    SCALE_PARAMETER,
    Bound,
    Program,
    Scalar,
    Stages,
)
from adamcompat.stages import global_norm_factor, norm_factor, stepwise_global_norm_factor


class Interpreter:
    """Take gradients and parameters through the stages before the update.

    A lane is one gradient with its parameter, or many that share a pass, in whatever form the runtime holds them.
    Operations of a lane return the lane after them. A runtime supplies them in a subclass.

    Attributes:
        stepwise: whether numbers are rounded one by one, as in `Program`.
        lacks: codes of stages that the runtime does not run.
    """

    stepwise: bool
    lacks: tuple[int, ...] = ()

    def check(self, program: Program) -> None:
        """Refuse a program with stages that the runtime lacks.

        Args:
            program: the program that is to be run.

        Raises:
            NotImplementedError: the program has such stages; the text names them.
        """
        wanted = [code for code, _, _ in (*program.each_call, *program.stages)]
        if missing := [NAMES[code] for code in dict.fromkeys(wanted) if code in self.lacks]:
            raise NotImplementedError(
                f"{type(self).__name__} does not run {', '.join(missing)}: write it there, or leave the stage out of "
                f"what adamcompat/mapping/runtimes.py declares for the runtime"
            )

    def run(self, instructions: Any, lanes: Any) -> Any:
        """Return the lanes after some instructions, which are done one after the other for all lanes.

        Args:
            instructions: the stages, each with its numbers.
            lanes: all lanes of the step.
        """
        for instruction in instructions:
            norm = None
            if instruction[0] == GLOBAL_CLIP_NORM:
                norm = self.norm_of_all(lanes)
            lanes = self.each(instruction, lanes, norm)
        return lanes

    def each(self, instruction: Any, lanes: Any, norm: Any) -> Any:
        """Return all lanes after one instruction.

        Args:
            instruction: the stage, with its numbers.
            lanes: all lanes of the step.
            norm: the norm of all gradients together, where the instruction needs it; else None.
        """
        return [self.advanced(instruction, lane, norm) for lane in lanes]

    def advanced(self, instruction: Any, lane: Any, norm: Any) -> Any:
        """Return one lane after one instruction.

        Args:
            instruction: the stage, with its numbers.
            lane: the lane.
            norm: the norm of all gradients together, where the instruction needs it; else None.
        """
        code, a, b = instruction
        if code == CENTRALIZE:
            return self.centralized(lane)
        if code == CLIP_NORM:
            return self.clipped(lane, self.root(self.squares(lane)), self.constant(a))
        if code == GLOBAL_CLIP_NORM:
            return self.clipped_together(lane, norm, self.constant(a))
        return self.elementwise(lane, code, a, b)

    def clipped(self, lane: Any, norm: Any, limit: Any) -> Any:
        """Return a lane whose gradient is scaled down to at most a norm.

        Stepwise it is rounded as TensorFlow's clip_by_norm: ``g * limit / max(norm, limit)``, from left to right. Else
        it is multiplied by one factor.

        Args:
            lane: the lane.
            norm: the L2 norm of its gradient, in float64.
            limit: the largest norm that is allowed, in float64.
        """
        if self.stepwise:
            own = self.narrowed(lane, limit)
            return self.divided(self.multiplied(lane, own), self.maximum(self.narrowed(lane, norm), own))
        return self.multiplied(lane, norm_factor(norm, limit, self.maximum))

    def clipped_together(self, lane: Any, norm: Any, limit: Any) -> Any:
        """Return a lane whose gradient is scaled by the factor that all gradients have in common.

        Args:
            lane: the lane.
            norm: the L2 norm of all gradients together, in float64.
            limit: the largest norm that is allowed, in float64.
        """
        if self.stepwise:
            own, norm = self.narrowed(lane, limit), self.narrowed(lane, norm)
            return self.multiplied(lane, stepwise_global_norm_factor(norm, own, self.one(lane), self.minimum))
        return self.multiplied(lane, global_norm_factor(norm, limit, self.maximum))

    # The operations that a runtime supplies.

    def elementwise(self, lane: Any, code: int, a: Any, b: Any) -> Any:
        """Return a lane after a stage of one formula.

        Args:
            lane: the lane.
            code: the stage, one of the constants of `program`.
            a: its first scalar, which stands for a number in this step.
            b: its second scalar.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def multiplied(self, lane: Any, factor: Any) -> Any:
        """Return a lane whose gradient is multiplied by a number, rounded to the dtype of the stages.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def divided(self, lane: Any, divisor: Any) -> Any:
        """Return a lane whose gradient is divided by a number, rounded to the dtype of the stages.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def centralized(self, lane: Any) -> Any:
        """Return a lane whose gradient has lost its mean over all axes but the first.

        Where the group of a parameter does not ask for it, its gradient stays as it is.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def squares(self, lane: Any) -> Any:
        """Return the sum of squares of a lane's gradient, in float64.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def norm_of_all(self, lanes: Any) -> Any:
        """Return the L2 norm of all gradients together, in float64.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def constant(self, scalar: Any) -> Any:
        """Return the float64 number of a scalar that is the same in every step."""
        return scalar[0]

    def narrowed(self, lane: Any, number: Any) -> Any:
        """Return a number in the dtype of the lane's stages.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def one(self, lane: Any) -> Any:
        """Return 1 in the dtype of the lane's stages."""
        return self.narrowed(lane, 1.0)

    def root(self, number: Any) -> Any:
        """Return the square root of a number.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def maximum(self, one: Any, other: Any) -> Any:
        """Return the larger of two numbers; NaN wins.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError

    def minimum(self, one: Any, other: Any) -> Any:
        """Return the smaller of two numbers; NaN wins.

        Raises:
            NotImplementedError: the runtime does not supply it.
        """
        raise NotImplementedError


class StepNumbers:
    """Give the numbers of one step of one group by name; None stands for those that it does not have.

    Args:
        rate: the learning rate, in float64, or None.
        decay: the weight decay, in float64, or None.
        reciprocal_scale: one divided by the loss scale, or None.
        narrow: rounds a number to float32 and back.
    """

    def __init__(
        self,
        rate: Any = None,
        decay: Any = None,
        reciprocal_scale: Any = None,
        narrow: Callable[[Any], Any] = lambda number: float(np.float32(number)),
    ) -> None:
        self._known = {RATE: rate, DECAY: decay, RECIPROCAL_SCALE: reciprocal_scale}
        self._narrow = narrow

    def __getitem__(self, name: str) -> Any:
        known, rate, decay = self._known, self._known[RATE], self._known[DECAY]
        if name not in known:
            if name == DECAYED_RATE:
                known[name] = None if rate is None or decay is None else decay * rate
            else:
                number = rate if name == NARROW_RATE else decay
                known[name] = None if number is None else self._narrow(number)
        return known[name]


def value_of(scalar: Any, numbers: StepNumbers) -> Any:
    """Return the number that a scalar stands for in a step; None where the step has none.

    Args:
        scalar: a factor and the name of a number of the step, as in `Program`.
        numbers: the numbers of the step.

    >>> value_of(Scalar(0.5, RATE), StepNumbers(rate=0.25))
    0.125
    """
    factor, times = scalar
    number = None if times is None else numbers[times]
    if times is None or number is None:
        return factor if times is None else None
    return number if factor == 1 else factor * number


def bind(code: int, a: Scalar, b: Scalar, numbers: StepNumbers, *, decays: bool) -> Stages:
    """Return a stage of one formula with its numbers of a step.

    Args:
        code: the stage, one of the constants of `program`.
        a: its first scalar.
        b: its second scalar.
        numbers: the numbers of the step.
        decays: whether weight decay reaches the tensor.

    Returns:
        The stage alone in a tuple; an empty tuple where the step has no number for it, or where it is a decay that does
        not reach the tensor.
    """
    one, other = value_of(a, numbers), value_of(b, numbers)
    if one is None or other is None or (code in OF_DECAYING and not decays):
        return ()
    if code == SCALE_PARAMETER:
        # Subtracted in float64, before it is rounded.
        one = 1.0 - one
    return (Bound(code, one, other),)
