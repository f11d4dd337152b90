"""The update compiled by Numba: one pass over memory, many tensors in one call.

The compiled function is `kernel.make_update`'s, inlined into a loop over raw addresses, so any
runtime that can name the memory of its tensors can use it. It holds no Python object and no lock
of the interpreter; work above a measured size is split between threads.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

import adamcompat.executors.columns as columns
import adamcompat.executors.headers as headers
import adamcompat.kernel as kernel
import adamcompat.program as instructions
import adamcompat.stages as stages
from adamcompat.executors.columns import (
    ACCUMULATED,
    AVERAGE,
    FIRST_MOMENT,
    GRADIENT,
    MAXIMUM,
    PARAMETER,
    SECOND_MOMENT,
)
from adamcompat.executors.contraction import Contraction
from adamcompat.executors.launch import MARK, SCRATCH, Launch, threads_for
from adamcompat.kernel import Coefficients, Operations, make_update
from adamcompat.program import Stages
from adamcompat.stages import make_stages
from adamcompat.whole import whole

SUPPORTED = (np.dtype(np.float32), np.dtype(np.float64))

# Sums of squares are formed in pieces of this size, whatever the number of threads.
CHUNK = 1 << 16


@intrinsic  # type: ignore[untyped-decorator]
def _hardware_fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def _exchange(typing_context: Any, address: Any, value: Any) -> Any:
    """Write a whole number of eight bytes and return the one before, as one act for all threads."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], context.get_value_type(types.int64).as_pointer())
        return builder.atomic_rmw("xchg", place, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


_inline = nb.njit(inline="always", error_model="numpy")


@_inline  # type: ignore[untyped-decorator]
def _separate_fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@_inline  # type: ignore[untyped-decorator]
def _separate_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return a * x + b * y


@_inline  # type: ignore[untyped-decorator]
def _fused_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _hardware_fma(a, x, b * y)


@_inline  # type: ignore[untyped-decorator]
def _tail_blend(a: Any, x: Any, b: Any, y: Any) -> Any:
    return _hardware_fma(b, y, a * x)


@_inline  # type: ignore[untyped-decorator]
def _maximum(a: Any, b: Any) -> Any:
    return a if a > b or a != a else b


@_inline  # type: ignore[untyped-decorator]
def _minimum(a: Any, b: Any) -> Any:
    return a if a < b or a != a else b


@_inline  # type: ignore[untyped-decorator]
def _same(a: Any) -> Any:
    return a


@_inline  # type: ignore[untyped-decorator]
def _double(a: Any) -> Any:
    return np.float64(a)


_SEPARATE = Operations(_separate_fma, _separate_blend, np.sqrt, _maximum, _same, operator.mul)
_update_separate = _inline(make_update(_SEPARATE))
_update_fused = _inline(make_update(Operations(_hardware_fma, _fused_blend, np.sqrt, _maximum, _same, operator.mul)))
_update_tail = _inline(make_update(Operations(_hardware_fma, _tail_blend, np.sqrt, _maximum, _double, operator.mul)))
_average = _inline(stages.average)
_multiply, _divide, _add_decay, _clip_value, _subtract, _decoupled_decay = (
    _inline(stage) for stage in make_stages(_SEPARATE, _minimum)
)


def _choose(flag: Any, chosen: Any, other: Any) -> Any:
    """`other` where `flag` is None, else `chosen`; decided by type, so the two may differ in type."""


@overload(_choose)
def _choose_by_type(flag, chosen, other):  # type: ignore[no-untyped-def]  # Numba compares signatures to the letter
    if isinstance(flag, types.NoneType):
        return lambda flag, chosen, other: other
    return lambda flag, chosen, other: chosen


def _digest() -> str:
    """A hash of every source that is compiled in.

    Numba's disk cache looks at the time stamp of this file only; captured by the compiled function,
    the hash makes a change of the formula a different cache entry.
    """
    state = hashlib.sha256(nb.__version__.encode())
    for module in (
        kernel.__file__,
        instructions.__file__,
        stages.__file__,
        columns.__file__,
        headers.__file__,
        __file__,
    ):
        state.update(Path(module).read_bytes())
    return state.hexdigest()


# The loops below run from 0 over slices: with other bounds Numba must allow for negative indices,
# and the loop is not vectorized.
@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _sweep(p: Any, g: Any, m: Any, v: Any, vhat: Any, row: Any, beta1: Any, rate: Any, decay: Any, fused: Any) -> None:
    alpha, c1, c2, epsilon = row[0], row[1], row[2], row[3]
    for i in range(p.size):
        if vhat is None:
            if fused is None:
                p[i], m[i], v[i], _ = _update_separate(
                    p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay
                )
            else:
                p[i], m[i], v[i], _ = _update_fused(
                    p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay
                )
        elif fused is None:
            p[i], m[i], v[i], vhat[i] = _update_separate(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay
            )
        else:
            p[i], m[i], v[i], vhat[i] = _update_fused(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay
            )


@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _sweep_tail(p: Any, g: Any, m: Any, v: Any, vhat: Any, row: Any, beta1: Any, rate: Any, decay: Any) -> None:
    alpha, c1, c2, epsilon = row[0], row[1], row[2], row[3]
    for i in range(p.size):
        if vhat is None:
            p[i], m[i], v[i], _ = _update_tail(
                p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay
            )
        else:
            p[i], m[i], v[i], vhat[i] = _update_tail(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay
            )


@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _prepare(
    p: Any, g: Any, out: Any, codes: Any, scalars: Any, places: Any, factors: Any, tensor: Any, first: Any, last: Any
) -> None:
    for i in range(p.size):
        out[i] = g[i]
    for k in range(first, last):
        code, a, b = codes[k], scalars[k, 0], scalars[k, 1]
        if places[k] >= 0:
            a = factors[places[k], tensor]
        if code == instructions.MULTIPLY:
            for i in range(p.size):
                out[i] = _multiply(out[i], p[i], a)
        elif code == instructions.DIVIDE:
            for i in range(p.size):
                out[i] = _divide(out[i], p[i], a)
        elif code == instructions.ADD_DECAY:
            for i in range(p.size):
                out[i] = _add_decay(out[i], p[i], a)
        elif code == instructions.CLIP_VALUE:
            for i in range(p.size):
                out[i] = _clip_value(out[i], p[i], a)
        elif code == instructions.DECOUPLED_DECAY:
            for i in range(p.size):
                p[i] = _decoupled_decay(p[i], a, b)


# Reassociation lets the sum use all lanes of a vector; the order is fixed once compiled.
@nb.njit(error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _square_sum(x: Any) -> Any:
    total = np.float64(0)
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@_inline  # type: ignore[untyped-decorator]
def _share(start: Any, stop: Any, begin: Any, end: Any) -> Any:
    """Return which elements of a tensor belong to a thread; a cut never splits a vector."""
    size = stop - start
    lo = min((max(begin - start, 0) + 15) // 16 * 16, size)
    hi = min((min(max(end - start, 0), size) + 15) // 16 * 16, size)
    return lo, hi


def _build(digest: str) -> Any:
    """The compiled entry points; `digest` is captured, so that it is part of their keys in the disk cache."""

    @nb.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
    def update(
        addresses: Any,
        offsets: Any,
        kinds: Any,
        rows: Any,
        starts: Any,
        codes: Any,
        scalars: Any,
        places: Any,
        factors: Any,
        source: Any,
        block_size: Any,
        like: Any,
        gradient_like: Any,
        convert: Any,
        amsgrad: Any,
        nesterov: Any,
        decays: Any,
        fused: Any,
        begin: Any,
        end: Any,
        piece: Any,
        marks: Any,
        scratches: Any,
    ) -> None:
        digest  # noqa: B018
        if _exchange(marks.ctypes.data + piece * MARK, 1):
            return
        scratch = scratches[piece, 0]
        for k in range(addresses.shape[0]):
            lo, hi = _share(offsets[k], offsets[k + 1], begin, end)
            if lo >= hi:
                continue
            size = offsets[k + 1] - offsets[k]
            p = nb.carray(_pointer(addresses[k, PARAMETER], like), size)
            g = nb.carray(_pointer(addresses[k, source], gradient_like), size)
            m = nb.carray(_pointer(addresses[k, FIRST_MOMENT], like), size)
            v = nb.carray(_pointer(addresses[k, SECOND_MOMENT], like), size)
            row, first, last = rows[kinds[k]], starts[kinds[k]], starts[kinds[k] + 1]
            tail = size - size % block_size
            direct = convert is None and first == last
            block = hi - lo if direct else SCRATCH
            while lo < hi:
                stop = min(lo + block, hi)
                cut = max(min(tail, stop), lo)
                x = _choose(convert, scratch[: stop - lo], g[lo:stop])
                if not direct:
                    x = scratch[: stop - lo]
                    _prepare(p[lo:stop], g[lo:stop], x, codes, scalars, places, factors, k, first, last)
                beta1 = _choose(nesterov, row[4], None)
                rate, decay = _choose(decays, row[5], None), _choose(decays, row[6], None)
                maximum = nb.carray(_pointer(addresses[k, MAXIMUM], like), size)
                vhat, rest = _choose(amsgrad, maximum[lo:cut], None), _choose(amsgrad, maximum[cut:stop], None)
                _sweep(p[lo:cut], x[: cut - lo], m[lo:cut], v[lo:cut], vhat, row, beta1, rate, decay, fused)
                if fused is not None:
                    _sweep_tail(p[cut:stop], x[cut - lo :], m[cut:stop], v[cut:stop], rest, row, beta1, rate, decay)
                lo = stop
        _exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)

    @nb.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
    def squares(
        addresses: Any,
        offsets: Any,
        kinds: Any,
        starts: Any,
        codes: Any,
        scalars: Any,
        places: Any,
        factors: Any,
        chunks: Any,
        source: Any,
        like: Any,
        gradient_like: Any,
        sums: Any,
        begin: Any,
        end: Any,
        piece: Any,
        marks: Any,
        scratches: Any,
    ) -> None:
        digest  # noqa: B018
        if _exchange(marks.ctypes.data + piece * MARK, 1):
            return
        scratch, own = scratches[piece, 0], scratches[piece, 1]
        for c in range(begin, end):
            k, lo = chunks[c, 0], chunks[c, 1]
            size = offsets[k + 1] - offsets[k]
            hi = min(lo + CHUNK, size)
            p = nb.carray(_pointer(addresses[k, PARAMETER], like), size)
            g = nb.carray(_pointer(addresses[k, source], gradient_like), size)
            first, last = starts[kinds[k]], starts[kinds[k] + 1]
            total = 0.0
            while lo < hi:
                stop = min(lo + SCRATCH, hi)
                x, w = scratch[: stop - lo], own[: stop - lo]
                # A stage may change the parameter, which must not happen here.
                w[:] = p[lo:stop]
                _prepare(w, g[lo:stop], x, codes, scalars, places, factors, k, first, last)
                total += _square_sum(x)
                lo = stop
            sums[c] = total
        _exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)

    @nb.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
    def accumulate(
        addresses: Any,
        offsets: Any,
        kinds: Any,
        starts: Any,
        codes: Any,
        scalars: Any,
        places: Any,
        factors: Any,
        like: Any,
        gradient_like: Any,
        divisor: Any,
        begin: Any,
        end: Any,
        piece: Any,
        marks: Any,
        scratches: Any,
    ) -> None:
        digest  # noqa: B018
        if _exchange(marks.ctypes.data + piece * MARK, 1):
            return
        scratch = scratches[piece, 0]
        for k in range(addresses.shape[0]):
            lo, hi = _share(offsets[k], offsets[k + 1], begin, end)
            size = offsets[k + 1] - offsets[k]
            p = nb.carray(_pointer(addresses[k, PARAMETER], like), size)
            g = nb.carray(_pointer(addresses[k, GRADIENT], gradient_like), size)
            total = nb.carray(_pointer(addresses[k, ACCUMULATED], like), size)
            first, last = starts[kinds[k]], starts[kinds[k] + 1]
            while lo < hi:
                stop = min(lo + SCRATCH, hi)
                x, y = scratch[: stop - lo], total[lo:stop]
                _prepare(p[lo:stop], g[lo:stop], x, codes, scalars, places, factors, k, first, last)
                for i in range(x.size):
                    y[i] = x[i] + y[i]
                if divisor > 0:
                    for i in range(x.size):
                        y[i] = y[i] / divisor
                lo = stop
        _exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)

    @nb.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
    def move(
        addresses: Any,
        offsets: Any,
        like: Any,
        momentum: Any,
        complement: Any,
        begin: Any,
        end: Any,
        piece: Any,
        marks: Any,
        scratches: Any,
    ) -> None:
        digest  # noqa: B018
        if _exchange(marks.ctypes.data + piece * MARK, 1):
            return
        for k in range(addresses.shape[0]):
            lo, hi = _share(offsets[k], offsets[k + 1], begin, end)
            size = offsets[k + 1] - offsets[k]
            p = nb.carray(_pointer(addresses[k, PARAMETER], like), size)[lo:hi]
            old = nb.carray(_pointer(addresses[k, AVERAGE], like), size)[lo:hi]
            for i in range(p.size):
                old[i] = _average(old[i], p[i], momentum, complement)
        _exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)

    @nb.njit(nogil=True, error_model="numpy", cache=True)  # type: ignore[untyped-decorator]
    def same_headers(addresses: Any, fields: Any, axes: Any) -> Any:
        digest  # noqa: B018
        start = np.int64(0)
        for k in range(addresses.shape[0]):
            now = nb.carray(_pointer(addresses[k], np.int64(0)), fields.shape[1])
            for i in range(fields.shape[1]):
                if now[i] != fields[k, i]:
                    return False
            count = 2 * np.int32(now[headers.AXES])
            sizes = nb.carray(_pointer(now[headers.DIMENSIONS], np.int64(0)), count)
            for i in range(count):
                if sizes[i] != axes[start + i]:
                    return False
            start += count
        return True

    return update, squares, accumulate, move, same_headers


