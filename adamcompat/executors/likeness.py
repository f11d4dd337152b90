"""Take gradients from a tuple in one go: compiled code looks at the tuple and at the headers of its arrays itself.

Asking each gradient for its type, shape, dtype and address takes longer than the update of a small network.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.executors import headers
from adamcompat.executors.headers import DATA, FLAGS, WORD
from adamcompat.executors.regions import Regions

# Flags of elements that lie one after the other, each where the processor wants it.
PLAIN = 0x1 | 0x100
# Where an object keeps its type, and a tuple its items.
TYPE = DATA - WORD
_ITEMS = tuple.__basicsize__


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _are_known() -> bool:
    """Return whether items of tuples, types of objects and flags of arrays lie as they are read here."""
    plain, other = np.zeros((3, 4)), np.zeros((3, 4))[:, ::2]
    items = plain, other
    return (
        [_word(id(items) + _ITEMS + i * WORD) for i in range(2)] == list(map(id, items))
        and _word(id(plain) + TYPE) == id(np.ndarray)
        and [_word(id(one) + DATA + FLAGS * WORD) & PLAIN for one in items] == [PLAIN, PLAIN & ~1]
    )


_KNOWN = headers.KNOWN and sys.byteorder == "little" and _are_known()


class Likeness:
    """Know what gradients must look like that compiled code takes from a tuple.

    Args:
        arrays: of the gradients' dtype, which is float32 or float64, and shapes.
        gathered: which of the gradients are copied to where the table has them.
    """

    __slots__ = ("_arguments", "_count")

    def __init__(self, arrays: Sequence[NDArray[Any]], gathered: Sequence[bool]) -> None:
        self._count = len(arrays)
        numbers = (
            [id(np.ndarray), id(np.dtype(arrays[0].dtype.type))],
            [array.ndim for array in arrays],
            [size for array in arrays for size in array.shape],
            [array.nbytes for array in arrays],
        )
        self._arguments = *(np.array(part, np.int64) for part in numbers), np.array(gathered, np.bool_)

    def take(
        self, compiled: ModuleType, gradients: tuple[Any, ...], addresses: NDArray[np.int64], written: Regions
    ) -> bool:
        """Take gradients if all are plain arrays of the right dtype and shapes; otherwise only some may be taken.

        Args:
            compiled: the compiled executor.
            gradients: anything at all.
            addresses: a table with one row for each gradient. Those that are gathered are copied to their addresses in
                it; of the others the addresses are noted.
            written: memory that a step writes. Gradients that touch it, and are not gathered, are not taken.

        Returns:
            Whether all of them were taken.
        """
        return (
            _KNOWN
            and len(gradients) == self._count
            and bool(compiled.take(id(gradients) + _ITEMS, *self._arguments, addresses, *written.bounds))
        )
