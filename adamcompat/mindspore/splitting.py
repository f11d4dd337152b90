"""Know how many threads MindSpore's operators have, and how nn.Adam's shares a tensor among them.

That operator finishes the elements after the last whole block of eight in float64, and every thread
does so at the end of its share. To repeat its bits, the shares must be known.
"""

from __future__ import annotations

import threading
from functools import cache

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, _c_expression, ops
from numpy.typing import NDArray

from adamcompat.executors.launch import Bounded, processors
from adamcompat.mindspore.memory import settle

# A thread is used for each thousand elements begun, as long as there are threads.
_SHARE = 1000

# With these two values and the moments zero, a step of 0.05 in float32 and in float64 differ.
_VALUE, _GRADIENT = 0.13, -0.13

# MindSpore fails when two threads run an operator for the first time at once.
_FIRST = threading.Lock()


def shares(size: int) -> list[int]:
    """Return the sizes of the parts into which the operator cuts a tensor of `size` elements."""
    if size <= _SHARE:
        return [size]
    threads = min(_asked_once(), -(-size // _SHARE))
    each = -(-size // threads)
    return [min(each, size - start) for start in range(0, size, each)]


def _limited() -> bool:
    """Return whether somebody has said how many threads operators have."""
    settings = getattr(_c_expression, "RuntimeConf", None)
    return settings is not None and bool(settings.get_instance().is_op_threads_num_configured())


def _asked_once() -> int:
    with _FIRST:
        return threads_of_kernel(limited=_limited())


def threads_allowed() -> int:
    """Return how many threads a step may use: as many as an operator where somebody has set that, else all."""
    return _asked_once() if _limited() else processors()


# The threads of a step on MindSpore's Parameters.
TEAM = Bounded(threads_allowed)


@cache
def threads_of_kernel(*, limited: bool) -> int:
    """Return the number of threads that MindSpore uses for one operator, found by where it computed in float64.

    MindSpore has no way to ask. Shares of a multiple of eight elements do not show, so several sizes
    are tried; on a processor without FMA none shows, and 1 is returned.

    Args:
        limited: whether somebody has set it, which can be done once in a process.
    """
    for extra in (1, 1013, 3037, 5059, 7079):
        size = 512 * _SHARE + extra
        after = _one_step(size)
        differs = np.flatnonzero(after[: size - 8] != after[0])
        if differs.size:
            first = int(differs[0])
            end = first + int(np.argmin(after[first : first + 9] != after[0]))
            return -(-size // end)
    return 1


def _one_step(size: int) -> NDArray[np.float32]:
    """Return a parameter of equal elements after one step with equal gradients."""

    def parameter(value: float, name: str) -> Parameter:
        return Parameter(Tensor(np.full(size, value, np.float32)), name=name)

    weight = parameter(_VALUE, "weight")
    scalars = [Tensor(x, mindspore.float32) for x in (0.9, 0.999, 0.05, 0.9, 0.999, 1e-8)]
    gradient = Tensor(np.full(size, _GRADIENT, np.float32))
    ops.Adam()(weight, parameter(0.0, "m"), parameter(0.0, "v"), *scalars, gradient)
    settle()
    found: NDArray[np.float32] = weight.asnumpy()
    return found
