"""The update on NumPy alone, block by block, so that temporaries stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adamcompat.executors.contraction import Contraction
from adamcompat.kernel import Coefficients, Operations, arithmetic_dtype, make_update, stage_dtype
from adamcompat.mapping.model import Numerics
from adamcompat.program import OF_PARAMETER, SUBTRACT, Bound, Stages
from adamcompat.stages import average, make_stages
from adamcompat.whole import Operation

Array = NDArray[Any]

# Elements in one block. Half a dozen arrays of this size fit into a second-level cache.
BLOCK = 1 << 14


def _fma(a: Any, b: Any, c: Any) -> Any:
    """``a*b + c`` rounded once: a float32 product is exact in float64."""
    return (np.multiply(a, b, dtype=np.float64) + c).astype(np.float32)


def _same(a: Any) -> Any:
    return a


_SEPARATE = Operations(
    lambda a, b, c: a * b + c, lambda a, x, b, y: a * x + b * y, np.sqrt, np.maximum, _same, np.multiply
)
_update_separate = make_update(_SEPARATE)
_update_fused = make_update(
    Operations(_fma, lambda a, x, b, y: _fma(a, x, b * y), np.sqrt, np.maximum, _same, np.multiply)
)
_update_tail = make_update(
    Operations(
        _fma,
        lambda a, x, b, y: _fma(b, y, a * x),
        np.sqrt,
        np.maximum,
        lambda a: np.asarray(a, np.float64),
        np.multiply,
    )
)
_STAGES = make_stages(
    _SEPARATE, np.minimum, lambda a, b, c: _fma(a, b, c) if np.result_type(c) == np.float32 else a * b + c
)


class Elements:
    """The elements of an array in C order, readable and writable block by block."""

    __slots__ = ("_flat", "_view", "size")

    def __init__(self, array: Array) -> None:
        self.size = array.size
        self._view = array.reshape(-1) if array.flags.c_contiguous else None
        self._flat = array.flat

    def read(self, start: int, stop: int) -> Array:
        """Elements ``start`` to ``stop``; a view where the memory allows it."""
        return self._view[start:stop] if self._view is not None else self._flat[start:stop]

    def write(self, start: int, stop: int, values: Array) -> None:
        """Store elements, rounded to the array's dtype."""
        if self._view is not None:
            self._view[start:stop] = values
        else:
            self._flat[start:stop] = values


class Rows:
    """A gradient that holds some rows only, without repetition; the others are zero."""

    __slots__ = ("_indices", "_values", "_width", "size")

    def __init__(self, indices: NDArray[np.intp], values: Array, shape: tuple[int, ...]) -> None:
        """`indices` are sorted and unique; `values` has one row for each."""
        self.size = int(np.prod(shape))
        self._width = self.size // shape[0] if shape[0] else 0
        self._indices = indices
        self._values = values.reshape(len(indices), self._width)

    def read(self, start: int, stop: int) -> Array:
        """Elements ``start`` to ``stop`` of the dense gradient."""
        first, last = start // self._width, -(-stop // self._width)
        lo, hi = np.searchsorted(self._indices, [first, last])
        if self._width > stop - start:
            # One row is larger than the block: at most two rows meet in it.
            out = np.zeros(stop - start, self._values.dtype)
            for row, values in zip(self._indices[lo:hi], self._values[lo:hi], strict=True):
                offset = int(row) * self._width
                a, b = max(offset, start), min(offset + self._width, stop)
                out[a - start : b - start] = values[a - offset : b - offset]
            return out
        dense = np.zeros((last - first, self._width), self._values.dtype)
        dense[self._indices[lo:hi] - first] = self._values[lo:hi]
        return dense.reshape(-1)[start - first * self._width : stop - first * self._width]


Gradient = Elements | Rows


