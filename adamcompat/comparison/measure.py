"""Measure how far apart two lists of tensors are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Distance(NamedTuple):
    """Hold a distance of two lists of tensors.

    Attributes:
        spacings: the largest difference of an element, in units of its tensor; the largest of all tensors.
        absolute: the largest difference of an element.
    """

    spacings: float
    absolute: float


class Scales:
    """Keep the unit for each tensor: the spacing of its dtype at the largest value that it has had so far.

    A bias that begins at zero, or comes by it, would have no scale if only its present value counted.

    Args:
        tensors: the first values of each tensor; they decide its dtype.

    >>> scales = Scales([np.array([1.0, -3.0], np.float32)])
    >>> scales.units == [np.spacing(np.float32(3))]
    True
    """

    def __init__(self, tensors: Sequence[Array]) -> None:
        self._dtypes = [tensor.dtype for tensor in tensors]
        self._largest = [0.0] * len(tensors)
        self.update(tensors)

    def update(self, tensors: Iterable[Array]) -> None:
        """Take the values of one more list of tensors; what is not finite has no scale.

        Args:
            tensors: in the same order as before.
        """
        for i, tensor in enumerate(tensors):
            if tensor.size:
                values = np.abs(tensor)
                largest = float(np.max(values, where=np.isfinite(values), initial=0))
                self._largest[i] = max(self._largest[i], largest)

    @property
    def units(self) -> list[float]:
        """Return the unit for each tensor.

        Beyond half the largest number that a tensor's dtype holds the unit does not grow.
        """
        scaled = zip(self._largest, self._dtypes, strict=True)
        return [
            float(np.spacing(np.asarray(min(largest, float(np.finfo(dtype).max) / 2), dtype)))
            for largest, dtype in scaled
        ]


def distance(one: Sequence[Array], other: Sequence[Array], units: Sequence[float]) -> Distance:
    r"""Return the distance of two lists of tensors of the same shapes.

    .. math::
        \text{spacings} = \max_i \max_j |a_{ij} - b_{ij}| / u_i, \qquad
        \text{absolute} = \max_i \max_j |a_{ij} - b_{ij}|

    with the elements :math:`a_{ij}` and :math:`b_{ij}` of tensor :math:`i` and its unit :math:`u_i`. Differences are
    formed in float64. The same infinity or NaN on both sides is no difference; on one side only it is an infinite
    difference.

    Args:
        one: the tensors of one side, in any dtypes.
        other: the tensors of the other side, in the same order.
        units: one for each tensor, see `Scales`.

    Returns:
        The distance; 0 where there are no elements.

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
