"""Describe optimizers as places that can be read and written.

A runtime describes one of its optimizers as `Live`. Everything else is the same for all runtimes: reading (`reading`),
checking, converting and writing (`writing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adamcompat.mapping.tables import MAPPING
from adamcompat.schedules import Schedule
from adamcompat.state.terms import Shape, StateError

Array = NDArray[Any]


class Place(Protocol):
    """Give access to one tensor of an optimizer or a model."""

    @property
    def shape(self) -> Shape:
        """Return the tensor's shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return NumPy's dtype for the tensor."""

    def read(self) -> Array:
        """Return a copy of the tensor's elements."""

    def write(self, value: Array) -> None:
        """Replace the tensor's elements.

        Args:
            value: an array of the tensor's shape and dtype.
        """


@dataclass(frozen=True, slots=True)
class Live:
    """Describe an optimizer, as its runtime sees it.

    Attributes:
        title: the name of the optimizer, for messages.
        dialect: the name in mapping.yaml of the API that the optimizer has.
        numerics: the name in mapping.yaml of its rounding.
        convention: "tensorflow", "mindspore" or "torch", whose layouts the parameters have; None where that is not
            known.
        shapes: the shape of each parameter by its name, in the optimizer's order.
        places: from a role in mapping.yaml ("parameter", "first_moment", ...) and the name of a parameter to the place.
        step: the place of the counter of calls; None where the optimizer has no counter.
        hyperparameters: canonical names to numbers and truth values.
        powers: the role ("beta1_power", "beta2_power") and the place of each running product of a beta.
        ahead: how many more factors than steps a running product has: 1 where it starts at beta, 0 where it starts at
            1.
        accumulation_steps: how many calls make one update; None where gradients are not accumulated.
        loaded: called when everything has been written.
    """

    title: str
    dialect: str
    numerics: str
    convention: str | None
    shapes: Mapping[str, Shape]
    places: Mapping[str, Mapping[str, Place]]
    step: Place | None
    hyperparameters: Mapping[str, Any]
    powers: tuple[tuple[str, Place], ...] = ()
    ahead: int = 0
    accumulation_steps: int | None = None
    loaded: Callable[[], None] = lambda: None


def refuse_partial(live: Live) -> None:
    """Refuse an optimizer that keeps a kind of state for some of its parameters only: groups may differ in that.

    Raises:
        StateError: the optimizer keeps a kind of state for some of its parameters, and not for others.
    """
    for role, places in live.places.items():
        if len(places) != len(live.shapes):
            raise StateError(
                f"the {live.title} keeps {role} for {len(places)} of its {len(live.shapes)} parameters; it is carried "
                f"for all or for none: give all groups the same setting, or save the whole optimizer instead"
            )


def plain_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical hyperparameters that are numbers or truth values, as Python's own.

    Args:
        values: names to values of any kind. NumPy's scalars, arrays without axes and constant schedules count as
            numbers. A beta that is a callable is called.
    """
    found = {}
    for name, value in values.items():
        if isinstance(value, Schedule):
            value = value.at(0) if value.constant or value.name.startswith("beta") else None
        if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
            value = value.item()
        known = name in MAPPING.canonical and MAPPING.canonical[name].scope == "hyperparameter"
        if known and isinstance(value, (bool, int, float)):
            found[name] = value
    return found
