"""Take the gradients of a step through the stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import adamcompat.kernel as kernel
from adamcompat.executors import blocked
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.arrays import Array, RowSparse
from adamcompat.numpy.batch import Batch
from adamcompat.numpy.compiled_batch import CompiledBatch
from adamcompat.numpy.slots import Kind, Slot, kind_of
from adamcompat.numpy.step import Step
from adamcompat.program import SUBTRACT, Bound, Stages
from adamcompat.whole import Operation


class Bundle(Protocol):
    """Hold some gradients of a step, and what is to be done to each kind of them.

    Attributes:
        programs: for each kind the instructions found so far. A program is never changed in place: batches recognize
            one that they have seen by its identity.
    """

    programs: list[Stages]

    @property
    def kinds(self) -> Sequence[Kind]:
        """The kinds of their parameters, all of one dtype."""

    def squares(self) -> Any:
        """Return the sum of squares of each gradient after its program, in float64: a number, or an array of them."""

    def centralize(self) -> None:
        """Let the program subtract the mean where the group asks for it."""

    def accumulate(self, divisor: int | None) -> Operation:
        """Return an operation that adds the gradients to the accumulated ones.

        From here on the accumulated gradients are the bundle's gradients.

        Args:
            divisor: how many gradients make one update, where the sums are to become their means now; else None.
        """

    def update(self, step: Step) -> Operation:
        """Return an operation that updates the parameters with the numbers of `step`."""


class BatchBundle:
    """Hold the gradients of a batch.

    Args:
        batch: a batch that has loaded the gradients.
        kinds: the kinds of its parameters, by the numbers that the batch gives them.
    """

    def __init__(self, batch: Batch, kinds: Sequence[Kind]) -> None:
        self.batch = batch
        self.kinds: Sequence[Kind] = kinds
        self.programs: list[Stages] = [()] * len(kinds)

    def squares(self) -> Any:
        """See `Bundle`."""
        return self.batch.squares(self.programs)

    def centralize(self) -> None:
        """See `Bundle`; parameters whose group centralizes are in no batch."""

    def accumulate(self, divisor: int | None) -> Operation:
        """See `Bundle`."""
        return self.batch.accumulate(self.programs, divisor)

    def update(self, step: Step) -> Operation:
        """See `Bundle`."""
        return self.batch.update([step.coefficients(kind) for kind in self.kinds], self.programs)

    def update_at_once(self, step: Step, writes: NDArray[np.int64]) -> None:
        """Update the parameters with the numbers of `step`, and what else belongs to the step; see `CompiledBatch`."""
        assert isinstance(self.batch, CompiledBatch)
        self.batch.update_at_once([step.coefficients(kind) for kind in self.kinds], self.programs, writes)


class SlotBundle:
    """Hold the gradient of one parameter, of whatever form.

    Args:
        slot: the parameter.
        gradient: an array of its shape, or RowSparse.
        numerics: how to round.
    """

    def __init__(self, slot: Slot, gradient: Any, numerics: Numerics) -> None:
        self.slot = slot
        self.kinds: Sequence[Kind] = (kind_of(slot),)
        self.programs: list[Stages] = [()]
        self.dense: Array | None = None
        self.sparse: tuple[NDArray[np.intp], Array] | None = None
        self._numerics = numerics
        if isinstance(gradient, RowSparse):
            real = kernel.stage_dtype(numerics, slot.array.dtype)
            self.sparse = gradient.merged(slot.array.shape, slot.name, real)
            self.source: blocked.Gradient = blocked.Rows(*self.sparse, slot.array.shape)
        else:
            self._use(gradient)

    def _use(self, gradient: Array) -> None:
        self.dense, self.sparse = gradient, None
        self.source = blocked.Elements(gradient)

    def squares(self) -> float:
        """See `Bundle`."""
        return blocked.sum_of_squares(self.source, self.slot.array, self.programs[0], self._numerics)

    def centralize(self) -> None:
        """See `Bundle`."""
        if self.slot.group.centralize and self.slot.array.ndim > 1:
            means = blocked.row_means(self.source, self.slot.array, self.programs[0], self._numerics)
            self.programs[0] = (*self.programs[0], Bound(SUBTRACT, means))

    def accumulate(self, divisor: int | None) -> Operation:
        """See `Bundle`."""
        total, slot = self.slot.accumulated, self.slot
        assert total is not None
        operation = blocked.accumulate(total, self.source, slot.array, self.programs[0], self._numerics, divisor)
        self._use(total)
        return operation

    def update(self, step: Step) -> Operation:
        """See `Bundle`; with lazy updates only the rows that the gradient holds."""
        slot, coefficients = self.slot, step.coefficients(self.kinds[0])
        if self.sparse is not None and step.program.update.lazy:
            kept = [array for array in (slot.array, slot.m, slot.v, slot.vhat) if array is not None]
            return blocked.update_rows(kept, *self.sparse, coefficients, self.programs[0], self._numerics)
        return blocked.update_one(
            *(slot.array, self.source, slot.m, slot.v, slot.vhat), coefficients, self.programs[0], self._numerics
        )
