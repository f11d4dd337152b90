"""How far apart two lists of tensors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Distance(NamedTuple):
    """A distance of two lists of tensors.

    Attributes:
        spacings: the largest difference of an element, in units of the spacing of the dtype at the tensor's
            largest value: ``|a - b| / spacing(max(|a|, |b|))``; the largest of all tensors.
        absolute: the largest difference of an element.
    """

    spacings: float
    absolute: float


def distance(one: Sequence[Array], other: Sequence[Array], dtypes: Sequence[np.dtype[Any]]) -> Distance:
    """The distance of two lists of tensors of the same shapes.

    Args:
        one, other: the tensors.
        dtypes: one for each tensor, whose spacing is the unit.

    >>> a = [np.array([1, 2], np.float32)]
    >>> distance(a, [np.nextafter(a[0], np.float32(3))], [np.dtype(np.float32)]).spacings
    1.0
    """
    spacings = absolute = 0.0
    for a, b, unit in zip(one, other, dtypes, strict=True):
        if not a.size:
            continue
        a64, b64 = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(a64 - b64)
            # The same infinity or NaN on both sides is no difference; anything else that is not finite is one.
            alike = (a64 == b64) | (np.isnan(a64) & np.isnan(b64))
            difference = np.where(alike, 0.0, np.where(np.isfinite(difference), difference, np.inf))
            both = np.abs(np.concatenate([a64.ravel(), b64.ravel()]))
            scale = np.max(both, where=np.isfinite(both), initial=0.0)
            largest = float(difference.max())
            step = float(np.spacing(np.asarray(scale, unit)))
        absolute = max(absolute, largest)
        spacings = max(spacings, largest / step if np.isfinite(step) else largest)
    return Distance(spacings, absolute)
