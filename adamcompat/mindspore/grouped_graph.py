"""Make a step of an optimizer whose groups hold every setting, in the Python that MindSpore's compiler understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mindspore
from mindspore import Parameter, Tensor, ops

from adamcompat.interpreter import StepNumbers, value_of
from adamcompat.mapping.model import Numerics
from adamcompat.mindspore.grouped import Grouped, Setting
from adamcompat.mindspore.operations import cast
from adamcompat.mindspore.tf_graph import GraphStep, State
from adamcompat.program import CENTRALIZE, DECAY, Instruction, Program, Scalar


class GroupGraph(GraphStep):
    """Make the step of one group as a graph. The optimizer counts the steps.

    Args:
        own: the settings of the group with the program compiled from them.
        numerics: how to round.
        parameters: the Parameters of the group.
        state: the state of these Parameters.
        before: the value of the counter of steps before the first one.
    """

    # A decay of a group is a constant here.
    lacks: tuple[int, ...] = (CENTRALIZE,)

    def __init__(self, own: Setting, numerics: Numerics, parameters: Sequence[Any], state: State, before: int) -> None:
        super().__init__(_settled(own), numerics, None, parameters, [True] * len(parameters), state)
        self.before = float(before)

    def construct(self, gradients: Any, parameters: Any) -> Any:
        """Update `parameters` for the step that follows the one that the counter names."""
        # Some counters are arrays of one.
        calls = cast(self.iterations, mindspore.float64).reshape(()) - self.before
        return ops.depend(True, self.stepped(gradients, parameters, calls))


def _settled(own: Setting) -> Program:
    """Return the program of a group with the decay as a number, and without the stage where there is no decay."""
    numbers = StepNumbers(decay=own.decay)

    def settled(scalar: Scalar) -> Scalar | None:
        if scalar.times != DECAY:
            return scalar
        number = value_of(scalar, numbers)
        return None if number is None else Scalar(number)

    found = []
    for code, *scalars in own.program.stages:
        a, b = map(settled, scalars)
        if a is not None and b is not None:
            found.append(Instruction(code, a, b))
    return replace(own.program, stages=tuple(found))


def graphs_of(
    optimizer: Grouped, settings: Sequence[Setting], numerics: Numerics, before: int
) -> tuple[GroupGraph, ...]:
    """Return the step of each group as a graph.

    Args:
        optimizer: an optimizer whose groups hold every setting.
        settings: the settings of each group with the program compiled from them.
        numerics: how to round.
        before: the value of the counter of steps before the first one.
    """
    o, maxima, found = optimizer, optimizer._maxima(), []
    for number, own in enumerate(settings):
        part = slice(o.group_start_id[number], o.group_start_id[number + 1])
        kept = tuple(maxima[part]) if own.program.update.amsgrad else ()
        rate = o.param_groups[number]["lr"]
        if not isinstance(rate, Parameter):
            rate = Parameter(Tensor(o._rate(number), mindspore.float64), name=f"rate_of_group_{number}")
        moments = tuple(o.exp_avg[part]), tuple(o.exp_avg_sq[part])
        state = State(o.state_step, rate, (), *moments, kept, (), ())
        found.append(GroupGraph(own, numerics, tuple(o.parameters[part]), state, before))
    return tuple(found)
