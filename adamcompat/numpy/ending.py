"""Hold what a step writes last, for compiled code to write it in the same call as all the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.numpy.arrays import address_of


class Ending:
    """Hold the next values of a counter and, where they are kept, of the running products of the betas.

    Args:
        iterations: the counter, an integer array of one element.
        powers: the running products, or None.
        counts: an array that has the same count in each element, of a dtype of 4 or 8 bytes; or None.

    Attributes:
        writes: for `adamcompat.executors.fused.update_at_once`: overwrites all by their next values.

    >>> counter = np.array([3])
    >>> ending = Ending(counter, None)
    >>> ending.prepare(None)
    >>> int(ending.next_iterations[0]), int(counter[0])
    (4, 3)
    """

    __slots__ = ("_counts", "_iterations", "_next_counts", "_next_powers", "_powers", "next_iterations", "writes")

    def __init__(
        self, iterations: NDArray[Any], powers: NDArray[Any] | None, counts: NDArray[Any] | None = None
    ) -> None:
        self._iterations, self.next_iterations = iterations, np.empty_like(iterations)
        self._powers, self._next_powers = powers, None if powers is None else np.empty_like(powers)
        self._counts, self._next_counts = counts, None if counts is None else np.empty_like(counts)
        pairs = ((iterations, self.next_iterations), (powers, self._next_powers), (counts, self._next_counts))
        kept = [(old, new) for old, new in pairs if old is not None and new is not None]
        self.writes = np.array([(address_of(old), address_of(new), old.nbytes) for old, new in kept], np.int64)

    def of(self, iterations: NDArray[Any], powers: NDArray[Any] | None, counts: NDArray[Any] | None) -> bool:
        """Return whether these are the arrays that are overwritten.

        Args:
            iterations: the counter.
            powers: the running products, or None.
            counts: what has the same count in each element, or None.
        """
        return self._iterations is iterations and self._powers is powers and self._counts is counts

    def prepare(self, powers: tuple[Any, Any] | None) -> None:
        """Form the next values.

        Args:
            powers: the running products after the step, or None where they are not kept.
        """
        np.add(self._iterations, 1, out=self.next_iterations)
        if self._next_powers is not None and powers is not None:
            self._next_powers[:] = powers
        if self._next_counts is not None:
            self._next_counts[...] = self.next_iterations
