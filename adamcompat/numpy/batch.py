"""Many arrays in one call of the compiled update: tables of addresses, kept between steps."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


class Batch:
    """Arrays of one dtype that are updated together.

    Args:
        fused: the compiled executor.
        numerics: how to round.
        parameters, m, v: C-contiguous arrays of one dtype.
        vhat: likewise, or None.
        gradient_dtype: dtype of the gradients that are not gathered.
    """

    def __init__(
        self,
        fused: ModuleType,
        numerics: Numerics,
        parameters: Sequence[Array],
        m: Sequence[Array],
        v: Sequence[Array],
        vhat: Sequence[Array] | None,
        gradient_dtype: np.dtype[Any],
    ) -> None:
        self._fused = fused
        self.dtype = parameters[0].dtype
        self._gradient_dtype = gradient_dtype
        self._amsgrad = vhat is not None
        self._contraction = Contraction.of(numerics, self.dtype, amsgrad=self._amsgrad)
        self.arrays = list(parameters)
        sizes = np.array([array.size for array in parameters], np.int64)
        gather = gradient_dtype == self.dtype
        self._small = [i for i, size in enumerate(sizes) if gather and 0 < size <= GATHER_UP_TO]
        self._large = [i for i, size in enumerate(sizes) if size > (GATHER_UP_TO if gather else 0)]
        self.offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._buffer = np.empty(int(sizes[self._small].sum()), self.dtype)
        # Column 1 belongs to the gradients: fixed for gathered ones, filled in at each step for the others.
        self._addresses = np.zeros((len(parameters), 5), np.int64)
        for column, arrays in ((0, parameters), (2, m), (3, v), (4, vhat or ())):
            self._addresses[: len(arrays), column] = [array.__array_interface__["data"][0] for array in arrays]
        starts = np.concatenate([[0], np.cumsum(sizes[self._small])])[:-1].astype(np.int64)
        base = self._buffer.__array_interface__["data"][0]
        self._addresses[self._small, 1] = base + starts * self.dtype.itemsize
        self._rows: NDArray[Any] = np.zeros((len(parameters), 5), self.dtype)
        self._programs: tuple[Sequence[Program], Any] | None = None

    @property
    def large(self) -> list[int]:
        """Positions of the gradients that are read where they lie."""
        return self._large

    def run(
        self, gradients: Sequence[Array], coefficients: Sequence[Coefficients], programs: Sequence[Program], nesterov: bool
    ) -> None:
        """Update every array of the batch in place.

        Args:
            gradients: of the arrays' shapes; those in `large` C-contiguous, of the batch's gradient
                dtype and apart from all memory that is written, unless one is its own parameter.
            coefficients, programs: one for each array; often the same object.
            nesterov: which form of the update.
        """
        if self._small:
            chosen = gradients if len(self._small) == len(gradients) else [gradients[i] for i in self._small]
            if any(gradient.ndim != 1 for gradient in chosen):
                chosen = [gradient.ravel() for gradient in chosen]
            with np.errstate(all="ignore"):
                np.concatenate(chosen, out=self._buffer, casting="same_kind")
        for i in self._large:
            self._addresses[i, 1] = gradients[i].__array_interface__["data"][0]
        first = coefficients[0]
        if all(item is first for item in coefficients):
            self._rows[:] = self._fused.row(first)
        else:
            self._rows[:] = [self._fused.row(item) for item in coefficients]
        if self._programs is None or self._programs[0] != programs:
            self._programs = (programs, self._fused.Programs.of(programs, self.dtype))
        self._fused.update_all(
            self._addresses,
            self.offsets,
            self._rows,
            self._programs[1],
            gradient_dtype=self._gradient_dtype,
            amsgrad=self._amsgrad,
            nesterov=nesterov,
            contraction=self._contraction,
        )
