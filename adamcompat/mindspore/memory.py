"""The memory of Tensors: where it lies, and NumPy views of it."""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor
from mindspore.nn.cell import _pynative_executor
from numpy.typing import NDArray

# What Tensor's own methods and properties do is to call these. Asked of every tensor in every step, that shows.
_BASE: Any = Tensor.__base__
_data_ptr = getattr(_BASE, "_data_ptr", Tensor.data_ptr)
_is_contiguous = getattr(_BASE, "is_contiguous", Tensor.is_contiguous)
_shape = operator.attrgetter("_shape" if hasattr(_BASE, "_shape") else "shape")
_dtype = operator.attrgetter("_dtype" if hasattr(_BASE, "_dtype") else "dtype")


def settle() -> None:
    """Wait until every operation that was started has finished."""
    _pynative_executor.sync()


def addresses(tensors: Sequence[Any]) -> NDArray[np.int64]:
    """Return the address of the first element of each Tensor. Ask anew in every step: loading a value may move it."""
    return np.fromiter(map(_data_ptr, tensors), np.int64, len(tensors))


class Forms(NamedTuple):
    """Hold the shapes and dtypes of several Tensors.

    Attributes:
        shapes: one tuple for each.
        dtypes: MindSpore's, one for each.
    """

    shapes: list[tuple[int, ...]]
    dtypes: list[Any]

    @classmethod
    def of(cls, tensors: Sequence[Any]) -> Forms:
        """Return the forms of `tensors`."""
        return cls(list(map(_shape, tensors)), list(map(_dtype, tensors)))

    def fit(self, tensors: Sequence[Any]) -> bool:
        """Return whether Tensors have these shapes and dtypes; no list is made for it."""
        return (
            len(tensors) == len(self.shapes)
            and all(map(operator.eq, map(_shape, tensors), self.shapes))
            and all(map(operator.is_, map(_dtype, tensors), self.dtypes))
        )


def contiguous(tensors: Sequence[Any]) -> bool:
    """Return whether the elements of each Tensor lie in C's order without gaps."""
    return all(map(_is_contiguous, tensors))


def view(address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a writable array over elements that lie one after the other in C order.

    Args:
        address: of the first element. The Tensor that owns the memory must outlive the array.
        shape: of the array.
        dtype: of its elements.

    Returns:
        The array; one without elements has memory of its own.
    """
    count = math.prod(shape)
    if not count:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.ndarray(shape, dtype, memory)


class Views:
    """Make arrays over the memory of Tensors, anew only for those that lie elsewhere than when last asked.

    Args:
        dtypes: NumPy's dtypes by those of MindSpore.
    """

    def __init__(self, dtypes: Mapping[Any, np.dtype[Any]]) -> None:
        self._dtypes = dtypes
        # In one piece, so that an interrupt cannot part an address from its array.
        self._kept: tuple[Forms, NDArray[np.int64], list[NDArray[Any]]] = (Forms([], []), np.zeros(0, np.int64), [])

    def of(self, tensors: Sequence[Any]) -> list[NDArray[Any]] | None:
        """Return one array for each Tensor, which must outlive it; None where one has no memory that NumPy can read."""
        try:
            if not contiguous(tensors):
                return None
        except (AttributeError, TypeError):  # not a Tensor
            return None
        now = addresses(tensors)
        if not now.all() and any(tensor.size and not address for tensor, address in zip(tensors, now, strict=True)):
            return None
        forms, before, arrays = self._kept
        if not forms.fit(tensors):
            forms, before = Forms.of(tensors), np.zeros(len(tensors), np.int64)
            if not set(forms.dtypes) <= set(self._dtypes):
                return None
            arrays = [np.empty(shape, self._dtypes[dtype]) for shape, dtype in zip(*forms, strict=True)]
        arrays = list(arrays)
        for i in (now != before).nonzero()[0]:
            arrays[i] = view(int(now[i]), arrays[i].shape, arrays[i].dtype)
        self._kept = forms, now, arrays
        return arrays
