"""Tell how many steps were made from a running product of the betas, which some dialects keep instead of a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from adamcompat.kernel import CHUNK, products
from adamcompat.state.terms import StateError

# Of the distance between a product and the next one; more is no rounding.
_TOLERANCE = 0.25


def factors_in(product: Any, beta: float) -> int | None:
    """Return how many factors `beta` a running product has.

    A running product begins at 1 and is rounded to its dtype after each factor: ``product = round(product * beta)``.

    Args:
        product: a NumPy scalar in the dtype in which it was formed, from 0 to 1.
        beta: the factor, in [0, 1).

    Returns:
        The number of factors; None where it no longer shows, as the product is below the smallest normal number.

    Raises:
        StateError: no running product of `beta` comes close to `product`.

    >>> from adamcompat.kernel import running_product
    >>> factors_in(running_product(0.999, 500, np.float32), 0.999)
    500
    """
    if not 0 <= product <= 1:
        raise StateError(f"{product!r} is no running product of {beta!r}: those lie between 0 and 1")
    if product == 1:
        return 0
    if product < np.finfo(product.dtype).tiny:
        return None
    current, count = product.dtype.type(1), 0
    while True:
        following = products(current, beta, CHUNK)
        below = np.flatnonzero(following <= product)
        if below.size:
            break
        if following[-1] == following[0]:
            raise StateError(f"{float(product)!r} is no running product of {beta!r}, which stays at {current!r}")
        current, count = following[-1], count + CHUNK
    place = int(below[0])
    above = float(following[place - 1]) if place else float(current)
    after = float(following[place])
    # Which of the two neighbours is nearer, on a scale on which they are 1 apart.
    offset = (above - float(product)) / (above - after)
    nearest = round(offset)
    if abs(offset - nearest) > _TOLERANCE:
        raise StateError(
            f"{float(product)!r} is no running product of {beta!r}: after {count + place} factors it is {above!r}, "
            f"after {count + place + 1} {after!r}"
        )
    return count + place + nearest
