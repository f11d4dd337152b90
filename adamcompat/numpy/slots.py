"""One parameter, its state, and what it has in common with others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.numpy.arrays import Array, Parameter


@dataclass(slots=True)
class Slot:
    """One parameter and its state; `owner` is the Parameter that holds the array, where one does."""

    array: Array
    name: str
    group: Group
    decays: bool
    m: Array
    v: Array
    vhat: Array | None
    average: Array | None
    accumulated: Array | None
    owner: Parameter | None = None

    @property
    def plain(self) -> bool:
        """Return whether the array's elements lie one after the other."""
        return bool(self.array.flags.c_contiguous and self.array.flags.aligned)

    @property
    def kept(self) -> dict[str, Array]:
        """The live arrays by their roles in the mapping: the parameter, and the state that there is."""
        arrays = {
            "parameter": self.array,
            "first_moment": self.m,
            "second_moment": self.v,
            "maximum_second_moment": self.vhat,
            "average": self.average,
            "accumulated_gradient": self.accumulated,
        }
        return {role: array for role, array in arrays.items() if array is not None}


@dataclass(slots=True)
class Kind:
    """Parameters that share their scalars and their stages."""

    group: Group
    decays: bool
    dtype: np.dtype[Any]


def kind_of(slot: Slot) -> Kind:
    """The kind of a slot's parameter."""
    return Kind(slot.group, slot.decays, slot.array.dtype)
