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
    """Return ``a*b + c`` of float32 arrays, rounded once: a float32 product is exact in float64."""
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
    """Read and write the elements of an array in C order, block by block.

    Args:
        array: of any shape and layout. It is referenced, not copied.

    Attributes:
        size: the number of elements.
    """

    __slots__ = ("_flat", "_view", "size")

    def __init__(self, array: Array) -> None:
        self.size = array.size
        self._view = array.reshape(-1) if array.flags.c_contiguous else None
        self._flat = array.flat

    def read(self, start: int, stop: int) -> Array:
        """Return the elements from `start` up to but without `stop`, with one axis.

        They are a view of the array where it is C-contiguous, else a copy.
        """
        return self._view[start:stop] if self._view is not None else self._flat[start:stop]

    def write(self, start: int, stop: int, values: Array) -> None:
        """Store elements, rounded to the array's dtype.

        Args:
            start: place of the first element in C order, from 0.
            stop: place after the last one.
            values: ``stop - start`` numbers with one axis.
        """
        if self._view is not None:
            self._view[start:stop] = values
        else:
            self._flat[start:stop] = values


class Rows:
    """Read a gradient that holds some rows only, each once; the other rows are zero.

    Args:
        indices: row numbers, sorted and without repetition.
        values: one row for each index, of shape ``(len(indices), *shape[1:])``.
        shape: of the dense gradient.

    Attributes:
        size: the number of elements of the dense gradient.
    """

    __slots__ = ("_indices", "_values", "_width", "size")

    def __init__(self, indices: NDArray[np.intp], values: Array, shape: tuple[int, ...]) -> None:
        """Take the rows; see the class."""
        self.size = int(np.prod(shape))
        self._width = self.size // shape[0] if shape[0] else 0
        self._indices = indices
        self._values = values.reshape(len(indices), self._width)

    def read(self, start: int, stop: int) -> Array:
        """Return a copy of the elements from `start` up to but without `stop` of the dense gradient, with one axis."""
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
    """Return the start and stop of each block: together they cover `size` elements, and all but the last have BLOCK."""
    return [(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def prepare(
    gradient: Gradient, parameter: Elements, start: int, stop: int, program: Stages, real: np.dtype[Any], row_size: int
) -> tuple[Array, Array]:
    """Return one block of the gradient and of the parameter after the stages before the update.

    Nothing is written. What no stage changes may be a view of the given memory.

    Args:
        gradient: all elements of the gradient.
        parameter: all elements of the parameter, as many.
        start: place of the block's first element in C order.
        stop: place after its last one.
        program: the stages with their numbers, which run in order. Each changes the gradient or, by decay, the
            parameter.
        real: the dtype in which the stages are computed.
        row_size: elements under one index of the first axis. SUBTRACT takes one value for each of these rows.

    Returns:
        The gradient and the parameter, each of ``stop - start`` elements with one axis, of dtype `real`.
    """
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
    """Return how many elements an array of that shape has under one index of its first axis; 1 where it has none."""
    return int(np.prod(shape[1:])) if shape else 1


def sum_of_squares(gradient: Gradient, parameter: Array, program: Stages, numerics: Numerics) -> float:
    """Return the sum of squares of a gradient after the stages of a program, accumulated in float64.

    Args:
        gradient: all elements of the gradient.
        parameter: the array that it belongs to. It is read, and stays as it is.
        program: the stages that the gradient passes first.
        numerics: how to round; they say in which dtype the stages are computed.

    Returns:
        The square of the L2 norm.
    """
    real = stage_dtype(numerics, parameter.dtype)
    p = Elements(parameter)
    total = 0.0
    with np.errstate(all="ignore"):
        for start, stop in blocks(gradient.size):
            g = prepare(gradient, p, start, stop, program, real, row_size(parameter.shape))[0].astype(np.float64)
            total += float(np.dot(g, g))
    return total


def row_means(gradient: Gradient, parameter: Array, program: Stages, numerics: Numerics) -> NDArray[np.float64]:
    """Return the mean of a gradient over all axes but the first, after the stages of a program, accumulated in float64.

    Args:
        gradient: all elements of the gradient.
        parameter: the array that it belongs to, with at least one axis. It is read, and stays as it is.
        program: the stages that the gradient passes first.
        numerics: how to round; they say in which dtype the stages are computed.

    Returns:
        One mean for each index of the first axis: an array of shape ``parameter.shape[:1]``.
    """
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
    """Write arrays block by block; after an interruption the next call goes on where the last one was.

    Args:
        bounds: start and stop of each block.
        new: takes a start and a stop, and returns the new elements of that block for each target. It is called before
            any target is written there.
        targets: the arrays to write, in the order of what `new` returns.
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
        """Write the blocks that are not written yet."""
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
    """Return an operation that adds a gradient to the accumulated one in place::

        total <- total + g                 between updates
        total <- (total + g) / divisor     where an update follows

    Args:
        total: the accumulated gradient, of the parameter's shape. It is overwritten.
        gradient: all elements of the gradient.
        parameter: the array that it belongs to. It is read, and stays as it is.
        program: the stages that the gradient passes first.
        numerics: how to round; they say in which dtype the sum is formed.
        divisor: how many gradients make one update, where the sum is to become their mean now; else None.

    Returns:
        The operation. Nothing is written before it is called.
    """
    real = stage_dtype(numerics, parameter.dtype)
    p, sums, width = Elements(parameter), Elements(total), row_size(parameter.shape)

    def new(start: int, stop: int) -> list[Array]:
        g = prepare(gradient, p, start, stop, program, real, width)[0]
        g = g + sums.read(start, stop).astype(real, copy=False)
        return [g if divisor is None else g / real.type(divisor)]

    return _Blocks(blocks(gradient.size), new, [sums])


def move_average(old: Array, parameter: Array, momentum: Any, complement: Any, numerics: Numerics) -> Operation:
    """Return an operation that moves the average of a parameter in place::

        old <- momentum old + complement p

    Args:
        old: the moving average, of the parameter's shape. It is overwritten.
        parameter: the array that is averaged.
        momentum: weight of the old average, in [0, 1], of the dtype of the stages.
        complement: weight of the parameter, of the same dtype; one minus the momentum, rounded as the numerics say.
        numerics: how to round.

    Returns:
        The operation. Nothing is written before it is called.
    """
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
    """Return an operation that updates one tensor and its moments in place; for the formula see `kernel.make_update`.

    Args:
        parameter: a writable array of any layout.
        gradient: all elements of its gradient.
        m: the first moment, of the parameter's shape.
        v: the second moment, of the parameter's shape.
        vhat: the maximum of the second moments, of the parameter's shape, for AMSGrad; else None.
        coefficients: the scalars of this step, of the dtype of the arithmetic.
        program: the stages before the update.
        numerics: how to round.

    Returns:
        The operation. Nothing is written before it is called; interrupted and called again, it goes on where it was.
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
    """Return an operation that updates some rows of a tensor in place; the others and their moments stay as they are.

    Args:
        kept: the parameter, its first and its second moment and, for AMSGrad, the maximum: arrays of one shape.
        rows: the numbers of these rows, without repetition.
        values: their gradients, of shape ``(len(rows), *shape[1:])``.
        coefficients: the scalars of this step, of the dtype of the arithmetic.
        program: the stages before the update.
        numerics: how to round.

    Returns:
        The operation. Nothing is written before it is called.
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
    """Write to some rows of an array."""

    __slots__ = ("_array", "_rows")

    def __init__(self, array: Array, rows: NDArray[np.intp]) -> None:
        self._array = array
        self._rows = rows

    def write(self, start: int, stop: int, values: Array) -> None:
        """Store the rows that some of the chosen indices name.

        Args:
            start: the first of these indices, as a place among the chosen.
            stop: the place behind the last.
            values: the rows, one for each of these indices.
        """
        self._array[self._rows[start:stop]] = values
