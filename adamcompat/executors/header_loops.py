"""Hold the loops over arrays and tensors that Numba compiles: whether they are what and where they were."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from adamcompat.executors.columns import GRADIENT
from adamcompat.executors.headers import AXES, DATA, DIMENSIONS, DTYPE, FIELDS, FLAGS, WORD
from adamcompat.executors.likeness import PLAIN, TYPE
from adamcompat.executors.sweeps import call, copy, word


# An array over the same memory would take Numba longer to compile.
@nb.njit(inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _word(address: Any, place: Any) -> Any:
    return word(address + place * WORD)


@nb.njit(inline="always", error_model="numpy")  # type: ignore[untyped-decorator]
def _before(starts: Any, end: Any) -> Any:
    """Return how many regions begin before `end`: as np.searchsorted, which would import half of Numba when loaded."""
    low, high = np.int64(0), np.int64(starts.shape[0])
    while low < high:
        middle = (low + high) // 2
        if starts[middle] < end:
            low = middle + 1
        else:
            high = middle
    return low


def same_headers(addresses: Any, fields: Any, axes: Any) -> Any:
    """Return whether the headers of arrays still hold what they held.

    Args:
        addresses: of the headers.
        fields: what each header held, one row a header; see `headers`.
        axes: what its sizes and strides were, one header's after the other's.
    """
    start = np.int64(0)
    for k in range(addresses.shape[0]):
        for i in range(FIELDS):
            if _word(addresses[k], i) != fields[k, i]:
                return False
        count = 2 * np.int32(fields[k, AXES])
        for i in range(count):
            if _word(fields[k, DIMENSIONS], i) != axes[start + i]:
                return False
        start += count
    return True


def locate(function: Any, objects: Any, places: Any) -> None:
    """Ask a function of each of some objects where its elements begin.

    It must hold the interpreter's lock, without which objects may change while they are looked at.

    Args:
        function: the address of one that `call` can call. It takes the address of an object.
        objects: their addresses.
        places: what the function returns is written here.
    """
    for k in range(objects.shape[0]):
        places[k] = call(function, objects[k])


def take(
    items: Any,
    kinds: Any,
    axes: Any,
    sizes: Any,
    lengths: Any,
    gathered: Any,
    addresses: Any,
    starts: Any,
    reach: Any,
) -> Any:
    """Take gradients into a table: small ones are copied, of large ones the address is noted.

    It must hold the interpreter's lock, without which arrays may change while they are looked at.

    Args:
        items: the address of the pointers to the gradients.
        kinds: the addresses of the type and of the dtype that each must have.
        axes: how many axes each must have.
        sizes: the length of each axis, one gradient's after the other's.
        lengths: the bytes of each.
        gathered: whether it is copied.
        addresses: the table.
        starts: where the memory that the step writes begins, in order, one region after the other.
        reach: for each place among `starts` how far the regions before it reach.

    Returns:
        Whether all of them are such gradients; otherwise what was taken is not to be used.
    """
    first = np.int64(0)
    for k in range(lengths.shape[0]):
        one = _word(items, k)
        if word(one + TYPE) != kinds[0]:
            return False
        header = one + DATA
        if _word(header, DTYPE) != kinds[1] or np.int32(_word(header, AXES)) != axes[k]:
            return False
        if _word(header, FLAGS) & PLAIN != PLAIN:
            return False
        shape = _word(header, DIMENSIONS)
        for i in range(axes[k]):
            if _word(shape, i) != sizes[first + i]:
                return False
        first += axes[k]
        start, length = word(header), lengths[k]
        if gathered[k]:
            copy(addresses[k, GRADIENT], start, length)
        elif reach[_before(starts, start + length)] > start:
            return False
        else:
            addresses[k, GRADIENT] = start
    return True