_update, _squares, _accumulate, _move, same_headers = _build(_digest())


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs in the form that compiled code reads.

    Attributes:
        starts: where each program begins; one more entry than programs.
        codes: the stage of each instruction.
        scalars: its two scalars, in the dtype of the parameters.
        places: for an instruction with a scalar for each tensor its row in `factors`, else -1.
        factors: one row for each such instruction, one column for each tensor.
    """

    starts: NDArray[np.int64]
    codes: NDArray[np.int64]
    scalars: NDArray[Any]
    places: NDArray[np.int64]
    factors: NDArray[Any]

    @classmethod
    def of(cls, programs: Sequence[Stages], dtype: np.dtype[Any], tensors: int) -> Programs:
        """Flatten programs for a batch of that many tensors."""
        starts = np.zeros(len(programs) + 1, np.int64)
        np.cumsum([len(program) for program in programs], out=starts[1:])
        flat = [step for program in programs for step in program]
        each = [np.ndim(step.a) > 0 for step in flat]
        scalars = np.array([(0 if many else step.a, step.b) for step, many in zip(flat, each, strict=True)], np.float64)
        with np.errstate(all="ignore"):
            factors = np.array([step.a for step, many in zip(flat, each, strict=True) if many], dtype)
            scalars = scalars.reshape(-1, 2).astype(dtype)
        return cls(
            starts,
            np.array([step.code for step in flat], np.int64),
            scalars,
            np.where(each, np.cumsum(each) - 1, -1).astype(np.int64),
            factors.reshape(-1, tensors),
        )

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The arguments of compiled functions, in order."""
        return self.starts, self.codes, self.scalars, self.places, self.factors


