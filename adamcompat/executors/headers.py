"""Notice NumPy arrays that became others in place: read-only, of another dtype or shape, or in other memory.

A user may do all of that to the very array that an optimizer holds, and a step through its old address would then
write into memory that is no longer there. Asking each array for each attribute takes as long as the update of a small
network; so its header, a structure of NumPy's C interface, is compared in one go.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

# PyArrayObject_fields, the same in NumPy 1 and 2: data, nd, dimensions, strides, base, descr, flags.
WORD = ctypes.sizeof(ctypes.c_void_p)
AXES, DIMENSIONS, DTYPE, FLAGS = 1, 2, 5, 6
FIELDS = 7
# Where the header lies in an array.
DATA = object.__basicsize__


def _fields(array: NDArray[Any]) -> Any:
    """Return the fields of an array's header, as memory that changes with it."""
    return (ctypes.c_char * (FIELDS * WORD)).from_address(id(array) + DATA)


def _axes(array: NDArray[Any]) -> Any:
    """Return the sizes and strides of an array's axes: the header points to them, and they lie one after the other."""
    start = ctypes.c_void_p.from_address(id(array) + DATA + DIMENSIONS * WORD).value or 0
    return (ctypes.c_char * (2 * array.ndim * WORD)).from_address(start)


def _public(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.__array_interface__["data"], array.shape, array.strides, array.dtype, array.flags.writeable


def _is_known() -> bool:
    """Return whether headers of this NumPy and this Python lie as they are read here."""
    array = np.zeros((3, 5), np.float32)[:, ::2]
    words = np.frombuffer(_fields(array), np.intp)
    axes = np.frombuffer(_axes(array), np.intp)
    right: bool = (
        words[0] == array.__array_interface__["data"][0]
        and words[AXES].astype(np.int32) == array.ndim
        and words[DTYPE] == id(array.dtype)
        and axes.tolist() == [*array.shape, *array.strides]
    )
    before = bytes(_fields(array))
    array.setflags(write=False)
    return right and bytes(_fields(array)) != before


KNOWN = WORD == 8 and _is_known()


class Headers:
    """Arrays as they are now, to be compared with what they are later.

    Args:
        arrays: they are held, so that their headers stay where they are.

    >>> weight = np.ones(3)
    >>> headers = Headers([weight])
    >>> headers.unchanged(None)
    True
    >>> weight.setflags(write=False)
    >>> headers.unchanged(None)
    False
    """

    __slots__ = ("_addresses", "_arrays", "_axes", "_bytes", "_fields", "_words")

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self._arrays = tuple(arrays)
        self._fields = [_fields(array) for array in arrays] if KNOWN else []
        self._axes = [_axes(array) for array in arrays] if KNOWN else []
        self._bytes: Any = self._read()
        self._addresses = np.array([id(array) + DATA for array in arrays], np.int64)
        if KNOWN:
            fields, axes = (np.frombuffer(part, np.int64) for part in self._bytes)
            self._words = fields.reshape(-1, FIELDS), axes

    def _read(self) -> Any:
        if KNOWN:
            return b"".join(self._fields), b"".join(self._axes)
        return [_public(array) for array in self._arrays]

    def unchanged(self, compiled: ModuleType | None) -> bool:
        """Return whether all arrays are what they were: their memory, dtype and shape, and whether they can be written.

        Args:
            compiled: the compiled executor, which is faster at it, or None where there is none.
        """
        if compiled is not None and KNOWN:
            return bool(compiled.same_headers(self._addresses, *self._words))
        if KNOWN and b"".join(self._fields) != self._bytes[0]:
            # Sizes and strides may lie elsewhere now, and are not to be read.
            return False
        return bool(self._read() == self._bytes)
