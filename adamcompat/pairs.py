"""Take apart the argument of ``apply_gradients``, which every runtime takes alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def split(grads_and_vars: Iterable[Any], error: type[Exception]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the gradients and the variables of pairs.

    Args:
        grads_and_vars: pairs of a gradient and a variable, at least one.
        error: the exception for anything else.

    Returns:
        All gradients, and all variables, in the order of the pairs.

    Raises:
        error: there are no pairs, or something among them is no pair.

    >>> split(zip([0.1, 0.2], ["a", "b"]), ValueError)
    ((0.1, 0.2), ('a', 'b'))
    """
    pairs = list(grads_and_vars)
    if not pairs:
        raise error("No gradients provided for any variable: the list of pairs is empty.")
    try:
        gradients, variables = zip(*pairs, strict=True)
    except (TypeError, ValueError):
        raise error("apply_gradients takes pairs (gradient, variable), as in zip(gradients, variables)") from None
    return gradients, variables
