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

    Attributes:
        writes: for `adamcompat.executors.fused.update_at_once`: overwrites both by their next values.

    >>> counter = np.array([3])
    >>> ending = Ending(counter, None)
    >>> ending.prepare(None)
    >>> int(ending.next_iterations[0]), int(counter[0])
    (4, 3)
    """

    __slots__ = ("_iterations", "_next_powers", "_powers", "next_iterations", "writes")

    def __init__(self, iterations: NDArray[Any], powers: NDArray[Any] | None) -> None:
        self._iterations, self.next_iterations = iterations, np.empty_like(iterations)
        self._powers, self._next_powers = powers, None if powers is None else np.empty_like(powers)
        pairs = [(iterations, self.next_iterations)]
        if powers is not None and self._next_powers is not None:
            pairs.append((powers, self._next_powers))
        self.writes = np.array([(address_of(old), address_of(new), old.nbytes) for old, new in pairs], np.int64)

    def of(self, iterations: NDArray[Any], powers: NDArray[Any] | None) -> bool:
        """Return whether these are the arrays that are overwritten."""
        return self._iterations is iterations and self._powers is powers

    def prepare(self, powers: tuple[Any, Any] | None) -> None:
        """Form the next values.

        Args:
            powers: the running products after the step, or None where they are not kept.
        """
        np.add(self._iterations, 1, out=self.next_iterations)
        if self._next_powers is not None and powers is not None:
            self._next_powers[:] = powers
