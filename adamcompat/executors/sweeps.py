"""The loops that Numba compiles: the update and the stages over pieces of arrays, and their operations."""

from __future__ import annotations

import operator
from typing import Any

import numba as nb
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

import adamcompat.program as instructions
import adamcompat.stages as stages
from adamcompat.kernel import Operations, make_update
from adamcompat.stages import make_stages


@intrinsic  # type: ignore[untyped-decorator]
def _hardware_fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return a(a, b, c), generate


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """Return an address as a pointer to elements of the dtype of `like`.

    Args:
        typing_context: Numba's own; compiled code does not pass it.
        address: of the first element, a whole number.
        like: a number of the elements' dtype; its value does not matter.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate


@intrinsic  # type: ignore[untyped-decorator]
def exchange(typing_context: Any, address: Any, value: Any) -> Any:
    """Write a whole number of eight bytes and return the one before, as one act for all threads.

    Args:
        typing_context: Numba's own; compiled code does not pass it.
        address: of the number; a multiple of 8.
        value: the number to write, an int64.

    Returns:
        The number that was there, an int64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], context.get_value_type(types.int64).as_pointer())
        return builder.atomic_rmw("xchg", place, arguments[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def word(typing_context: Any, address: Any) -> Any:
    """Return the whole number of eight bytes at an address, an int64.

    Args:
        typing_context: Numba's own; compiled code does not pass it.
        address: of the number; a multiple of 8.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], context.get_value_type(types.int64).as_pointer()))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def call(typing_context: Any, function: Any, argument: Any) -> Any:
    """Call a function that C can call. It takes and returns eight bytes; an exception of C++ ends the process.

    Args:
        typing_context: Numba's own; compiled code does not pass it.
        function: its address, an int64.
        argument: an int64.

    Returns:
        What the function returns, an int64.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        eight = context.get_value_type(types.int64)
        kind = ir.FunctionType(eight, [eight])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [arguments[1]])

    return types.int64(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """Copy memory that does not overlap.

    Args:
        typing_context: Numba's own; compiled code does not pass it.
        target: the address to write to.
        source: the address to read from.
        count: how many bytes to copy.

    Returns:
        The types of the call, and what writes its code, for Numba.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = [builder.inttoptr(address, cgutils.voidptr_t) for address in arguments[:2]]
        cgutils.raw_memcpy(builder, *places, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


_inline = nb.njit(inline="always", error_model="numpy")


@_inline  # type: ignore[untyped-decorator]
def _separate_fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def _once(a: Any, b: Any, c: Any) -> Any:
    """Return ``a*b + c``, rounded once in float32; wider arithmetic is never contracted."""


@overload(_once, inline="always")
def _once_by_type(a, b, c):  # type: ignore[no-untyped-def]  # Numba compares signatures to the letter
    if c == types.float32:
        return lambda a, b, c: _hardware_fma(a, b, c)
    return lambda a, b, c: a * b + c


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
average = _inline(stages.average)
_multiply, _divide, _add_decay, _clip_value, _subtract, _decoupled_decay, _add_decay_once, _scale_parameter = (
    _inline(stage) for stage in make_stages(_SEPARATE, _minimum, _once)
)


def choose(flag: Any, chosen: Any, other: Any) -> Any:
    """Return `other` where `flag` is None, else `chosen`.

    Numba decides by the type of the flag, when it compiles, so the two values may differ in type.

    Args:
        flag: None, or anything else.
        chosen: the value where the flag is something.
        other: the value where the flag is None.
    """


@overload(choose)
def _choose_by_type(flag, chosen, other):  # type: ignore[no-untyped-def]  # Numba compares signatures to the letter
    if isinstance(flag, types.NoneType):
        return lambda flag, chosen, other: other
    return lambda flag, chosen, other: chosen


# The loops below run from 0 over slices: with other bounds Numba must allow for negative indices,
# and the loop is not vectorized.
@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def sweep(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vhat: Any,
    row: Any,
    beta1: Any,
    rate: Any,
    decay: Any,
    lerp: Any,
    beta2: Any,
    root: Any,
    fused: Any,
) -> None:
    """Update arrays of one size in place; for the formula see `kernel.make_update`.

    An argument that is None is left out of the formula when Numba compiles.

    Args:
        p: elements of the parameter, with one axis.
        g: elements of the gradient, as many as the parameter's.
        m: elements of the first moment.
        v: elements of the second moment.
        vhat: elements of the maximum of the second moments for AMSGrad, or None.
        row: scalars of the step, of which the first four are step size, ``1 - beta1``, ``1 - beta2`` and epsilon.
        beta1: for Nesterov's look-ahead, or None.
        rate: the learning rate, where a decay is added to the update; else None.
        decay: the decay that is added to the update, or None.
        lerp: how far the first moment goes, from its nearer end, where it is rounded as PyTorch's; else None.
        beta2: for a second moment that is rounded as PyTorch's, or None.
        root: what divides the root of the second moment, or None.
        fused: None to round products and sums one by one, anything else to round ``a*b + c`` once.
    """
    alpha, c1, c2, epsilon = row[0], row[1], row[2], row[3]
    for i in range(p.size):
        if vhat is None:
            if fused is None:
                p[i], m[i], v[i], _ = _update_separate(
                    p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
                )
            else:
                p[i], m[i], v[i], _ = _update_fused(
                    p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
                )
        elif fused is None:
            p[i], m[i], v[i], vhat[i] = _update_separate(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
            )
        else:
            p[i], m[i], v[i], vhat[i] = _update_fused(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
            )


@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def sweep_tail(
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    vhat: Any,
    row: Any,
    beta1: Any,
    rate: Any,
    decay: Any,
    lerp: Any,
    beta2: Any,
    root: Any,
) -> None:
    """Update arrays of one size in place, rounding ``a*b + c`` once; the step is divided and subtracted in float64.

    Args:
        p: elements of the parameter, with one axis.
        g: elements of the gradient, as many as the parameter's.
        m: elements of the first moment.
        v: elements of the second moment.
        vhat: elements of the maximum of the second moments for AMSGrad, or None.
        row: scalars of the step, of which the first four are step size, ``1 - beta1``, ``1 - beta2`` and epsilon.
        beta1: for Nesterov's look-ahead, or None.
        rate: the learning rate, where a decay is added to the update; else None.
        decay: the decay that is added to the update, or None.
        lerp: how far the first moment goes, from its nearer end, where it is rounded as PyTorch's; else None.
        beta2: for a second moment that is rounded as PyTorch's, or None.
        root: what divides the root of the second moment, or None.
    """
    alpha, c1, c2, epsilon = row[0], row[1], row[2], row[3]
    for i in range(p.size):
        if vhat is None:
            p[i], m[i], v[i], _ = _update_tail(
                p[i], g[i], m[i], v[i], None, alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
            )
        else:
            p[i], m[i], v[i], vhat[i] = _update_tail(
                p[i], g[i], m[i], v[i], vhat[i], alpha, c1, c2, epsilon, beta1, None, rate, decay, lerp, beta2, root
            )


@nb.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def prepare(
    p: Any, g: Any, out: Any, codes: Any, scalars: Any, places: Any, factors: Any, tensor: Any, first: Any, last: Any
) -> None:
    """Write a piece of a gradient after some stages into `out`; a stage that decays the parameter changes it in place.

    Args:
        p: elements of the parameter, with one axis. A decay overwrites them.
        g: elements of the gradient, as many. They stay as they are.
        out: memory for the result, as long, in the dtype of the parameter.
        codes: the stage of each instruction.
        scalars: its two scalars, one row an instruction.
        places: the row in `factors` of an instruction with a scalar for each tensor, else -1.
        factors: one row for each such instruction, one column for each tensor.
        tensor: the column of the tensor that this is a piece of.
        first: the first instruction to run.
        last: the instruction after the last one to run.
    """
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
        elif code == instructions.ADD_DECAY_ONCE:
            for i in range(p.size):
                out[i] = _add_decay_once(out[i], p[i], a)
        elif code == instructions.SCALE_PARAMETER:
            for i in range(p.size):
                p[i] = _scale_parameter(p[i], a, b)


# Reassociation lets the sum use all lanes of a vector; the order is fixed once compiled.
@nb.njit(error_model="numpy", fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def square_sum(x: Any) -> Any:
    """Return the sum of squares, in float64."""
    total = np.float64(0)
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(x[i])
    return total


@_inline  # type: ignore[untyped-decorator]
def share(start: Any, stop: Any, begin: Any, end: Any) -> Any:
    """Return the part of a tensor that belongs to a thread; a cut never splits 16 elements, so that no vector is split.

    Args:
        start: where the tensor begins, in elements counted over all tensors.
        stop: the element after the tensor's last one.
        begin: where the thread's piece begins, counted in the same way.
        end: the element after the piece's last one.

    Returns:
        The first element of the part and the one after its last, counted from the beginning of the tensor. They are
        equal where the thread has none of it.
    """
    size = stop - start
    lo = min((max(begin - start, 0) + 15) // 16 * 16, size)
    hi = min((min(max(end - start, 0), size) + 15) // 16 * 16, size)
    return lo, hi
