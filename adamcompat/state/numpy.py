"""Describe optimizers on NumPy arrays for `adamcompat.state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adamcompat.numpy.apply_gradients import ApplyGradientsAdam
from adamcompat.numpy.arrays import Array, Parameter
from adamcompat.numpy.engine import Engine
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.numpy.slots import Slot
from adamcompat.numpy.step_call import StepAdam
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
    """Describe an optimizer of this package on NumPy arrays.

    Args:
        optimizer: the optimizer, or anything else.
        parameters: the arrays or Parameters that it updates, in its order: a dictionary from names to them, or a
            sequence; None for the optimizer's own and their names.
        session: must be None.
        build: whether an optimizer without state is built, with `parameters` where it does not hold its own.

    Returns:
        The description; None if `optimizer` is something else.

    Raises:
        StateError: `session` is given, `parameters` are not those of the optimizer, two have one name, the optimizer or
            a parameter has no state, or the parameters were updated different numbers of times.
    """
    if not isinstance(optimizer, (NumPyAdam, StepAdam)):
        return None
    if session is not None:
        raise StateError("session: only graphs of TensorFlow have one")
    if isinstance(optimizer, StepAdam):
        return _of_step_call(optimizer, parameters, build)
    slots = _slots(optimizer, parameters, build)
    title, dialect = type(optimizer).__name__, optimizer._dialect().name
    return of_engine(title, dialect, optimizer._numerics, optimizer._engine, slots)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Give access to the number of steps of all engines, which is one number."""

    engines: Sequence[Engine]

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.engines[0].iterations.dtype

    def read(self) -> Array:
        return self.engines[0].iterations.copy()

    def write(self, value: Array) -> None:
        for engine in self.engines:
            engine.iterations[...] = value


def _of_step_call(optimizer: StepAdam, parameters: Any, build: bool) -> Live:
    """Describe TorchStyleAdam or TorchStyleAdamW, whose groups have one engine each, or several."""
    title, known = type(optimizer).__name__, optimizer.parameters()
    variables = list(parameters.values()) if isinstance(parameters, Mapping) else parameters
    if variables is not None and [id(one) for one in variables] != [id(one) for one in known]:
        raise StateError(f"parameters: not the {len(known)} Parameters of this optimizer's groups, in their order")
    if build:
        optimizer.build()
    members = {id(parameter): (cohort.engine, place) for cohort, place, parameter in optimizer._members()}
    if missing := [parameter for parameter in known if id(parameter) not in members]:
        raise StateError(
            f"{len(missing)} of {len(known)} parameters of this {title} have no state, for they never had a gradient; "
            f"make a step with all of them"
        )
    engines = list({id(engine): engine for engine, _ in members.values()}.values())
    steps = sorted({int(engine.iterations) for engine in engines})
    if len(steps) > 1:
        raise StateError(
            f"the parameters of this {title} were updated {', '.join(map(str, steps))} times; one number of steps is "
            f"carried: keep state_dict() instead"
        )
    settings = [plain_numbers(engine.hyper.values) for engine in engines]
    names = list(parameters) if isinstance(parameters, Mapping) else [optimizer.name_of(one) for one in known]
    slots = {name: members[id(one)] for name, one in zip(names, known, strict=True)}
    own = {name: engine.slots[place] for name, (engine, place) in slots.items()}
    live = of_engine(title, optimizer._dialect().name, optimizer._numerics, engines[0], own)
    shared = {name: value for name, value in settings[0].items() if all(one.get(name) == value for one in settings)}

    def loaded() -> None:
        for engine in engines:
            engine.count(int(engine.iterations))

    return replace(live, step=_Steps(engines), powers=(), hyperparameters=shared, loaded=loaded)


def of_engine(title: str, dialect: str, numerics: str, engine: Engine, slots: Mapping[str, Slot]) -> Live:
    """Describe an optimizer by the engine that makes its steps.

    Args:
        title: the name of the optimizer, for messages.
        dialect: the name in mapping.yaml of its API.
        numerics: the name in mapping.yaml of its rounding.
        engine: the engine, whose counter and running products are read and written.
        slots: the engine's slots by the names of their parameters, in order.

    Returns:
        The description; its places are the engine's own arrays.
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
    """Return the optimizer's slots by the names of its parameters."""
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