def row(coefficients: Coefficients) -> tuple[Any, ...]:
    """The scalars of an update as compiled code reads them."""
    c = coefficients
    optional = (0.0 if number is None else number for number in (c.beta1, c.rate, c.decay))
    return c.alpha, c.c1, c.c2, c.epsilon, *optional


@dataclass(frozen=True, slots=True)
class Table:
    """Hold the addresses of many tensors.

    Attributes:
        addresses: one row a tensor, one column for each of PARAMETER to AVERAGE; what is not used may
            be 0. Each is C-contiguous, aligned, of dtype `dtype` (the gradient: of `gradient_dtype`)
            and overlaps no other, except that a gradient may be its own parameter.
        offsets: element counts summed up, starting with 0; one more entry than tensors.
        kinds: the kind of each tensor; tensors of one kind share scalars and program.
        dtype: float32 or float64.
        gradient_dtype: float32 or float64.
    """

    addresses: NDArray[np.int64]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.int64]
    dtype: np.dtype[Any]
    gradient_dtype: np.dtype[Any]

    @property
    def elements(self) -> int:
        """Elements of all tensors."""
        return int(self.offsets[-1])


def update_all(
    table: Table,
    rows: NDArray[Any],
    programs: Programs,
    *,
    amsgrad: bool,
    nesterov: bool,
    decays: bool,
    contraction: Contraction,
    accumulated: bool = False,
) -> Launch:
    """Return the update of many tensors in place.

    Args:
        table: where they lie.
        rows: the scalars of each kind, from `row`.
        programs: the stages before the update, for each kind.
        amsgrad, nesterov, decays: which form of the update.
        contraction: where to round once.
        accumulated: whether the accumulated gradients are the gradients.
    """
    dtype = table.dtype if accumulated else table.gradient_dtype
    flags = (
        None if dtype == table.dtype else True,
        True if amsgrad else None,
        True if nesterov else None,
        True if decays else None,
        True if contraction.fused else None,
    )
    arguments = (
        *(table.addresses, table.offsets, table.kinds, rows, *programs.arrays),
        ACCUMULATED if accumulated else GRADIENT,
        contraction.block,
        *(table.dtype.type(0), dtype.type(0), *flags),
    )
    form = (table.dtype, dtype, *flags)
    return Launch(_update, arguments, form, table.elements, threads_for(table.elements), table.dtype)


