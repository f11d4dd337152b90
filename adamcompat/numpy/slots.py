"""One parameter, its state, and what it has in common with others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adamcompat.groups import Group
from adamcompat.kernel import Scalars
from adamcompat.numpy.arrays import Array, Parameter
from adamcompat.program import Update


@dataclass(slots=True)
class Slot:
    """Hold one parameter and its state.

    Attributes:
        array: the parameter.
        name: what the parameter is called in the state and in errors.
        group: the settings that it shares with others.
        decays: whether weight decay reaches it.
        m: the first moment, of the parameter's shape and dtype, as is all state.
        v: the second moment.
        vhat: the maximum of the second moments, or None without AMSGrad.
        average: the moving average of the parameter, or None where none is kept.
        accumulated: the accumulated gradient, or None where gradients are not accumulated.
        owner: the Parameter that holds the array, or None where there is none.
    """

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
    """Describe parameters that share their scalars and their stages.

    Attributes:
        group: the settings that they share.
        decays: whether weight decay reaches them.
        dtype: of the parameters.
        scalars: makes the scalars of a step, after what it was made for: an update and its betas. None at first.
    """

    group: Group
    decays: bool
    dtype: np.dtype[Any]
    scalars: tuple[Update, tuple[float, float], Scalars] | None = field(default=None, compare=False)


def kind_of(slot: Slot) -> Kind:
    """Return the kind of a slot's parameter."""
    return Kind(slot.group, slot.decays, slot.array.dtype)
