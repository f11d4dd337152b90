"""The memory of Tensors: where it lies, and NumPy views of it."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor
from mindspore.nn.cell import _pynative_executor
from numpy.typing import NDArray

# What Tensor's own methods and properties do is to call these. Asked of every tensor in every step, that shows.
_BASE: Any = Tensor.__base__
_data_ptr = getattr(_BASE, "_data_ptr", Tensor.data_ptr)
_is_contiguous = getattr(_BASE, "is_contiguous", Tensor.is_contiguous)
_shape = getattr(_BASE, "_shape", Tensor.shape).__get__
_dtype = getattr(_BASE, "_dtype", Tensor.dtype).__get__


def settle() -> None:
    """Wait until every operation that was started has finished."""
    _pynative_executor.sync()


def addresses(tensors: Sequence[Any]) -> NDArray[np.int64]:
    """Where the elements of each Tensor begin. Ask anew in every step: loading a value may move it."""
    return np.fromiter(map(_data_ptr, tensors), np.int64, len(tensors))


class Forms(NamedTuple):
    """Shapes and dtypes of several Tensors."""

    shapes: list[tuple[int, ...]]
    dtypes: list[Any]

    @classmethod
    def of(cls, tensors: Sequence[Any]) -> Forms:
        """Those of `tensors`."""
        return cls(list(map(_shape, tensors)), list(map(_dtype, tensors)))

    def fit(self, tensors: Sequence[Any]) -> bool:
        """Whether `tensors` have these, without a list in between."""
        return (
            len(tensors) == len(self.shapes)
            and all(map(operator.eq, map(_shape, tensors), self.shapes))
            and all(map(operator.is_, map(_dtype, tensors), self.dtypes))
        )


def contiguous(tensors: Sequence[Any]) -> bool:
    """Whether the elements of each Tensor lie in C's order without gaps."""
    return all(map(_is_contiguous, tensors))


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
        # How far the regions reach that begin before each of them, and before the end of memory.
        self._reach = np.concatenate([[0], np.maximum.accumulate((starts + sizes)[order])])

    def touch(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Which of the given regions overlap one of this set."""
        before = self._starts.searchsorted(starts + sizes)
        found: NDArray[np.intp] = (self._reach[before] > starts).nonzero()[0]
        return found
