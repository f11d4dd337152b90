"""Many arrays in one go: tables that are made once and serve step after step."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from adamcompat.executors import blocked
from adamcompat.executors.contraction import Contraction
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.arrays import Array, bounds
from adamcompat.stages import Program

# Gradients up to this many elements are gathered into one buffer: copying them is cheaper than asking
# NumPy for their addresses one by one.
GATHER_UP_TO = 1 << 12


class Memory:
    """Which addresses the parameters and their state occupy, to find gradients that overlap them."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        spans = sorted(bounds(array) for array in arrays if array.size)
        self._starts = np.array([low for low, _ in spans], np.int64)
        self._reach = np.maximum.accumulate(np.array([high for _, high in spans], np.int64))

    def touches(self, array: Array) -> bool:
        """Whether `array` may share memory with any of them."""
        low, high = bounds(array)
        before = int(np.searchsorted(self._starts, high))
        return bool(before > 0 and low < self._reach[before - 1])


class Tensors:
    """Parameters of one dtype with their moments, all C-contiguous, and the kind of each.

    Parameters of one kind share their scalars and their program.
    """

    __slots__ = ("kinds", "m", "parameters", "v", "vhat")

    def __init__(
        self,
        parameters: Sequence[Array],
        m: Sequence[Array],
        v: Sequence[Array],
        vhat: Sequence[Array],
        kinds: Sequence[int],
    ) -> None:
        """`vhat` is empty without AMSGrad; `kinds` has one number for each parameter."""
        self.parameters, self.m, self.v, self.vhat, self.kinds = parameters, m, v, vhat, kinds


class Batch(Protocol):
    """Updates a fixed set of parameters."""

    def run(
        self, gradients: Sequence[Array], coefficients: Sequence[Coefficients], programs: Sequence[Program]
    ) -> None:
        """Update every parameter in place.

        Args:
            gradients: of the parameters' shapes. Those of more than GATHER_UP_TO elements are
                C-contiguous, of the batch's gradient dtype, and apart from all memory that is written.
            coefficients, programs: one for each kind.
        """


def concatenated(arrays: Sequence[Array], out: Array, *, flat: bool = False) -> None:
    """Copy the elements of many arrays into `out`, one after the other; `flat`: all have one axis."""
    pieces = arrays if flat else [array.ravel() for array in arrays]
    np.concatenate(pieces, out=out, casting="same_kind")


class CompiledBatch:
    """One call of the compiled update for all parameters.

    Args:
        fused: the compiled executor.
        numerics: how to round.
        tensors: the parameters.
        gradient_dtype: dtype of the gradients that are not gathered.
    """

    def __init__(self, fused: ModuleType, numerics: Numerics, tensors: Tensors, gradient_dtype: np.dtype[Any]) -> None:
        self._fused = fused
        self._tensors = tensors  # keeps the memory behind the addresses alive
        self._dtype = tensors.parameters[0].dtype
        self._gradient_dtype = gradient_dtype
        self._amsgrad = bool(tensors.vhat)
        self._contraction = Contraction.of(numerics, self._dtype, amsgrad=self._amsgrad)
        sizes = np.array([array.size for array in tensors.parameters], np.int64)
        limit = GATHER_UP_TO if gradient_dtype == self._dtype else 0
        self._small = [i for i, size in enumerate(sizes) if size <= limit]
        self._large = [i for i, size in enumerate(sizes) if size > limit]
        self._flat = all(tensors.parameters[i].ndim == 1 for i in self._small)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._kinds = np.array(tensors.kinds, np.int64)
        self._buffer = np.empty(int(sizes[self._small].sum()), self._dtype)
        # Column 1 belongs to the gradients: fixed for gathered ones, filled in at each step for the others.
        self._addresses = np.zeros((len(sizes), 5), np.int64)
        for column, arrays in ((0, tensors.parameters), (2, tensors.m), (3, tensors.v), (4, tensors.vhat)):
            self._addresses[: len(arrays), column] = [_address(array) for array in arrays]
        starts = np.cumsum(sizes[self._small]) - sizes[self._small]
        self._addresses[self._small, 1] = _address(self._buffer) + starts * self._dtype.itemsize
        self._programs: tuple[list[Program], Any] | None = None

    def run(
        self, gradients: Sequence[Array], coefficients: Sequence[Coefficients], programs: Sequence[Program]
    ) -> None:
        """See `Batch.run`."""
        if self._small:
            chosen = gradients if not self._large else [gradients[i] for i in self._small]
            concatenated(chosen, self._buffer, flat=self._flat)
        for i in self._large:
            self._addresses[i, 1] = _address(gradients[i])
        rows = np.array([self._fused.row(item) for item in coefficients], self._dtype)
        wanted = list(programs)
        if self._programs is None or self._programs[0] != wanted:
            self._programs = (wanted, self._fused.Programs.of(wanted, self._dtype))
        self._fused.update_all(
            self._addresses,
            self._offsets,
            self._kinds,
            rows,
            self._programs[1],
            gradient_dtype=self._gradient_dtype,
            amsgrad=self._amsgrad,
            nesterov=coefficients[0].beta1 is not None,
            contraction=self._contraction,
        )


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class BlockedBatch:
    """NumPy alone: small parameters of one kind are gathered into blocks, large ones taken one by one.

    Args:
        numerics: how to round.
        tensors: the parameters.
    """

    def __init__(self, numerics: Numerics, tensors: Tensors) -> None:
        self._numerics = numerics
        self._tensors = tensors
        dtype = tensors.parameters[0].dtype
        # A tail is counted in each parameter, so parameters that have one are not joined.
        limit = 0 if Contraction.of(numerics, dtype, amsgrad=bool(tensors.vhat)).tail else GATHER_UP_TO
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
        size = max((sum(tensors.parameters[i].size for i in members) for members in self._blocks), default=0)
        self._buffers = [np.empty(size, dtype) for _ in range(5 if tensors.vhat else 4)]

    def run(
        self, gradients: Sequence[Array], coefficients: Sequence[Coefficients], programs: Sequence[Program]
    ) -> None:
        """See `Batch.run`."""
        t = self._tensors
        for i in self._single:
            self._update(
                [t.parameters[i], t.m[i], t.v[i], *(t.vhat[i : i + 1])],
                gradients[i],
                t.kinds[i],
                coefficients,
                programs,
            )
        for members in self._blocks:
            homes = [[arrays[i] for i in members] for arrays in (t.parameters, t.m, t.v, t.vhat) if arrays]
            size = sum(array.size for array in homes[0])
            views = [buffer[:size] for buffer in self._buffers]
            for home, view in zip(homes, views[1:], strict=True):
                concatenated(home, view)
            concatenated([gradients[i] for i in members], views[0])
            self._update(views[1:], views[0], t.kinds[members[0]], coefficients, programs)
            for home, view in zip(homes, views[1:], strict=True):
                start = 0
                for array in home:
                    stop = start + array.size
                    array[...] = view[start:stop] if array.ndim == 1 else view[start:stop].reshape(array.shape)
                    start = stop

    def _update(
        self,
        arrays: Sequence[Array],
        gradient: Array,
        kind: int,
        coefficients: Sequence[Coefficients],
        programs: Sequence[Program],
    ) -> None:
        blocked.update_one(
            arrays[0],
            blocked.Elements(gradient),
            arrays[1],
            arrays[2],
            arrays[3] if len(arrays) > 3 else None,
            coefficients[kind],
            programs[kind],
            self._numerics,
        )
