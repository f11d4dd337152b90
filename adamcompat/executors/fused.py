"""The update compiled by Numba: one pass over memory, many tensors in one call.

The compiled function is `kernel.make_update`'s, inlined into a loop over raw addresses, so any
runtime that can name the memory of its tensors can use it. It holds no Python object and no lock
of the interpreter; work above a measured size is split between threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

import adamcompat.executors.columns as columns
import adamcompat.executors.header_loops as header_loops
import adamcompat.executors.headers as headers
import adamcompat.executors.launch as launch
import adamcompat.executors.likeness as likeness
import adamcompat.executors.stored as stored
import adamcompat.executors.sweeps as sweeps
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
from adamcompat.executors.launch import MARK, SCRATCH, Launch, Team, threads_for
from adamcompat.executors.sweeps import (
    average,
    choose,
    copy,
    exchange,
    pointer,
    prepare,
    share,
    square_sum,
    sweep,
    sweep_tail,
)
from adamcompat.kernel import Coefficients
from adamcompat.program import Stages
from adamcompat.whole import whole

SUPPORTED = (np.dtype(np.float32), np.dtype(np.float64))

# Sums of squares are formed in pieces of this size, whatever the number of threads.
CHUNK = 1 << 16

# Every source that is compiled in, with the constants that compiled code takes over.
_MODULES = (kernel, instructions, stages, columns, headers, launch, likeness, header_loops, sweeps)
SOURCES = (*(str(module.__file__) for module in _MODULES), __file__)


def _digest() -> str:
    """Return a hash of every source that is compiled in: a change of the formula is another function to `stored`."""
    state = hashlib.sha256()
    for source in SOURCES:
        state.update(Path(source).read_bytes())
    return state.hexdigest()


def _kept(function: Any, *, nogil: bool = True) -> Any:
    """Compile an entry point when it is first called with arguments of some types, and keep the code."""
    return stored.keep(nb.njit(nogil=nogil, error_model="numpy")(function), _DIGEST)


_DIGEST = _digest()


@_kept
def _update(
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
    lerps: Any,
    divides: Any,
    fused: Any,
    writes: Any,
    begin: Any,
    end: Any,
    piece: Any,
    marks: Any,
    scratches: Any,
) -> None:
    if exchange(marks.ctypes.data + piece * MARK, 1):
        return
    scratch = scratches[piece, 0]
    for k in range(addresses.shape[0]):
        lo, hi = share(offsets[k], offsets[k + 1], begin, end)
        if lo >= hi:
            continue
        size = offsets[k + 1] - offsets[k]
        p = nb.carray(pointer(addresses[k, PARAMETER], like), size)
        g = nb.carray(pointer(addresses[k, source], gradient_like), size)
        m = nb.carray(pointer(addresses[k, FIRST_MOMENT], like), size)
        v = nb.carray(pointer(addresses[k, SECOND_MOMENT], like), size)
        row, first, last = rows[kinds[k]], starts[kinds[k]], starts[kinds[k] + 1]
        tail = size - size % block_size
        direct = convert is None and first == last
        block = hi - lo if direct else SCRATCH
        while lo < hi:
            stop = min(lo + block, hi)
            cut = max(min(tail, stop), lo)
            x = choose(convert, scratch[: stop - lo], g[lo:stop])
            if not direct:
                x = scratch[: stop - lo]
                prepare(p[lo:stop], g[lo:stop], x, codes, scalars, places, factors, k, first, last)
            beta1, root = choose(nesterov, row[4], None), choose(divides, row[9], None)
            rate, decay = choose(decays, row[5], None), choose(decays, row[6], None)
            lerp, beta2 = choose(lerps, row[7], None), choose(lerps, row[8], None)
            maximum = nb.carray(pointer(addresses[k, MAXIMUM], like), size)
            vhat, rest = choose(amsgrad, maximum[lo:cut], None), choose(amsgrad, maximum[cut:stop], None)
            sweep(
                *(p[lo:cut], x[: cut - lo], m[lo:cut], v[lo:cut], vhat, row),
                *(beta1, rate, decay, lerp, beta2, root, fused),
            )
            if fused is not None:
                sweep_tail(
                    *(p[cut:stop], x[cut - lo :], m[cut:stop], v[cut:stop], rest, row),
                    *(beta1, rate, decay, lerp, beta2, root),
                )
            lo = stop
    for i in range(writes.shape[0]):
        copy(writes[i, 0], writes[i, 1], writes[i, 2])
    exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)


@_kept
def _squares(
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
    if exchange(marks.ctypes.data + piece * MARK, 1):
        return
    scratch, own = scratches[piece, 0], scratches[piece, 1]
    for c in range(begin, end):
        k, lo = chunks[c, 0], chunks[c, 1]
        size = offsets[k + 1] - offsets[k]
        hi = min(lo + CHUNK, size)
        p = nb.carray(pointer(addresses[k, PARAMETER], like), size)
        g = nb.carray(pointer(addresses[k, source], gradient_like), size)
        first, last = starts[kinds[k]], starts[kinds[k] + 1]
        total = 0.0
        while lo < hi:
            stop = min(lo + SCRATCH, hi)
            x, w = scratch[: stop - lo], own[: stop - lo]
            # A stage may change the parameter, which must not happen here.
            w[:] = p[lo:stop]
            prepare(w, g[lo:stop], x, codes, scalars, places, factors, k, first, last)
            total += square_sum(x)
            lo = stop
        sums[c] = total
    exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)


@_kept
def _accumulate(
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
    if exchange(marks.ctypes.data + piece * MARK, 1):
        return
    scratch = scratches[piece, 0]
    for k in range(addresses.shape[0]):
        lo, hi = share(offsets[k], offsets[k + 1], begin, end)
        size = offsets[k + 1] - offsets[k]
        p = nb.carray(pointer(addresses[k, PARAMETER], like), size)
        g = nb.carray(pointer(addresses[k, GRADIENT], gradient_like), size)
        total = nb.carray(pointer(addresses[k, ACCUMULATED], like), size)
        first, last = starts[kinds[k]], starts[kinds[k] + 1]
        while lo < hi:
            stop = min(lo + SCRATCH, hi)
            x, y = scratch[: stop - lo], total[lo:stop]
            prepare(p[lo:stop], g[lo:stop], x, codes, scalars, places, factors, k, first, last)
            for i in range(x.size):
                y[i] = x[i] + y[i]
            if divisor > 0:
                for i in range(x.size):
                    y[i] = y[i] / divisor
            lo = stop
    exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)


@_kept
def _move(
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
    if exchange(marks.ctypes.data + piece * MARK, 1):
        return
    for k in range(addresses.shape[0]):
        lo, hi = share(offsets[k], offsets[k + 1], begin, end)
        size = offsets[k + 1] - offsets[k]
        p = nb.carray(pointer(addresses[k, PARAMETER], like), size)[lo:hi]
        old = nb.carray(pointer(addresses[k, AVERAGE], like), size)[lo:hi]
        for i in range(p.size):
            old[i] = average(old[i], p[i], momentum, complement)
    exchange(marks.ctypes.data + piece * MARK + MARK // 2, 1)


same_headers = _kept(header_loops.same_headers)
take = _kept(header_loops.take, nogil=False)
locate = _kept(header_loops.locate, nogil=False)

# Whether Numba compiles at all: told by NUMBA_DISABLE_JIT not to, it leaves functions that cannot run as Python.
COMPILES = hasattr(_update, "signatures")


@dataclass(frozen=True, slots=True)
class Programs:
    """Hold programs in the form that compiled code reads.

    Attributes:
        starts: where each program begins among the instructions; one more entry than programs.
        codes: the stage of each instruction.
        scalars: its two scalars, in the dtype of the parameters; one row an instruction.
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
        """Flatten the programs of a batch.

        Args:
            programs: one for each kind of tensor.
            dtype: of the parameters; scalars are rounded to it.
            tensors: how many tensors the batch has. An instruction may hold one scalar for each of them.

        Returns:
            The same programs, one after the other.
        """
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
    """Return the scalars of an update as compiled code reads them: in a fixed order, with 0 in place of None."""
    c = coefficients
    found = (c.alpha, c.c1, c.c2, c.epsilon, c.beta1, c.rate, c.decay, c.lerp, c.beta2, c.root)
    return tuple([0.0 if number is None else number for number in found])


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
        team: the threads that may update them; None stands for threads of our own.
    """

    addresses: NDArray[np.int64]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.int64]
    dtype: np.dtype[Any]
    gradient_dtype: np.dtype[Any]
    team: Team | None = None

    @property
    def elements(self) -> int:
        """Return the number of elements of all tensors together."""
        return int(self.offsets[-1])

    def launch(self, function: Any, arguments: tuple[Any, ...], form: tuple[Any, ...]) -> Launch:
        """Return a launch over all elements.

        Args:
            function: see `Launch`.
            arguments: see `Launch`.
            form: see `Launch`.
        """
        threads = threads_for(self.elements, self.team)
        return Launch(function, arguments, form, self.elements, threads, self.dtype, self.team)


def update_all(
    table: Table,
    rows: NDArray[Any],
    programs: Programs,
    *,
    amsgrad: bool,
    like: Coefficients,
    contraction: Contraction,
    accumulated: bool = False,
) -> Launch:
    """Return a launch that updates many tensors and their moments in place; for the formula see `kernel.make_update`.

    Args:
        table: where tensors, moments and gradients lie.
        rows: the scalars of each kind of tensor, one row a kind, in the order of `row` and of the table's dtype.
        programs: the stages before the update, one program for each kind.
        amsgrad: whether the maximum of the second moments divides.
        like: the scalars of one kind; which of them are None says which form the update has.
        contraction: where products and sums are rounded once.
        accumulated: whether the accumulated gradients are the gradients.

    Returns:
        The launch. Nothing is written before it is called.
    """
    types = update_types(table, amsgrad=amsgrad, like=like, contraction=contraction, accumulated=accumulated)
    arguments = *_first(table, rows, programs), ACCUMULATED if accumulated else GRADIENT, *types, _NO_WRITES
    dtype = table.dtype if accumulated else table.gradient_dtype
    form = (table.dtype, dtype, *types[3:])
    return table.launch(_update, arguments, form)


_NO_WRITES = np.zeros((0, 3), np.int64)


def _first(table: Table, rows: NDArray[Any], programs: Programs) -> tuple[Any, ...]:
    return table.addresses, table.offsets, table.kinds, rows, *programs.arrays


def update_types(
    table: Table, *, amsgrad: bool, like: Coefficients, contraction: Contraction, accumulated: bool = False
) -> tuple[Any, ...]:
    """Return the arguments of the compiled update whose types say which form it has.

    Args:
        table: as in `update_all`.
        amsgrad: as in `update_all`.
        like: as in `update_all`.
        contraction: as in `update_all`.
        accumulated: as in `update_all`.

    Returns:
        The arguments, in order. They stay the same while which coefficients are None does.
    """
    dtype = table.dtype if accumulated else table.gradient_dtype
    flags = (
        dtype != table.dtype,
        amsgrad,
        like.beta1 is not None,
        like.decay is not None,
        like.lerp is not None,
        like.root is not None,
        contraction.fused,
    )
    return contraction.block, table.dtype.type(0), dtype.type(0), *(True if flag else None for flag in flags)


def update_at_once(
    table: Table, rows: NDArray[Any], programs: Programs, types: tuple[Any, ...], writes: NDArray[np.int64]
) -> None:
    """Update many tensors and their moments in place, and what else belongs to the step, in one call of compiled code.

    Nothing can interrupt it, so that it happens whole or not at all. It uses one thread, and is for few elements.

    Args:
        table: as in `update_all`.
        rows: as in `update_all`.
        programs: as in `update_all`.
        types: of the update, as `update_types` returns them.
        writes: one row for each piece of memory that is overwritten at the end: its address, the address of what it is
            overwritten by, and the number of bytes, a multiple of 4.
    """
    marks, scratch = np.zeros((1, 2), np.int64), np.empty((1, 2, SCRATCH), table.dtype)
    _update(*_first(table, rows, programs), GRADIENT, *types, writes, 0, table.elements, 0, marks, scratch)


def squares(table: Table, programs: Programs, *, accumulated: bool = False) -> NDArray[np.float64]:
    """Return the sum of squares of each gradient after the stages of its program, in float64.

    Args:
        table: where tensors and gradients lie. Tensors are read, and stay as they are.
        programs: the stages that gradients pass first, one program for each kind.
        accumulated: whether the accumulated gradients are the gradients.

    Returns:
        One sum for each tensor of the table. It does not depend on the number of threads.
    """
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
    threads = min(threads_for(table.elements, table.team), max(len(chunks), 1))
    # Whole, so that no thread reads on when the gradients are gone.
    whole([Launch(_squares, arguments, (table.dtype, dtype), len(chunks), threads, table.dtype, table.team)])
    totals = np.zeros(len(sizes), np.float64)
    np.add.at(totals, chunks[:, 0], sums)
    return totals


def accumulate_all(table: Table, programs: Programs, divisor: int | None) -> Launch:
    """Return a launch that adds each gradient to its accumulated one in place::

        total <- total + g                 between updates
        total <- (total + g) / divisor     where an update follows

    Args:
        table: where tensors, gradients and accumulated gradients lie.
        programs: the stages that gradients pass first, one program for each kind.
        divisor: how many gradients make one update, where the sums are to become their means now; else None.

    Returns:
        The launch. Nothing is written before it is called.
    """
    likes = (table.dtype.type(0), table.gradient_dtype.type(0), table.dtype.type(divisor or 0))
    arguments = (table.addresses, table.offsets, table.kinds, *programs.arrays, *likes)
    form = (table.dtype, table.gradient_dtype)
    return table.launch(_accumulate, arguments, form)


def move_averages(table: Table, momentum: Any, complement: Any) -> Launch:
    """Return a launch that moves each average towards its parameter in place::

        average <- momentum average + complement p

    Args:
        table: where tensors and averages lie.
        momentum: weight of the old average, in [0, 1], of the table's dtype.
        complement: weight of the parameter, of the same dtype; one minus the momentum, rounded as the numerics say.

    Returns:
        The launch. Nothing is written before it is called.
    """
    arguments = (table.addresses, table.offsets, table.dtype.type(0), momentum, complement)
    return table.launch(_move, arguments, (table.dtype,))
