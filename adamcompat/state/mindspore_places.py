"""Places in MindSpore's optimizers that can be read and written."""

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
    """NumPy's dtype for one of MindSpore's, by an array: MindSpore's own function logs a deprecation at each call."""
    return np.dtype(Tensor([0], dtype).asnumpy().dtype)


def named_parameters(optimizer: Any, parameters: Any) -> dict[str, Any]:
    """Return the Parameters that an optimizer updates, in its order, by name.

    Args:
        optimizer: one with the attribute `parameters`.
        parameters: what the caller says that it updates, a mapping that also names them or a sequence; None for the
            optimizer's own word and the Parameters' names.

    Raises:
        StateError: other Parameters are said, or another order.
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
    """A Parameter.

    It is written by an operator, in place. In PYNATIVE mode, `set_data` and what rests on it (`assign_value`,
    `load_param_into_net`) give a Parameter another buffer, while the optimizer's graph goes on updating the old one.
    """

    parameter: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return tuple(self.parameter.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype."""
        return numpy_dtype(self.parameter.dtype)

    def read(self) -> NDArray[Any]:
        """Return a copy."""
        return np.array(self.parameter.asnumpy())

    def write(self, value: NDArray[Any]) -> None:
        """Replace what is there."""
        self.parameter.copy_(Tensor(value, self.parameter.dtype))


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a Parameter."""

    whole: Place
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype."""
        return self.whole.dtype

    def read(self) -> NDArray[Any]:
        """Return a copy."""
        return np.array(self.whole.read()[self.index])

    def write(self, value: NDArray[Any]) -> None:
        """Replace what is there."""
        array = self.whole.read()
        array[self.index] = value
        self.whole.write(array)


@dataclass(frozen=True, slots=True)
class Counter(Place):
    """A counter of steps that need not have begun at 0.

    Attributes:
        before: where it began.
    """

    before: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """One of whole numbers; some counters are kept as float32."""
        return np.dtype(np.int32)

    def read(self) -> NDArray[Any]:
        """Return how many steps were made."""
        return np.asarray(Place.read(self) - self.before).astype(self.dtype)

    def write(self, value: NDArray[Any]) -> None:
        """Set how many steps were made."""
        Place.write(self, np.asarray(value + self.before, numpy_dtype(self.parameter.dtype)))
