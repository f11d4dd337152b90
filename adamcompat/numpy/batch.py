"""Many arrays in one go: tables that are made once and serve step after step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adamcompat.executors import blocked
from adamcompat.executors.contraction import Contraction
from adamcompat.executors.regions import Regions
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.arrays import Array, bounds
from adamcompat.program import Bound, Stages
from adamcompat.whole import Operation, together

# Gradients up to this many elements are gathered into one buffer: copying them is cheaper than asking
# NumPy for their addresses one by one.
GATHER_UP_TO = 1 << 12


class Memory(Regions):
    """Hold the addresses that arrays occupy, to find gradients that overlap them.

    Args:
        arrays: the parameters and their state.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        spans = np.array([bounds(array) for array in arrays if array.size], np.int64).reshape(-1, 2)
        super().__init__(spans[:, 0], spans[:, 1] - spans[:, 0])

    def touches(self, array: Array) -> bool:
        """Return whether an array may share memory with one of them; True may be said of one that lies in a gap."""
        return self.overlaps(*bounds(array))


@dataclass(frozen=True, slots=True)
class Tensors:
    """Parameters of one dtype with their state, all C-contiguous, and the kind of each.

    Parameters of one kind share their scalars and their program.

    Attributes:
        parameters: one array each.
        m: their first moments, of the same shapes and dtype.
        v: their second moments.
        vhat: the maxima of their second moments, or empty without AMSGrad.
        accumulated: their accumulated gradients, or empty where gradients are not accumulated.
        average: their moving averages, or empty where none are kept.
        kinds: the kind of each parameter, a number from 0.
    """

    parameters: Sequence[Array]
    m: Sequence[Array]
    v: Sequence[Array]
    vhat: Sequence[Array]
    accumulated: Sequence[Array]
    average: Sequence[Array]
    kinds: Sequence[int]


class Batch(Protocol):
    """Update a fixed set of parameters."""

    def load(self, gradients: Sequence[Array]) -> None:
        """Take the gradients of a step.

        Args:
            gradients: of the parameters' shapes. Those of more than GATHER_UP_TO elements are C-contiguous, of the
                batch's gradient dtype, and apart from all memory that is written; they must outlive the step.
        """

    def update(self, coefficients: Sequence[Coefficients], programs: Sequence[Stages]) -> Operation:
        """Return an operation that updates every parameter in place, with the loaded gradients.

        Args:
            coefficients: the scalars of this step, one set for each kind.
            programs: the stages before the update, one program for each kind.

        Returns:
            The operation. Nothing is written before it is called.
        """

    def accumulate(self, programs: Sequence[Stages], divisor: int | None) -> Operation:
        """Return an operation that adds the loaded gradients to the accumulated ones.

        From here on the accumulated gradients are the batch's gradients.

        Args:
            programs: the stages that gradients pass first, one program for each kind.
            divisor: how many gradients make one update, where the sums are to become their means now; else None.
        """

    def squares(self, programs: Sequence[Stages]) -> NDArray[np.float64]:
        """Return the sum of squares of each loaded gradient, one for each parameter, in float64.

        Args:
            programs: the stages that gradients pass first, one program for each kind.
        """

    def move_averages(self, momentum: Any, complement: Any) -> Operation:
        """Return an operation that moves the averages towards the parameters in place.

        Args:
            momentum: weight of the old average, in [0, 1], of the dtype of the stages.
            complement: weight of the parameter, of the same dtype.
        """

    def release(self) -> None:
        """Let the gradients of the step go."""


def concatenated(arrays: Sequence[Array], out: Array, *, flat: bool = False) -> None:
    """Copy the elements of many arrays into one, one array after the other.

    Args:
        arrays: of any shape and layout; their elements are copied in C order.
        out: of one axis, with as many elements as all of them together.
        flat: whether each array has one axis, so that none need be flattened.
    """
    pieces = arrays if flat else [array.ravel() for array in arrays]
    np.concatenate(pieces, out=out, casting="same_kind")


