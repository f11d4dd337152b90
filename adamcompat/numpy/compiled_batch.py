"""Many arrays in one call of compiled code: a table of addresses that is made once and serves step after step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter, is_
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import adamcompat.executors.columns as columns
from adamcompat.executors.contraction import Contraction
from adamcompat.executors.launch import THREADS_ABOVE, Team
from adamcompat.executors.likeness import Likeness
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Numerics
from adamcompat.numpy.arrays import Array, address_of
from adamcompat.numpy.batch import GATHER_UP_TO, Memory, Tensors, concatenated
from adamcompat.program import Bound, Stages
from adamcompat.whole import Operation


class CompiledBatch:
    """Update all parameters in one call of compiled code.

    Args:
        fused: the compiled executor.
        numerics: how to round.
        tensors: the parameters with their state.
        gradient_dtype: dtype of the gradients that are not gathered.
        shares: cuts a tensor of so many elements into parts that each have a tail of their own, where
            numerics have tails; None leaves it whole.
        team: the threads that may update the arrays; None stands for threads of our own.
    """

    def __init__(
        self,
        fused: ModuleType,
        numerics: Numerics,
        tensors: Tensors,
        gradient_dtype: np.dtype[Any],
        shares: Callable[[int], list[int]] | None = None,
        team: Team | None = None,
    ) -> None:
        self._fused = fused
        self._tensors = tensors  # keeps the memory behind the addresses alive
        dtype = tensors.parameters[0].dtype
        sizes = np.array([array.size for array in tensors.parameters], np.int64)
        limit = GATHER_UP_TO if gradient_dtype == dtype else 0
        self._small = [i for i, size in enumerate(sizes) if size <= limit]
        self._large = [i for i, size in enumerate(sizes) if size > limit]
        self._flat = all(tensors.parameters[i].ndim == 1 for i in self._small)
        self._amsgrad = bool(tensors.vhat)
        self._contraction = Contraction.of(numerics, dtype, amsgrad=self._amsgrad)
        self._buffer = np.empty(int(sizes[self._small].sum()), dtype)
        addresses = np.zeros((len(sizes), columns.COLUMNS), np.int64)
        for column, arrays in (
            (columns.PARAMETER, tensors.parameters),
            (columns.FIRST_MOMENT, tensors.m),
            (columns.SECOND_MOMENT, tensors.v),
            (columns.MAXIMUM, tensors.vhat),
            (columns.ACCUMULATED, tensors.accumulated),
            (columns.AVERAGE, tensors.average),
        ):
            addresses[: len(arrays), column] = [address_of(array) for array in arrays]
        # The addresses of gradients are fixed where they are gathered, and filled in at each step otherwise.
        starts = np.cumsum(sizes[self._small]) - sizes[self._small]
        addresses[self._small, columns.GRADIENT] = address_of(self._buffer) + starts * dtype.itemsize
        kinds = np.array(tensors.kinds, np.int64)
        # Where tensors are cut, the table has one row for each part: whose it is, and where it starts.
        self._owner: NDArray[np.intp] | None = None
        if shares is not None and not self._contraction.joins:
            parts = [shares(int(size)) for size in sizes]
            self._owner = np.repeat(np.arange(len(parts)), [len(own) for own in parts])
            self._starts = np.concatenate([np.cumsum([0, *own[:-1]]) for own in parts])
            addresses = addresses[self._owner] + self._starts[:, None] * dtype.itemsize
            sizes, kinds = np.concatenate(parts), kinds[self._owner]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._table = fused.Table(addresses, offsets, kinds, dtype, gradient_dtype, team)
        self._gathered: NDArray[np.int64] | None = None
        self._likeness: Likeness | None = None
        self._last: tuple[Sequence[Coefficients], Array, tuple[Any, ...]] | None = None
        self._programs: tuple[list[Stages], Any] | None = None
        self._accumulated = False

    @property
    def few(self) -> bool:
        """Return whether there are so few elements that one thread updates them fastest."""
        elements: int = self._table.elements
        return elements < THREADS_ABOVE

    def _begin(self) -> None:
        self._accumulated = False
        if self._gathered is not None:
            self._table.addresses[:, columns.GRADIENT], self._gathered = self._gathered, None

    def take(self, gradients: tuple[Any, ...], written: Memory) -> bool:
        """Load gradients if they are what `load` takes and C-contiguous, and no tensor is cut; return whether it is so.

        Args:
            gradients: anything at all.
            written: the memory of parameters and state.
        """
        if self._owner is not None:
            return False
        self._begin()
        if self._likeness is None:
            small = set(self._small)
            self._likeness = Likeness(self._tensors.parameters, [i in small for i in range(len(self._table.kinds))])
        return self._likeness.take(self._fused, gradients, self._table.addresses, written)

    def update_at_once(
        self, coefficients: Sequence[Coefficients], programs: Sequence[Stages], writes: NDArray[np.int64]
    ) -> None:
        """Update every parameter in place, with the loaded gradients, in one call that nothing interrupts.

        Args:
            coefficients: the scalars of this step, one set for each kind.
            programs: the stages before the update, one program for each kind.
            writes: what else the call writes; see `adamcompat.executors.fused.update_at_once`.
        """
        if self._last is None or not all(map(_but_for_alpha, coefficients, self._last[0])):
            types = self._fused.update_types(
                self._table, amsgrad=self._amsgrad, like=coefficients[0], contraction=self._contraction
            )
            self._last = coefficients, self._rows(coefficients), types
        _, rows, types = self._last
        for i, own in enumerate(coefficients):
            rows[i, 0] = own.alpha
        self._fused.update_at_once(self._table, rows, self._flattened(programs), types, writes)

    def _rows(self, coefficients: Sequence[Coefficients]) -> Array:
        return np.array([self._fused.row(item) for item in coefficients], self._table.dtype)

    def load(self, gradients: Sequence[Array]) -> None:
        """See `Batch`."""
        self._begin()
        if self._small:
            chosen = gradients if not self._large else [gradients[i] for i in self._small]
            concatenated(chosen, self._buffer, flat=self._flat)
        for i in self._large:
            if self._owner is None:
                self._table.addresses[i, columns.GRADIENT] = address_of(gradients[i])
            else:
                rows = self._owner == i
                shift = self._starts[rows] * self._table.gradient_dtype.itemsize
                self._table.addresses[rows, columns.GRADIENT] = address_of(gradients[i]) + shift

    def point(self, addresses: NDArray[np.int64]) -> None:
        """Read the gradients of a step where they are, the small ones too.

        Args:
            addresses: of C-contiguous gradients of the batch's dtype and the parameters' shapes, apart from all memory
                that is written; they must outlive the step.
        """
        self._accumulated = False
        if self._gathered is None:
            self._gathered = self._table.addresses[:, columns.GRADIENT].copy()
        if self._owner is not None:
            addresses = addresses[self._owner] + self._starts * self._table.gradient_dtype.itemsize
        self._table.addresses[:, columns.GRADIENT] = addresses

    def update(self, coefficients: Sequence[Coefficients], programs: Sequence[Stages]) -> Operation:
        """See `Batch`."""
        launch = self._fused.update_all(
            self._table,
            self._rows(coefficients),
            self._flattened(programs),
            amsgrad=self._amsgrad,
            like=coefficients[0],
            contraction=self._contraction,
            accumulated=self._accumulated,
        )
        return self._owned(launch)

    def accumulate(self, programs: Sequence[Stages], divisor: int | None) -> Operation:
        """See `Batch`."""
        launch = self._fused.accumulate_all(self._table, self._flattened(programs), divisor)
        self._accumulated = True
        return self._owned(launch)

    def _owned(self, launch: Any) -> Operation:
        """Return a launch that keeps alive what the table's addresses point to, except large gradients."""
        launch.keep = self
        owned: Operation = launch
        return owned

    def squares(self, programs: Sequence[Stages]) -> NDArray[np.float64]:
        """See `Batch`."""
        found: NDArray[np.float64] = self._fused.squares(
            self._table, self._flattened(programs), accumulated=self._accumulated
        )
        if self._owner is None:
            return found
        totals = np.zeros(len(self._tensors.parameters))
        np.add.at(totals, self._owner, found)
        return totals

    def move_averages(self, momentum: Any, complement: Any) -> Operation:
        """See `Batch`."""
        return self._owned(self._fused.move_averages(self._table, momentum, complement))

    def release(self) -> None:
        """See `Batch`; only addresses are kept."""

    def _flattened(self, programs: Sequence[Stages]) -> Any:
        if self._programs is None or not _all_the_same(self._programs[0], programs):
            rows = programs if self._owner is None else _for_rows(programs, self._owner)
            flat = self._fused.Programs.of(rows, self._table.dtype, len(self._table.kinds))
            self._programs = (list(programs), flat)
        return self._programs[1]


def _for_rows(programs: Sequence[Stages], owner: NDArray[np.intp]) -> list[Stages]:
    """Return programs for the rows of a table: scalars for each tensor are repeated for each of its rows.

    Args:
        programs: with scalars for each tensor, one program for each kind.
        owner: the tensor of each row.
    """
    return [
        [Bound(step.code, step.a[owner], step.b) if np.ndim(step.a) else step for step in program]
        for program in programs
    ]


def _all_the_same(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


_others = attrgetter(*(field.name for field in fields(Coefficients) if field.name != "alpha"))


def _but_for_alpha(one: Coefficients, other: Coefficients) -> bool:
    """Return whether coefficients are the same numbers but for the step size, the one that most often changes."""
    return all(map(is_, _others(one), _others(other)))
