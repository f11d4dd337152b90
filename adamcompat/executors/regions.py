"""Regions of memory, and which others overlap them: what is written must not be read under another name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Regions:
    """Hold a set of memory regions, and find others that overlap it.

    Args:
        starts: the address of each region's first byte.
        sizes: the number of bytes of each.
    """

    def __init__(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        order = np.argsort(starts, kind="stable")
        self._starts = starts[order]
        # How far the regions reach that begin before each of them, and before the end of memory.
        self._reach = np.concatenate([[0], np.maximum.accumulate((starts + sizes)[order])])

    @property
    def bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where regions start, in order, and how far those reach that begin before each of them or the end."""
        return self._starts, self._reach

    def overlaps(self, start: int, end: int) -> bool:
        """Return whether one region overlaps one of this set.

        Args:
            start: the address of its first byte.
            end: the address behind its last byte.
        """
        return bool(self._reach[self._starts.searchsorted(end)] > start)

    def touch(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the places of those of the given regions that overlap one of this set.

        Args:
            starts: the address of each region's first byte.
            sizes: the number of bytes of each.
        """
        before = self._starts.searchsorted(starts + sizes)
        found: NDArray[np.intp] = (self._reach[before] > starts).nonzero()[0]
        return found