class BlockedBatch:
    """Update parameters by NumPy alone: small ones of one kind are gathered into blocks, large ones taken one by one.

    Args:
        numerics: how to round.
        tensors: the parameters with their state.
    """

    def __init__(self, numerics: Numerics, tensors: Tensors) -> None:
        self._numerics = numerics
        self._tensors = tensors
        dtype = tensors.parameters[0].dtype
        # A tail is counted in each parameter, so parameters that have one are not joined.
        limit = GATHER_UP_TO if Contraction.of(numerics, dtype, amsgrad=bool(tensors.vhat)).joins else 0
        self._single: list[int] = []
        self._blocks: list[list[int]] = []
        open_: dict[int, tuple[list[int], int]] = {}
        for i, (array, kind) in enumerate(zip(tensors.parameters, tensors.kinds, strict=True)):
            if array.size > limit:
                self._single.append(i)
                continue
            members, used = open_.get(kind, ([], blocked.BLOCK))
            if used + array.size > blocked.BLOCK:
                members, used = [], 0
                self._blocks.append(members)
            members.append(i)
            open_[kind] = (members, used + array.size)
        sizes = [sum(tensors.parameters[i].size for i in members) for members in self._blocks]
        self._buffers = [np.empty(max(sizes, default=0), dtype) for _ in range(4 if tensors.vhat else 3)]
        self._gathered = [np.empty(size, dtype) for size in sizes]
        self._gradients: list[Array] = []

    def load(self, gradients: Sequence[Array]) -> None:
        """See `Batch`; small gradients are copied, for they may lie in the memory that is written."""
        self._gradients = list(gradients)
        for members, buffer in zip(self._blocks, self._gathered, strict=True):
            concatenated([gradients[i] for i in members], buffer)
            start = 0
            for i in members:
                self._gradients[i] = buffer[start : start + gradients[i].size]
                start += gradients[i].size

    def update(self, coefficients: Sequence[Coefficients], programs: Sequence[Stages]) -> Operation:
        """See `Batch`."""
        t, gradients = self._tensors, self._gradients
        parts: list[Operation] = []
        for i in self._single:
            arrays = [t.parameters[i], t.m[i], t.v[i], *t.vhat[i : i + 1]]
            program = _of_tensor(programs[t.kinds[i]], i)
            parts.append(self._update(arrays, gradients[i], coefficients[t.kinds[i]], program))
        for members, gathered in zip(self._blocks, self._gathered, strict=True):
            kind, columns = t.kinds[members[0]], (t.parameters, t.m, t.v, t.vhat)
            homes = [[arrays[i] for i in members] for arrays in columns if arrays]
            views = [buffer[: gathered.size] for buffer in self._buffers]
            program = _of_members(programs[kind], members, [array.size for array in homes[0]])
            update = partial(self._update, views, gathered, coefficients[kind], program)
            parts.append(_Joined(homes, views, [gradients[i] for i in members], gathered, update))
        return together(parts)

    def _update(
        self, arrays: Sequence[Array], gradient: Array, coefficients: Coefficients, program: Stages
    ) -> Operation:
        p, m, v, *maximum = arrays
        vhat = maximum[0] if maximum else None
        return blocked.update_one(p, blocked.Elements(gradient), m, v, vhat, coefficients, program, self._numerics)

    def accumulate(self, programs: Sequence[Stages], divisor: int | None) -> Operation:
        """See `Batch`."""
        t = self._tensors
        parts = [
            blocked.accumulate(
                *(t.accumulated[i], blocked.Elements(gradient), t.parameters[i]),
                *(_of_tensor(programs[t.kinds[i]], i), self._numerics, divisor),
            )
            for i, gradient in enumerate(self._gradients)
        ]
        self._gradients = list(t.accumulated)
        return together(parts)

    def squares(self, programs: Sequence[Stages]) -> NDArray[np.float64]:
        """See `Batch`."""
        t = self._tensors
        found = [
            blocked.sum_of_squares(
                blocked.Elements(gradient), t.parameters[i], _of_tensor(programs[t.kinds[i]], i), self._numerics
            )
            for i, gradient in enumerate(self._gradients)
        ]
        return np.array(found, np.float64)

    def move_averages(self, momentum: Any, complement: Any) -> Operation:
        """See `Batch`."""
        pairs = zip(self._tensors.average, self._tensors.parameters, strict=True)
        return together(
            [blocked.move_average(old, array, momentum, complement, self._numerics) for old, array in pairs]
        )

    def release(self) -> None:
        """See `Batch`."""
        self._gradients = []


def _of_tensor(program: Stages, i: int) -> Stages:
    """Return the program of one tensor: of scalars for each tensor it keeps the tensor's own."""
    return [Bound(step.code, step.a[i], step.b) if np.ndim(step.a) else step for step in program]


def _of_members(program: Stages, members: Sequence[int], sizes: Sequence[int]) -> Stages:
    """Return the program of several tensors that lie one after the other.

    Args:
        program: with one scalar for each tensor of the batch, where scalars differ.
        members: the places of these tensors in the batch.
        sizes: how many elements each of them has.

    Returns:
        The program with one scalar for each element in place of one for each tensor.
    """
    chosen = list(members)
    return [Bound(step.code, np.repeat(step.a[chosen], sizes), step.b) if np.ndim(step.a) else step for step in program]


class _Joined:
    """Update small arrays in buffers: gather them, update the buffers, and write these back.

    Args:
        homes: for the parameters and each kind of state, the arrays.
        views: the buffers, which other parameters use before and after.
        gradients: one for each parameter.
        gathered: the buffer of the gradients.
        update: returns the update of the buffers.
    """

    __slots__ = ("_done", "_gathered", "_gradients", "_homes", "_new", "_update", "_views")

    def __init__(
        self,
        homes: Sequence[Sequence[Array]],
        views: Sequence[Array],
        gradients: Sequence[Array],
        gathered: Array,
        update: Callable[[], Operation],
    ) -> None:
        self._homes = homes
        self._views = views
        self._gradients = gradients
        self._gathered = gathered
        self._update = update
        self._new = self._done = False

    def __call__(self) -> None:
        """Do what is not done yet."""
        if self._done:
            return
        if not self._new:
            if self._gradients[0].base is not self._gathered:
                concatenated(self._gradients, self._gathered)
            for home, view in zip(self._homes, self._views, strict=True):
                concatenated(home, view)
            self._update()()
            self._new = True
        for home, view in zip(self._homes, self._views, strict=True):
            start = 0
            for array in home:
                stop = start + array.size
                array[...] = view[start:stop] if array.ndim == 1 else view[start:stop].reshape(array.shape)
                start = stop
        self._done = True
