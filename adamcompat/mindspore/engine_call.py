"""Let a graph make the step of a class with TensorFlow's call: the engine of NumPy, in the graph's own memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import mindspore
import numpy as np
from mindspore import ops
from numpy.typing import NDArray

from adamcompat.mindspore.batch import STORAGE
from adamcompat.mindspore.graph_call import GraphCall, are_dense, graph_call, may_call
from adamcompat.mindspore.memory import view
from adamcompat.mindspore.operations import cast
from adamcompat.mindspore.tf_graph import GraphStep


class Placed(Protocol):
    """Name what a step in a graph asks of its optimizer."""

    def _may_be_called(self) -> bool:
        """Return whether the engine can work in the memory of the Parameters themselves."""

    def _place(self, found: NDArray[np.int64]) -> None:
        """Work at these addresses from here on."""

    def _make(self, gradients: list[NDArray[Any]], rate: float | None) -> None:
        """Make one step."""


class EngineCall:
    """Make the steps of one optimizer, where a graph asks for it.

    Args:
        optimizer: an optimizer that has state.
        written: the number of Parameters that the operator takes: the counter, the learning rate where it is a number,
            all state and all variables.
        shapes: of the gradients.
        dtypes: of the gradients.
        gives_rate: whether the graph computes the learning rate, a float64.

    Attributes:
        call: the operator for a graph, or None where graphs cannot call it. After `cell` it takes the learning rate, if
            the graph computes it; the Parameters in the order of `_place`; and the gradients.
    """

    def __init__(
        self,
        optimizer: Placed,
        written: int,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[np.dtype[Any]],
        *,
        gives_rate: bool,
    ) -> None:
        self._optimizer, self._written, self._gives_rate = optimizer, written, gives_rate
        self._forms = list(zip(shapes, dtypes, strict=True))
        self.call: GraphCall | None = graph_call(self, int(gives_rate), written, len(self._forms))

    def ready(self) -> bool:
        """See `Called`."""
        return self._optimizer._may_be_called()

    def __call__(self, addresses: NDArray[np.int64]) -> None:
        """See `Called`."""
        start = int(self._gives_rate)
        rate = ctypes.c_double.from_address(int(addresses[0])).value if start else None
        self._optimizer._place(addresses[start : start + self._written])
        places = addresses[start + self._written :].tolist()
        gradients = [view(place, *form) for place, form in zip(places, self._forms, strict=True)]
        self._optimizer._make(gradients, rate)


class EngineStep(GraphStep):
    """Make the step of one optimizer by its engine, or by formulas where a graph cannot call that; see `GraphStep`.

    Parameters aside, all that a method reads from `self` is a constant of the compiled graph.
    """

    # Of what makes the steps, where a graph can call it.
    call_number: int = 0

    by_formulas = GraphStep.construct

    def connect(self, optimizer: Placed, *, constant: bool) -> None:
        """Let the engine make the steps, where a graph can call it.

        Args:
            optimizer: the optimizer, which has state.
            constant: whether its learning rate is a number that a Parameter holds.
        """
        self.singles = (self.iterations, self.rate) if constant else (self.iterations,)
        self.state = (*self.m, *self.v, *self.vhat, *self.average, *self.accumulated)
        written = len(self.singles) + len(self.powers) + self.count + len(self.state)
        dtypes = [STORAGE[self.around[kind]].own for kind in self.kind]
        # The engine reads a list itself; the graph computes any other schedule.
        self.gives_rate = not constant and not self.is_list
        engine = EngineCall(optimizer, written, self.shapes, dtypes, gives_rate=self.gives_rate)
        if engine.call is not None:
            self.call_number = engine.call.number
            self.call_operator, self.call_cell = engine.call.operator, engine.call.cell

    def construct(self, gradients: Any, parameters: Any) -> Any:
        """Update `parameters`, which are in the order in which the optimizer was built, and count the step.

        Args:
            gradients: one for each, dense or a RowTensor.
            parameters: the Parameters to update.

        Returns:
            True, which depends on all that was written.

        Raises:
            NotImplementedError: a gradient holds some rows, and updates are lazy.
            ValueError: a gradient has another shape than its parameter, or state has another than it had.
        """
        if may_call(self.call_number):
            gs, known = self.over(self.dense, gradients)
            given = (*self.numbers(), *self.singles, *self.powers, *parameters, *self.state, *gs)
            if are_dense(given, r"\w+") and False not in known:
                return ops.depend(True, self.call_operator(self.call_cell, *given))
        return self.by_formulas(gradients, parameters)

    def numbers(self) -> Any:
        """Return the learning rate of this step, where the graph computes it, in a tuple."""
        if self.gives_rate:
            return (self.rate_of(cast(self.iterations, mindspore.float64) + self.start),)
        return ()
