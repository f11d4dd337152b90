"""Describe optimizers as places that can be read and written.

A runtime describes one of its optimizers as `Live`; what is read (`reading`), checked, converted and
written (`writing`) is the same for all.
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
    """One tensor of an optimizer or a model."""

    @property
    def shape(self) -> Shape:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its dtype."""

    def read(self) -> Array:
        """A copy of its elements."""

    def write(self, value: Array) -> None:
        """Replace its elements; `value` has its shape and dtype."""


@dataclass(frozen=True, slots=True)
class Live:
    """An optimizer, described by its runtime.

    Attributes:
        title: what to call it.
        dialect, numerics: names in mapping.yaml.
        convention: whose layouts the parameters have.
        shapes: of the parameters, by name and in order.
        places: role in mapping.yaml ("parameter", "first_moment", ...) to name to place.
        step: counts calls; None where there is no counter.
        powers: role ("beta1_power", "beta2_power") and place of each running product.
        ahead: how many factors a product is ahead of the step: 1 where products start at beta.
        accumulation_steps: how many calls make one update.
        hyperparameters: canonical name to number or truth value.
        loaded: called when everything is written.
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
        StateError: it does.
    """
    for role, places in live.places.items():
        if len(places) != len(live.shapes):
            raise StateError(
                f"the {live.title} keeps {role} for {len(places)} of its {len(live.shapes)} parameters; it is carried "
                f"for all or for none: give all groups the same setting, or save the whole optimizer instead"
            )


def plain_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical hyperparameters among `values` that are numbers or truth values; NumPy's become Python's.

    Of schedules those that are constant are numbers; betas are callables of nothing, if they are any.
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
