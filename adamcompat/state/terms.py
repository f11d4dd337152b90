"""Define what the modules of this folder speak of: shapes, tensors by name, and the error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adamcompat.kinds import told

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


def check_tensors(tensors: object, role: str) -> None:
    """Refuse what is no dictionary from names to tensors.

    Raises:
        StateError: it is none.

    >>> check_tensors({"w": [0.0]}, "average")
    Traceback (most recent call last):
    adamcompat.state.terms.StateError: average of 'w' must be an array; got [0.0] (list): numpy.asarray makes one
    """
    if not isinstance(tensors, Mapping):
        raise StateError(f"{role} must be a dictionary from names of parameters to arrays; got {told(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise StateError(f"{role} must have names as keys; got {told(name)}")
        if not (hasattr(tensor, "shape") and hasattr(tensor, "dtype")):
            raise StateError(f"{role} of {name!r} must be an array; got {told(tensor)}: numpy.asarray makes one")


def check_shapes(shapes: object, side: str) -> None:
    """Refuse what is no dictionary from names to shapes.

    Raises:
        StateError: it is none.

    >>> check_shapes({"weight": 3}, "target")
    Traceback (most recent call last):
    adamcompat.state.terms.StateError: target: the shape of 'weight' must be a tuple such as (64, 10); got 3 (int)
    """
    if not isinstance(shapes, Mapping):
        raise StateError(f"{side} must be a dictionary from names of parameters to shapes; got {told(shapes)}")
    for name, shape in shapes.items():
        if not isinstance(name, str):
            raise StateError(f"{side} must have names as keys; got {told(name)}")
        # A TensorShape is no Sequence, and may hold what is no int but counts as one.
        if not (isinstance(shape, Iterable) and all(hasattr(axis, "__index__") for axis in shape)):
            raise StateError(f"{side}: the shape of {name!r} must be a tuple such as (64, 10); got {told(shape)}")


def is_real(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype holds real numbers; NumPy does not know bfloat16 as such."""
    return dtype.kind == "f" or dtype.name == "bfloat16"
