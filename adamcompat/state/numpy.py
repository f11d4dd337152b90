"""Optimizers on NumPy arrays, described for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adamcompat.numpy.apply_gradients import ApplyGradientsAdam
from adamcompat.numpy.arrays import Array, Parameter
from adamcompat.numpy.engine import Engine
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.numpy.slots import Slot
from adamcompat.state.live import Live, plain_numbers
from adamcompat.state.terms import StateError


@dataclass(frozen=True, slots=True)
class _Place:
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def read(self) -> Array:
        return self.array.copy()

    def write(self, value: Array) -> None:
        self.array[...] = value


def describe(optimizer: Any, parameters: Any, session: Any, *, build: bool) -> Live | None:
    """An optimizer of this package on NumPy arrays; None if it is something else."""
    if not isinstance(optimizer, NumPyAdam):
        return None
    if session is not None:
        raise StateError("session: only graphs of TensorFlow have one")
    slots = _slots(optimizer, parameters, build)
    title, dialect = type(optimizer).__name__, optimizer._dialect().name
    return of_engine(title, dialect, optimizer._numerics, optimizer._engine, slots)


def of_engine(title: str, dialect: str, numerics: str, engine: Engine, slots: Mapping[str, Slot]) -> Live:
    """The state of an engine.

    Args:
        title: what to call the optimizer.
        dialect, numerics: names in mapping.yaml.
        engine: whose state.
        slots: the engine's, by name.
    """
    hyper = engine.hyper
    places: dict[str, dict[str, _Place]] = {}
    for name, slot in slots.items():
        for role, array in slot.kept.items():
            places.setdefault(role, {})[name] = _Place(array)
    return Live(
        title=title,
        dialect=dialect,
        numerics=numerics,
        convention=None,
        shapes={name: slot.array.shape for name, slot in slots.items()},
        places=places,
        step=_Place(engine.iterations),
        powers=tuple(
            (role, _Place(engine.powers[place : place + 1]))
            for place, role in enumerate(("beta1_power", "beta2_power"))
            if engine.powers is not None
        ),
        accumulation_steps=hyper["accumulation_steps"],
        hyperparameters=plain_numbers(hyper.values),
    )


def _slots(optimizer: NumPyAdam, parameters: Any, build: bool) -> dict[str, Slot]:
    """The optimizer's slots by the names of its parameters."""
    variables = list(parameters.values()) if isinstance(parameters, Mapping) else parameters
    if isinstance(optimizer, ApplyGradientsAdam) and not optimizer.built:
        if not build or variables is None:
            raise StateError(
                f"this {type(optimizer).__name__} has no state yet; "
                + ("pass parameters=..., or " if build else "make a step, or ")
                + "call its build(variables) first"
            )
        optimizer.build(variables)
    slots = optimizer._engine.slots
    if variables is not None:
        arrays = [variable.data if isinstance(variable, Parameter) else variable for variable in variables]
        if len(arrays) != len(slots) or any(a is not slot.array for a, slot in zip(arrays, slots, strict=True)):
            raise StateError(f"parameters: not the {len(slots)} arrays that this optimizer updates, in its order")
    names = list(parameters) if isinstance(parameters, Mapping) else [slot.name for slot in slots]
    if len(set(names)) != len(names):
        raise StateError(f"two parameters are named alike: {', '.join(names)}; pass parameters={{name: array}}")
    return dict(zip(names, slots, strict=True))
