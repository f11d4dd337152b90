"""The stages of a program in the Python that MindSpore's compiler understands.

What a method reads from `self` is a constant of the compiled graph, except Parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore
from mindspore import Tensor, nn, ops

from adamcompat.interpreter import Interpreter
from adamcompat.mindspore.operations import SEPARATE, cast
from adamcompat.program import (
    ADD_DECAY,
    CENTRALIZE,
    DECOUPLED_DECAY,
    DIVIDE,
    MULTIPLY,
    NARROW_RATE,
    OF_DECAYING,
    RATE,
    Instruction,
)
from adamcompat.stages import make_stages

# A loop's turns are calls within calls to MindSpore's compiler, of which it allows 1,000: so many in a function.
TURNS = 32
_DOUBLE = mindspore.float64


def loaded(instructions: Sequence[Instruction]) -> tuple[Any, ...]:
    """Return instructions as MindSpore's compiler reads them, with their numbers in Tensors of float64.

    Numbers of Python would enter as float32.

    Raises:
        NotImplementedError: a number of the step is none that a graph knows.
    """
    wanted = {scalar.times for _, *scalars in instructions for scalar in scalars}
    if unknown := sorted(name for name in wanted - {None, RATE, NARROW_RATE} if name is not None):
        raise NotImplementedError(f"GraphStages knows no {', '.join(unknown)}: write it in GraphStages.number")
    return tuple(
        (code, (Tensor(a.factor, _DOUBLE), a.times), (Tensor(b.factor, _DOUBLE), b.times))
        for code, a, b in instructions
    )


class GraphStages(nn.Cell, Interpreter):  # type: ignore[misc]
    """Take all gradients and Parameters through the stages.

    A lane is a place, the gradient and the Parameter there, and the learning rate.

    Attributes:
        parts: places of Parameters, some at a time.
        around: the dtypes of the stages, by kind.
        kind: the kind of each Parameter.
        decays: whether weight decay reaches each.
    """

    parts: tuple[tuple[int, ...], ...]
    around: tuple[Any, ...]
    kind: tuple[int, ...]
    decays: tuple[bool, ...]
    # Nothing here has decays of groups, or means.
    lacks: tuple[int, ...] = (ADD_DECAY, CENTRALIZE)

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.formulas = make_stages(SEPARATE, ops.minimum)

    def over(self, function: Any, *given: Any) -> Any:
        """Return both results of a function for all parameters, some at a time: see `TURNS`.

        Args:
            function: takes the places of some parameters and what is given, and returns two tuples with an item for
                each.
            given: what else the function takes.

        Returns:
            Two tuples: the first results of all calls one after the other, and the second results.
        """
        first: Any = ()
        second: Any = ()
        for part in self.parts:
            one, other = function(part, *given)
            first += one
            second += other
        return first, second

    def each(self, instruction: Any, lanes: Any, norm: Any) -> Any:
        """Return the gradients, the parameters and the learning rate after one instruction.

        Args:
            instruction: its code and its two numbers, from `loaded`.
            lanes: all gradients, all parameters and the learning rate.
            norm: of all gradients together, where the instruction needs it; else None.

        Returns:
            A tuple like `lanes`.
        """
        gs, ps, rate = lanes
        gs, ps = self.over(self.part_advanced, gs, ps, rate, instruction, norm)
        return gs, ps, rate

    def part_advanced(self, part: Any, gs: Any, ps: Any, rate: Any, instruction: Any, norm: Any) -> Any:
        """Return the gradients and the parameters of some places after one instruction.

        Args:
            part: the places, numbers from 0.
            gs: the gradients of all parameters, in the dtype of the stages.
            ps: all parameters, in that dtype.
            rate: the learning rate, a Tensor of float64.
            instruction: its code and its two numbers, from `loaded`.
            norm: of all gradients together, where the instruction needs it; else None.
        """
        found: Any = ()
        others: Any = ()
        for i in part:
            lane = self.advanced(instruction, (i, gs[i], ps[i], rate), norm)
            found += (lane[1],)
            others += (lane[2],)
        return found, others

    def elementwise(self, lane: Any, code: int, a: Any, b: Any) -> Any:
        """Return a lane after a stage of one formula.

        Args:
            lane: a place, the gradient and the parameter there, and the learning rate.
            code: the stage, one of the codes of `program`.
            a: the first number of its formula: a factor, and the name of the step's number that it is multiplied by, or
                None.
            b: the second number of its formula, in the same form.

        Returns:
            A lane; the same where weight decay does not reach the parameter.
        """
        i, g, p, rate = lane
        if code in OF_DECAYING and not self.decays[i]:
            return lane
        one = self.number(lane, a)
        if code == DECOUPLED_DECAY:
            p = self.formulas[code](p, one, self.number(lane, b))
        else:
            g = self.formulas[code](g, p, one)
        return i, g, p, rate

    def number(self, lane: Any, scalar: Any) -> Any:
        """Return the number that a scalar stands for in this step, in the dtype of the lane's stages.

        Args:
            lane: a place, the gradient and the parameter there, and the learning rate.
            scalar: a factor, and the name of the step's number that it is multiplied by, or None.
        """
        factor, times = scalar
        if times == RATE:
            return self.narrowed(lane, lane[3] * factor)
        if times == NARROW_RATE:
            return self.narrowed(lane, cast(lane[3], mindspore.float32))
        return self.narrowed(lane, factor)

    def multiplied(self, lane: Any, factor: Any) -> Any:
        """See `Interpreter`."""
        i, g, p, rate = lane
        return i, self.formulas[MULTIPLY](g, p, self.narrowed(lane, factor)), p, rate

    def divided(self, lane: Any, divisor: Any) -> Any:
        """See `Interpreter`."""
        i, g, p, rate = lane
        return i, self.formulas[DIVIDE](g, p, self.narrowed(lane, divisor)), p, rate

    def narrowed(self, lane: Any, number: Any) -> Any:
        """See `Interpreter`."""
        return cast(number, self.around[self.kind[lane[0]]])

    def one(self, lane: Any) -> Any:
        """See `Interpreter`."""
        return Tensor(1.0, self.around[self.kind[lane[0]]])

    def squares(self, lane: Any) -> Any:
        """See `Interpreter`."""
        wide = cast(lane[1], _DOUBLE)
        return (wide * wide).sum()

    def norm_of_all(self, lanes: Any) -> Any:
        """See `Interpreter`."""
        gs, _, _ = lanes
        total = Tensor(0.0, _DOUBLE)
        for part in self.parts:
            total = self.squares_of(part, gs, total)
        return ops.sqrt(total)

    def squares_of(self, part: Any, gs: Any, total: Any) -> Any:
        """Return `total` plus the squares of some gradients.

        Args:
            part: the places of these gradients.
            gs: the gradients of all parameters.
            total: a sum so far, in float64.

        Returns:
            The new sum, in float64.
        """
        for i in part:
            total = total + self.squares((i, gs[i]))
        return total

    def root(self, number: Any) -> Any:
        """See `Interpreter`."""
        return ops.sqrt(number)

    def maximum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return ops.maximum(one, other)

    def minimum(self, one: Any, other: Any) -> Any:
        """See `Interpreter`."""
        return ops.minimum(one, other)
