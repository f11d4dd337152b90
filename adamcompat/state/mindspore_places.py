"""Read and write the Parameters of MindSpore's optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from adamcompat.state.terms import StateError


@cache
def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return NumPy's dtype for one of MindSpore's.

    It is read off an array, as MindSpore's own function logs a deprecation at each call.
    """
    return np.dtype(Tensor([0], dtype).asnumpy().dtype)


def named_parameters(optimizer: Any, parameters: Any) -> dict[str, Any]:
    """Return the Parameters that an optimizer updates, in its order, by name.

    Args:
        optimizer: one with the attribute `parameters`.
        parameters: the Parameters that it updates by the caller's word: a dictionary, which also names them, or a
            sequence; None for the optimizer's own and their names.

    Raises:
        StateError: `parameters` are other Parameters than the optimizer's, or are in another order.
    """
    own = list(optimizer.parameters)
    if parameters is not None:
        given = list(parameters.values() if isinstance(parameters, Mapping) else parameters)
        if [id(parameter) for parameter in given] != [id(parameter) for parameter in own]:
            raise StateError(
                f"parameters: not the {len(own)} Parameters that this optimizer updates, in the order of its "
                f"`parameters`: {', '.join(parameter.name for parameter in own[:8])}"
            )
    names = list(parameters) if isinstance(parameters, Mapping) else [parameter.name for parameter in own]
    return dict(zip(names, own, strict=True))


@dataclass(frozen=True, slots=True)
class Place:
    """Give access to a Parameter.

    It is written by an operator, in place. In PYNATIVE mode, `set_data` and what rests on it (`assign_value`,
    `load_param_into_net`) give a Parameter another buffer, while the optimizer's graph goes on updating the old one.
    """

    parameter: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the Parameter's shape."""
        return tuple(self.parameter.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's dtype for the Parameter."""
        return numpy_dtype(self.parameter.dtype)

    def read(self) -> NDArray[Any]:
        """Return a copy of the Parameter's elements."""
        return np.array(self.parameter.asnumpy())

    def write(self, value: NDArray[Any]) -> None:
        """Replace the Parameter's elements.

        Args:
            value: an array of the Parameter's shape.
        """
        self.parameter.copy_(Tensor(value, self.parameter.dtype))


@dataclass(frozen=True, slots=True)
class Element:
    """Give access to one element of a Parameter.

    Attributes:
        whole: the place of the Parameter.
        index: which element, from 0.
    """

    whole: Place
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one element, which has no axes."""
        return ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's dtype for the Parameter."""
        return self.whole.dtype

    def read(self) -> NDArray[Any]:
        """Return a copy of the element, as an array without axes."""
        return np.array(self.whole.read()[self.index])

    def write(self, value: NDArray[Any]) -> None:
        """Replace the element; the others stay as they are."""
        array = self.whole.read()
        array[self.index] = value
        self.whole.write(array)


@dataclass(frozen=True, slots=True)
class Counter(Place):
    """Give access to a counter of steps that need not have begun at 0.

    Attributes:
        before: the number at which it began.
    """

    before: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return int32, whatever the counter is kept in: some are kept as float32."""
        return np.dtype(np.int32)

    def read(self) -> NDArray[Any]:
        """Return how many steps were made since the counter began."""
        return np.asarray(Place.read(self) - self.before).astype(self.dtype)

    def write(self, value: NDArray[Any]) -> None:
        """Set how many steps were made since the counter began."""
        Place.write(self, np.asarray(value + self.before, numpy_dtype(self.parameter.dtype)))
