"""The memory of Tensors: where it lies, and NumPy views of it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

try:
    from mindspore.graph.api import _pynative_executor
except ModuleNotFoundError:  # where it was before MindSpore 2.10
    from mindspore.common.api import _pynative_executor

# The method behind Tensor.data_ptr, which only calls it; four columns of addresses a step make that show.
_data_ptr = getattr(Tensor, "_data_ptr", Tensor.data_ptr)


def settle() -> None:
    """Wait until every operation that was started has finished."""
    _pynative_executor.sync()


def addresses(tensors: Sequence[Any]) -> list[int]:
    """Where the elements of each Tensor begin. Ask anew in every step: loading a value may move it."""
    return list(map(_data_ptr, tensors))


def view(address: int, count: int, dtype: Any) -> NDArray[Any]:
    """A writable array over `count` elements; the Tensor that owns them must outlive it."""
    if not count:
        return np.empty(0, dtype)
    size = count * np.dtype(dtype).itemsize
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, np.dtype(dtype))


class Regions:
    """A set of memory regions that can be asked for overlap."""

    def __init__(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        order = np.argsort(starts, kind="stable")
        self._starts = starts[order]
        self._reach = np.maximum.accumulate((starts + sizes)[order])

    def touch(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Which of the given regions overlap one of this set."""
        before = np.searchsorted(self._starts, starts + sizes)
        return np.flatnonzero((before > 0) & (self._reach[before - 1] > starts) & (sizes > 0))
