"""Define what the modules of this folder speak of: shapes, tensors by name, and the error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Shape: TypeAlias = tuple[int, ...]


class Tensor(Protocol):
    """Stand for an array, or for what can become one when it is needed: a tensor in a file, for example."""

    @property
    def shape(self) -> Shape:
        """Return the shape, without reading the elements."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype, without reading the elements."""

    def __array__(self) -> NDArray[Any]:
        """Return the elements as an array."""


Tensors: TypeAlias = Mapping[str, Tensor]

# What there may be for each parameter: its role in mapping.yaml, and the attribute of `AdamState` that holds it.
ATTRIBUTES = {
    "parameter": "parameters",
    "first_moment": "first_moment",
    "second_moment": "second_moment",
    "maximum_second_moment": "maximum_second_moment",
    "average": "average",
    "accumulated_gradient": "accumulated_gradient",
}


class StateError(ValueError):
    """Tell that state cannot be read, matched or loaded; nothing has changed."""


def is_real(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype holds real numbers; NumPy does not know bfloat16 as such."""
    return dtype.kind == "f" or dtype.name == "bfloat16"
