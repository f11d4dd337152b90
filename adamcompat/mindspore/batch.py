"""The update over the memory of many Parameters of one dtype, in one call of the shared kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import mindspore
import numpy as np
from numpy.typing import NDArray

from adamcompat import executors
from adamcompat.executors import blocked
from adamcompat.executors.columns import FIRST_MOMENT, GRADIENT, MAXIMUM, PARAMETER, SECOND_MOMENT
from adamcompat.executors.contraction import Contraction
from adamcompat.executors.regions import Regions
from adamcompat.interpreter import Interpreter, StepNumbers, bind
from adamcompat.kernel import Coefficients
from adamcompat.mapping.model import Numerics
from adamcompat.mindspore.memory import view
from adamcompat.mindspore.splitting import TEAM, shares
from adamcompat.program import Scalar, Stages
from adamcompat.whole import Operation, together


@dataclass(frozen=True, slots=True)
class Storage:
    """Describe how a dtype of MindSpore lies in memory.

    Attributes:
        own: the NumPy dtype of its elements; float16 stands for every format of two bytes where only
            the arithmetic matters.
        raw: the NumPy dtype in which memory is moved.
        arithmetic: the NumPy dtype in which it is updated.
    """

    own: np.dtype[Any]
    raw: np.dtype[Any]
    arithmetic: np.dtype[Any]


STORAGE = {
    mindspore.float32: Storage(np.dtype("f4"), np.dtype("f4"), np.dtype("f4")),
    mindspore.float64: Storage(np.dtype("f8"), np.dtype("f8"), np.dtype("f8")),
    mindspore.float16: Storage(np.dtype("f2"), np.dtype("f2"), np.dtype("f4")),
    mindspore.bfloat16: Storage(np.dtype("f2"), np.dtype("u2"), np.dtype("f4")),
}


def widen(raw: NDArray[Any]) -> NDArray[np.float32]:
    """Return elements of two bytes as float32; uint16 stands for bfloat16."""
    if raw.dtype == np.uint16:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def narrow(values: NDArray[np.float32], raw: np.dtype[Any]) -> NDArray[Any]:
    """Return float32 numbers as elements of two bytes, rounded with ties to even.

    Args:
        values: the numbers, of any shape.
        raw: float16, or uint16, which stands for bfloat16.
    """
    if raw == np.uint16:
        bits = values.view(np.uint32)
        rounded = ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype(np.uint16)
        return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)
    with np.errstate(all="ignore"):
        return values.astype(raw)


def store(values: NDArray[np.float32], raw: NDArray[Any]) -> None:
    """Round float32 numbers into memory of two bytes an element, piece by piece, so that temporaries stay small.

    Args:
        values: the numbers, with one axis.
        raw: the memory, an array of float16 or uint16 (bfloat16) with as many elements. It is overwritten.
    """
    for start in range(0, values.size, blocked.BLOCK):
        piece = slice(start, start + blocked.BLOCK)
        raw[piece] = narrow(values[piece], raw.dtype)


class Listed(Interpreter):
    """List the stages before the update, with their numbers of one step.

    Args:
        numbers: the numbers of the step.
    """

    def __init__(self, numbers: StepNumbers) -> None:
        self._numbers = numbers

    def elementwise(self, lane: Stages, code: int, a: Scalar, b: Scalar) -> Stages:
        """Return the list with a stage of one formula added, unless the step has no number for it.

        Args:
            lane: the stages listed so far.
            code: the stage, one of the codes of `program`.
            a: the first number of its formula.
            b: the second number of its formula.

        Returns:
            A new list.
        """
        return (*lane, *bind(code, a, b, self._numbers, decays=True))

    def centralized(self, lane: Stages) -> Stages:
        """See `Interpreter`; gradients that are centralized are prepared one by one."""
        return lane


class Batch:
    """Update a set of Parameters of one dtype, by tables that serve step after step.

    Args:
        numerics: how to round.
        dtype: their dtype, a key of STORAGE.
        sizes: the number of elements of each.
        kinds: the kind of each; Parameters of one kind share scalars and program.
        amsgrad: whether there is a maximum of the second moment.

    Attributes:
        amsgrad: the same.
    """

    def __init__(
        self, numerics: Numerics, dtype: Any, sizes: Sequence[int], kinds: Sequence[int], *, amsgrad: bool
    ) -> None:
        self._numerics = numerics
        self._storage = STORAGE[dtype]
        self.amsgrad = amsgrad
        self._contraction = Contraction.of(numerics, self._storage.own, amsgrad=amsgrad)
        self._sizes = np.array(sizes, np.int64)
        # The rows of the kernel's table: one for each share of a Parameter, so that tails fall where they
        # fall in nn.Adam.
        cuts = [[size] if self._contraction.joins else shares(size) for size in sizes]
        self._owner = np.repeat(np.arange(len(sizes)), [len(parts) for parts in cuts])
        starts = [np.cumsum([0, *parts[:-1]]) for parts in cuts]
        self._shift = np.concatenate(starts)[:, None] * self._storage.arithmetic.itemsize
        self._offsets = np.cumsum([0, *(part for parts in cuts for part in parts)], dtype=np.int64)
        self._cut = len(self._owner) > len(sizes)
        self._kinds = np.array(kinds, np.int64)
        self._kinds_of_rows = self._kinds[self._owner]
        self._table = np.zeros((len(sizes), 5), np.int64)
        self._written = [PARAMETER, FIRST_MOMENT, SECOND_MOMENT] + ([MAXIMUM] if amsgrad else [])
        self._used = [PARAMETER, GRADIENT, *self._written[1:]]
        self._bytes = self._sizes * self._storage.raw.itemsize
        self._regions = Regions(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._known = b""
        self._rows: Any = None
        self._programs: tuple[list[Stages], Any] | None = None
        self._wide: NDArray[np.float32] | None = None

    def place(self, written: NDArray[np.int64]) -> None:
        """Take note of the addresses of everything that is written.

        Args:
            written: one row a Parameter: addresses of itself, of its first and second moment and, for
                AMSGrad, of its maximum.
        """
        # First, so that an interrupt leaves nothing that looks up to date.
        self._known, self._rows = b"", None
        self._table[:, self._written] = written
        self._regions = Regions(written.ravel(), np.repeat(self._bytes, len(self._written)))

    def reads_from(self, gradients: NDArray[np.int64]) -> bool:
        """Return whether these are the addresses of the gradients that were noted last, and overlap nothing."""
        return gradients.tobytes() == self._known

    def read_from(self, gradients: NDArray[np.int64]) -> NDArray[np.intp]:
        """Take note of the addresses of the gradients.

        Args:
            gradients: one address for each Parameter.

        Returns:
            The places of the gradients that overlap memory that is written. They must be read from elsewhere.
        """
        self._known, self._rows = b"", None
        self._table[:, GRADIENT] = gradients
        overlapping = self._regions.touch(gradients, self._bytes)
        if not overlapping.size:
            self._known = gradients.tobytes()
        return overlapping

    def update(self, coefficients: Sequence[Coefficients], programs: Sequence[Stages]) -> Operation:
        """Return an operation that updates every Parameter in place.

        Args:
            coefficients: the scalars of this step, one set for each kind.
            programs: the stages before the update, one program for each kind.

        Returns:
            The operation. Nothing is written to Parameters and state before it is called.
        """
        compiled = executors.compiled()
        if compiled is None:
            return self._update_blocked(coefficients, programs)
        if self._storage.raw == self._storage.arithmetic:
            return self._update_compiled(compiled, self._table, coefficients, programs)
        return self._update_widened(compiled, coefficients, programs)

    def _update_compiled(
        self,
        compiled: ModuleType,
        table: NDArray[np.int64],
        coefficients: Sequence[Coefficients],
        programs: Sequence[Stages],
    ) -> Operation:
        dtype = self._storage.arithmetic
        wanted = list(programs)
        if self._programs is None or self._programs[0] != wanted:
            self._programs = (wanted, compiled.Programs.of(wanted, dtype, len(self._owner)))
        if self._rows is None:
            rows = table[self._owner] + self._shift if self._cut else table
            self._rows = compiled.Table(rows, self._offsets, self._kinds_of_rows, dtype, dtype, TEAM)
        launch: Operation = compiled.update_all(
            self._rows,
            np.array([compiled.row(item) for item in coefficients], dtype),
            self._programs[1],
            amsgrad=self.amsgrad,
            like=coefficients[0],
            contraction=self._contraction,
        )
        return launch

    def _update_widened(
        self, compiled: ModuleType, coefficients: Sequence[Coefficients], programs: Sequence[Stages]
    ) -> Operation:
        """Return the update of copies in float32, which are rounded back.

        Stages of another dtype were done when gradients arrived.
        """
        once = self._numerics.surroundings == "once"
        assert once or not any(programs), "the stages of these gradients are run in their own dtype"
        if self._wide is None:
            self._wide = np.empty((5, int(self._offsets[-1])), np.float32)
        wide, views = self._wide, {column: self._views(column) for column in self._used}
        starts = self._offsets[:-1] * 4
        table = np.stack([starts + row.__array_interface__["data"][0] for row in wide], axis=1)

        for column, parts in views.items():
            wide[column] = widen(np.concatenate(parts))

        def write_back() -> None:
            for column in self._written:
                for part, start in zip(views[column], self._offsets, strict=False):
                    store(wide[column, start : start + part.size], part)

        return together([self._update_compiled(compiled, table, coefficients, programs), write_back])

    def _update_blocked(self, coefficients: Sequence[Coefficients], programs: Sequence[Stages]) -> Operation:
        """Return the update without Numba, one Parameter after the other."""
        views = {column: self._views(column) for column in self._used}
        return together(
            [
                self._update_one(
                    {column: views[column][i] for column in self._used}, coefficients[kind], programs[kind]
                )
                for i, kind in enumerate(self._kinds)
            ]
        )

    def _update_one(self, parts: dict[int, NDArray[Any]], coefficients: Coefficients, program: Stages) -> Operation:
        bits = self._storage.raw == np.uint16
        arrays = {column: widen(part) if bits else part for column, part in parts.items()}
        update = blocked.update_one(
            arrays[PARAMETER],
            blocked.Elements(arrays[GRADIENT]),
            arrays[FIRST_MOMENT],
            arrays[SECOND_MOMENT],
            arrays.get(MAXIMUM),
            coefficients,
            program,
            self._numerics,
        )
        if not bits:
            return update

        def write_back() -> None:
            for column in self._written:
                store(arrays[column], parts[column])

        return together([update, write_back])

    def _views(self, column: int) -> list[NDArray[Any]]:
        raw = self._storage.raw
        return [
            view(int(address), (int(size),), raw)
            for address, size in zip(self._table[:, column], self._sizes, strict=True)
        ]