def squares(table: Table, programs: Programs, *, accumulated: bool = False) -> NDArray[np.float64]:
    """Return the sum of squares of each gradient after `programs`, in float64."""
    sizes = np.diff(table.offsets)
    counts = -(-sizes // CHUNK)
    chunks = np.zeros((int(counts.sum()), 2), np.int64)
    chunks[:, 0] = np.repeat(np.arange(len(sizes)), counts)
    firsts = np.cumsum(counts) - counts
    chunks[:, 1] = (np.arange(len(chunks)) - np.repeat(firsts, counts)) * CHUNK
    sums = np.zeros(len(chunks), np.float64)
    source, dtype = (ACCUMULATED, table.dtype) if accumulated else (GRADIENT, table.gradient_dtype)
    likes = (table.dtype.type(0), dtype.type(0))
    arguments = (table.addresses, table.offsets, table.kinds, *programs.arrays, chunks, source, *likes, sums)
    threads = min(threads_for(table.elements), max(len(chunks), 1))
    # Whole, so that no thread reads on when the gradients are gone.
    whole([Launch(_squares, arguments, (table.dtype, dtype), len(chunks), threads, table.dtype)])
    totals = np.zeros(len(sizes), np.float64)
    np.add.at(totals, chunks[:, 0], sums)
    return totals


def accumulate_all(table: Table, programs: Programs, divisor: int | None) -> Launch:
    """Return the addition of each gradient, after `programs`, to its accumulated one; then a division by `divisor`."""
    likes = (table.dtype.type(0), table.gradient_dtype.type(0), table.dtype.type(divisor or 0))
    arguments = (table.addresses, table.offsets, table.kinds, *programs.arrays, *likes)
    form = (table.dtype, table.gradient_dtype)
    return Launch(_accumulate, arguments, form, table.elements, threads_for(table.elements), table.dtype)


def move_averages(table: Table, momentum: Any, complement: Any) -> Launch:
    """Return the move of each average towards its parameter; the weights are of the table's dtype."""
    arguments = (table.addresses, table.offsets, table.dtype.type(0), momentum, complement)
    return Launch(_move, arguments, (table.dtype,), table.elements, threads_for(table.elements), table.dtype)
