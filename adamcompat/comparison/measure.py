"""Measure how far apart two lists of tensors are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Distance(NamedTuple):
    """A distance of two lists of tensors.

    Attributes:
        spacings: the largest difference of an element, in units of its tensor; the largest of all tensors.
        absolute: the largest difference of an element.
    """

    spacings: float
    absolute: float


class Scales:
    """The unit for each tensor: the spacing of its dtype at the largest value that it has had so far.

    A bias that begins at zero, or comes by it, would have no scale if only its present value counted.

    >>> scales = Scales([np.array([1.0, -3.0], np.float32)])
    >>> scales.units == [np.spacing(np.float32(3))]
    True
    """

    def __init__(self, tensors: Sequence[Array]) -> None:
        self._dtypes = [tensor.dtype for tensor in tensors]
        self._largest = [0.0] * len(tensors)
        self.update(tensors)

    def update(self, tensors: Iterable[Array]) -> None:
        """Take the values of one more list of tensors; what is not finite has no scale."""
        for i, tensor in enumerate(tensors):
            if tensor.size:
                values = np.abs(tensor)
                largest = float(np.max(values, where=np.isfinite(values), initial=0))
                self._largest[i] = max(self._largest[i], largest)

    @property
    def units(self) -> list[float]:
        """The unit for each tensor; of values that only a wider dtype holds that of the largest its own holds."""
        scaled = zip(self._largest, self._dtypes, strict=True)
        return [
            float(np.spacing(np.asarray(min(largest, np.finfo(dtype).max / 2), dtype))) for largest, dtype in scaled
        ]


def distance(one: Sequence[Array], other: Sequence[Array], units: Sequence[float]) -> Distance:
    """The distance of two lists of tensors of the same shapes.

    Args:
        one, other: the tensors.
        units: one for each tensor, see `Scales`.

    >>> a = [np.array([1, 2], np.float32)]
    >>> distance(a, [np.nextafter(a[0], np.float32(3))], Scales(a).units).spacings
    1.0
    """
    spacings = absolute = 0.0
    for a, b, unit in zip(one, other, units, strict=True):
        if not a.size:
            continue
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(a64 - b64)
            # The same infinity or NaN on both sides is no difference; anything else that is not finite is one.
            alike = (a64 == b64) | (np.isnan(a64) & np.isnan(b64))
            difference = np.where(alike, 0.0, np.where(np.isfinite(difference), difference, np.inf))
        largest = float(difference.max())
        absolute = max(absolute, largest)
        spacings = max(spacings, largest / unit)
    return Distance(spacings, absolute)
