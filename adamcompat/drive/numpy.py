"""Drive the optimizers of the NumPy runtime: our classes, and the float64 reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from adamcompat.drive.arguments import canonical
from adamcompat.drive.catalogue import FLOAT64, Entry
from adamcompat.drive.driver import Opened, check_count, keyword_only, load_into
from adamcompat.groups import Group
from adamcompat.hyperparameters import Hyperparameters
from adamcompat.mapping.model import Dialect, Numerics
from adamcompat.mapping.tables import MAPPING
from adamcompat.numpy.arrays import Array, Parameter, RowSparse
from adamcompat.numpy.engine import Engine
from adamcompat.numpy.optimizer import NumPyAdam
from adamcompat.numpy.step_call import StepAdam
from adamcompat.state.model import AdamState
from adamcompat.state.numpy import of_engine
from adamcompat.state.runtimes import find


def _class_of(entry: Entry) -> type[NumPyAdam | StepAdam]:
    assert entry.adapter is not None
    found: type[NumPyAdam | StepAdam] = getattr(import_module(entry.adapter.module), entry.adapter.name)
    return found


def own_keywords(entry: Entry) -> dict[str, Any]:
    """Return the keywords of a class that no dialect has, with their defaults."""
    return keyword_only(_class_of(entry))


def open_driver(opened: Opened, weights: list[Array]) -> NumPyDriver | EngineDriver:
    """Open one of our classes, or the reference.

    Args:
        opened: the optimizer and its arguments.
        weights: the initial parameters, one array a parameter; the reference takes them as float64.
    """
    if opened.entry.name == FLOAT64:
        hyper = canonical(opened.adapter, opened.native)
        groups = opened.groups.groups if opened.groups is not None else ()
        model = Model(opened.dialect, hyper, MAPPING.numerics["canonical"], groups)
        return EngineDriver(opened, model, [weight.astype(np.float64) for weight in weights])
    return NumPyDriver(opened, weights)


class NumPyDriver:
    """Drive one of our classes on NumPy."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._parameters = [Parameter(w, name) for w, name in zip(weights, opened.names, strict=True)]
        self._protocol = opened.dialect.protocol
        arguments: dict[str, Any] = {**opened.native, **opened.own}
        kind: Any = _class_of(opened.entry)
        pairs = self._protocol == "apply_gradients"
        self._optimizer: Any = kind(**arguments) if pairs else kind(opened.grouped(self._parameters), **arguments)

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array or `RowSparse` for each parameter, in the order of the weights.

        Raises:
            ValueError: the number of gradients is wrong.
            The dialect's exception for a gradient that does not fit its parameter.
        """
        check_count(gradients, len(self._parameters))
        prepared = [
            gradient if isinstance(gradient, RowSparse) else np.asarray(gradient, parameter.dtype)
            for gradient, parameter in zip(gradients, self._parameters, strict=True)
        ]
        if self._protocol == "call":
            self._optimizer(self.opened.ordered(prepared))
        elif self._protocol == "apply_gradients":
            self._optimizer.apply_gradients(zip(prepared, self._parameters, strict=True))
        else:
            for gradient, parameter in zip(prepared, self._parameters, strict=True):
                parameter.grad = gradient
            self._optimizer.step()

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        known = self._protocol == "call"
        named = None if known else dict(zip(self.opened.names, self._parameters, strict=True))
        load_into(find(self._optimizer, named, None, build=True), state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [parameter.data.copy() for parameter in self._parameters]

    def slots(self) -> dict[str, Array]:
        """Return copies of the state, by the names that the class gives it."""
        if isinstance(self._optimizer, StepAdam):
            state = self._optimizer.state
            return {
                f"{parameter.name}/{name}": array.copy()
                for parameter in self._parameters
                for name, array in state.get(parameter, {}).items()
            }
        return {name: array.copy() for role, name, array in self._optimizer._state() if role != "parameter"}


@dataclass(frozen=True, slots=True)
class Model:
    """Describe an Adam by its facts alone.

    Attributes:
        dialect: whose order of stages and semantics hold.
        hyper: canonical hyperparameters.
        numerics: how it rounds.
        groups: the group of each weight; empty where they are not grouped.
    """

    dialect: Dialect
    hyper: Hyperparameters
    numerics: Numerics
    groups: tuple[Group, ...] = ()


class EngineDriver:
    """Drive the engine with any combination of hyperparameters, semantics and numerics.

    The dtype is that of the weights, which are updated in place.
    """

    def __init__(self, opened: Opened, model: Model, weights: list[Array]) -> None:
        self.opened = opened
        self._model = model
        # Names are looked at where parameters are not grouped.
        skips = () if model.groups else model.dialect.semantics.decay_skips
        self._engine = Engine(
            model.dialect, model.numerics, model.hyper, np.zeros((), np.int64), wrong_gradients=ValueError
        )
        groups = model.groups or [Group()] * len(weights)
        for weight, name, group in zip(weights, opened.names, groups, strict=True):
            self._engine.add(weight, name, group, decays=not any(part in name for part in skips))
        self._all = tuple(range(len(weights)))

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array or `RowSparse` for each parameter, in the order of the weights.

        Raises:
            ValueError: the number or a shape of the gradients is wrong.
        """
        check_count(gradients, len(self._all))
        self._engine.follow()
        self._engine.step(self._all, list(gradients))

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        slots = {slot.name: slot for slot in self._engine.slots}
        dialect, numerics = self._model.dialect.name, self._model.numerics.name
        load_into(of_engine(self.opened.label, dialect, numerics, self._engine, slots), state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [slot.array.copy() for slot in self._engine.slots]

    def slots(self) -> dict[str, Array]:
        """Return copies of the moments, by the names that the dialect gives them."""
        return {
            slot.name_for(entry.name): kept[slot.role].copy()
            for block in self._model.dialect.slots
            for entry in self._engine.slots
            for kept in [entry.kept]
            for slot in block
            if slot.role in kept and slot.role != "parameter"
        }