def blocks(size: int) -> list[tuple[int, int]]:
    """Bounds of the blocks that cover `size` elements."""
    return [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def prepare(
    gradient: Gradient, parameter: Elements, start: int, stop: int, program: Stages, real: np.dtype[Any], row_size: int
) -> tuple[Array, Array]:
    """A block of the gradient and of the parameter after the stages of `program`, in order."""
    g = gradient.read(start, stop).astype(real, copy=False)
    p = parameter.read(start, stop).astype(real, copy=False)
    for step in program:
        if step.code in OF_PARAMETER:
            p = _STAGES[step.code](p, real.type(step.a), real.type(step.b))
            continue
        a = step.a
        if step.code == SUBTRACT:
            a = a[np.arange(start, start + g.size) // row_size]
        g = _STAGES[step.code](g, p, np.asarray(a, real)[()])
    return g, p


def row_size(shape: tuple[int, ...]) -> int:
    """Elements under one index of the first axis."""
    return int(np.prod(shape[1:])) if shape else 1


def sum_of_squares(gradient: Gradient, parameter: Array, program: Stages, numerics: Numerics) -> float:
    """Sum of squares of a gradient after `program`, accumulated in float64."""
    real = stage_dtype(numerics, parameter.dtype)
    p = Elements(parameter)
    total = 0.0
    with np.errstate(all="ignore"):
        for start, stop in blocks(gradient.size):
            g = prepare(gradient, p, start, stop, program, real, row_size(parameter.shape))[0].astype(np.float64)
            total += float(np.dot(g, g))
    return total


def row_means(gradient: Gradient, parameter: Array, program: Stages, numerics: Numerics) -> NDArray[np.float64]:
    """Mean of a gradient over all axes but the first, after `program`, accumulated in float64."""
    real = stage_dtype(numerics, parameter.dtype)
    p, width = Elements(parameter), row_size(parameter.shape)
    sums = np.zeros(parameter.shape[0], np.float64)
    with np.errstate(all="ignore"):
        for start, stop in blocks(gradient.size):
            g = prepare(gradient, p, start, stop, program, real, width)[0]
            first, last = start // width, -(-stop // width)
            edges = np.maximum(np.arange(first, last) * width, start) - start
            sums[first:last] += np.add.reduceat(g.astype(np.float64), edges)
        return sums / max(width, 1)


class _Target(Protocol):
    def write(self, start: int, stop: int, values: Array) -> None: ...


class _Blocks:
    """Writes arrays block by block; after an interruption it goes on where it was.

    Args:
        bounds: of the blocks.
        new: the new elements of a block of each target, computed before any is written.
        targets: what is written.
    """

    __slots__ = ("_bounds", "_new", "_state", "_targets")

    def __init__(
        self,
        bounds: Sequence[tuple[int, int]],
        new: Callable[[int, int], Sequence[Array]],
        targets: Sequence[_Target],
    ) -> None:
        self._bounds = bounds
        self._new = new
        self._targets = targets
        # Which block is next, and its elements once they are computed: written again, they change nothing.
        self._state: tuple[int, Sequence[Array] | None] = (0, None)

    def __call__(self) -> None:
        """Write the blocks that are not written."""
        at, values = self._state
        with np.errstate(all="ignore"):
            while at < len(self._bounds):
                start, stop = self._bounds[at]
                if values is None:
                    values = self._new(start, stop)
                    self._state = (at, values)
                for target, part in zip(self._targets, values, strict=True):
                    target.write(start, stop, part)
                at, values = at + 1, None
                self._state = (at, None)


def accumulate(
    total: Array, gradient: Gradient, parameter: Array, program: Stages, numerics: Numerics, divisor: int | None
) -> Operation:
    """Return the addition of a gradient, after `program`, to `total` in place; then a division by `divisor`."""
    real = stage_dtype(numerics, parameter.dtype)
    p, sums, width = Elements(parameter), Elements(total), row_size(parameter.shape)

    def new(start: int, stop: int) -> list[Array]:
        g = prepare(gradient, p, start, stop, program, real, width)[0]
        g = g + sums.read(start, stop).astype(real, copy=False)
        return [g if divisor is None else g / real.type(divisor)]

    return _Blocks(blocks(gradient.size), new, [sums])


def move_average(old: Array, parameter: Array, momentum: Any, complement: Any, numerics: Numerics) -> Operation:
    """Return the move of the average towards the parameter, in place; the weights are of the dtype of the stages."""
    real = stage_dtype(numerics, parameter.dtype)
    p, averages = Elements(parameter), Elements(old)

    def new(start: int, stop: int) -> list[Array]:
        before, now = (elements.read(start, stop).astype(real, copy=False) for elements in (averages, p))
        return [average(before, now, momentum, complement)]

    return _Blocks(blocks(parameter.size), new, [averages])


def update_one(
    parameter: Array,
    gradient: Gradient,
    m: Array,
    v: Array,
    vhat: Array | None,
    coefficients: Coefficients,
    program: Stages,
    numerics: Numerics,
) -> Operation:
    """Return the update of one tensor in place.

    Args:
        parameter: writable, of any layout.
        gradient: its elements.
        m, v, vhat: the moments, of the parameter's shape; `vhat` only for AMSGrad.
        coefficients: the scalars of this step.
        program: the stages before the update.
        numerics: how to round.
    """
    real, around = arithmetic_dtype(numerics, parameter.dtype), stage_dtype(numerics, parameter.dtype)
    contraction = Contraction.of(numerics, parameter.dtype, amsgrad=vhat is not None)
    tail = contraction.cut(parameter.size)
    update = _update_fused if contraction.fused else _update_separate
    states = [Elements(state) for state in (m, v, vhat) if state is not None]
    c, width, elements = coefficients, row_size(parameter.shape), Elements(parameter)
    bounds = blocks(tail) + [(tail + start, tail + stop) for start, stop in blocks(parameter.size - tail)]

    def new(start: int, stop: int) -> Sequence[Array]:
        step = update if start < tail else _update_tail
        g, p = prepare(gradient, elements, start, stop, program, around, width)
        g, p = g.astype(real, copy=False), p.astype(real, copy=False)
        old = [state.read(start, stop).astype(real, copy=False) for state in states]
        found = step(
            *(p, g, old[0], old[1], old[2] if vhat is not None else None),
            *(c.alpha, c.c1, c.c2, c.epsilon, c.beta1, None, c.rate, c.decay, c.lerp, c.beta2, c.root),
        )
        return found if vhat is not None else found[:3]

    return _Blocks(bounds, new, [elements, *states])


def update_rows(
    kept: Sequence[Array],
    rows: NDArray[np.intp],
    values: Array,
    coefficients: Coefficients,
    program: Stages,
    numerics: Numerics,
) -> Operation:
    """Return the update of some rows in place; the others stay as they are.

    Args:
        kept: the parameter, its moments and, for AMSGrad, the maximum.
        rows: which rows, without repetition.
        values: their gradients.
        coefficients, program, numerics: as for `update_one`.
    """
    many = max(8, BLOCK // max(row_size(kept[0].shape), 1) // 8 * 8)
    bounds = [(start, min(start + many, len(rows))) for start in range(0, len(rows), many)]

    def new(start: int, stop: int) -> list[Array]:
        chosen = rows[start:stop]
        own = [step if step.scalar else Bound(step.code, step.a[chosen], step.b) for step in program]
        parts = [array[chosen] for array in kept]
        update_one(
            parts[0],
            Elements(np.ascontiguousarray(values[start:stop])),
            *(parts[1], parts[2], parts[3] if len(parts) > 3 else None),
            *(coefficients, own, numerics),
        )()
        return parts

    return _Blocks(bounds, new, [_ChosenRows(array, rows) for array in kept])


class _ChosenRows:
    """Some rows of an array, to be written."""

    __slots__ = ("_array", "_rows")

    def __init__(self, array: Array, rows: NDArray[np.intp]) -> None:
        self._array = array
        self._rows = rows

    def write(self, start: int, stop: int, values: Array) -> None:
        """Store the rows ``start`` to ``stop`` of the chosen ones."""
        self._array[self._rows[start:stop]] = values
