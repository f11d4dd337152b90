"""Drive MindSpore's originals and our classes on MindSpore."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# What the framework says on import is of no use here.
os.environ.setdefault("GLOG_v", "3")

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from adamcompat.drive.catalogue import Entry
from adamcompat.drive.driver import Array, Opened, as_dense, check_count, keyword_only, load_into
from adamcompat.mapping.facts import ParameterFact
from adamcompat.mapping.tables import MAPPING
from adamcompat.mindspore.graph import in_divisions
from adamcompat.mindspore.members import members
from adamcompat.numpy.arrays import RowSparse
from adamcompat.schedules import Schedule
from adamcompat.state.model import AdamState
from adamcompat.state.runtimes import find

_MODES = {"pynative": ms.PYNATIVE_MODE, "graph": ms.GRAPH_MODE}


def own_keywords(entry: Entry) -> dict[str, Any]:
    """Return the keywords of a class of ours that no dialect has, with their defaults."""
    return keyword_only(_class_of(entry))


def _class_of(entry: Entry) -> Any:
    adapter = entry.adapter
    if adapter is None:
        return next(member.kind for member in members() if member.dialect.name == entry.dialect)
    return getattr(import_module(adapter.module), adapter.name)


def open_driver(opened: Opened, weights: list[Array]) -> MindSporeDriver:
    """Open an optimizer, to be run in PYNATIVE or GRAPH mode.

    Args:
        opened: the optimizer and its arguments.
        weights: the initial parameters, one array a parameter.

    Raises:
        ValueError: a group asks for centralization that the optimizer does not do.
    """
    return MindSporeDriver(opened, weights)


@contextmanager
def _mode(name: str) -> Iterator[None]:
    """Set MindSpore's mode, which is one for the whole process, for a step, and set it back."""
    before = ms.get_context("mode")
    ms.set_context(mode=_MODES[name])
    try:
        yield
    finally:
        ms.set_context(mode=before)


def _refuse_centralization(opened: Opened, weights: list[Array]) -> None:
    """Refuse centralization that nn.Adam would not do, or only in part; ours does on a CPU what it has no operator for.

    Raises:
        ValueError: a group asks for it.
    """
    assert opened.groups is not None
    asked = [weight for weight, group in zip(weights, opened.groups.groups, strict=True) if group.centralize]
    if opened.entry.adapter is not None:
        whole = opened.own.get("corrections")
        asked = [] if whole else [weight for weight in asked if weight.ndim > 1 and not in_divisions(weight.shape)]
    if asked:
        fact = next(fact for fact in opened.dialect.groups if fact.canonical == "group_centralization")
        ours = next(
            a for a in MAPPING.adapters if (a.runtime, a.dialect) == (opened.entry.runtime, opened.dialect.name)
        )
        raise ValueError(
            f"{opened.dialect.target} leaves most gradients as they are when {fact.name!r} is set, and has no operator "
            f"for the others on a CPU; leave the key out, or drive {ours.module}.{ours.name} with corrections=True"
        )


class MindSporeDriver:
    """Drive an optimizer that is called with gradients alone, or with pairs."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._steps = 0
        self._parameters = [
            Parameter(Tensor(weight), name=name) for weight, name in zip(weights, opened.names, strict=True)
        ]
        kind = _class_of(opened.entry)
        arguments: dict[str, Any] = {**opened.native, **opened.own}
        self._calls = opened.dialect.protocol != "apply_gradients"
        if self._calls and opened.groups is not None:
            _refuse_centralization(opened, weights)
        with _mode(opened.mode):
            if self._calls:
                groups = opened.grouped(self._parameters)
                places = self._schedules(groups, arguments)
                self._optimizer: Any = kind(groups, **arguments)
                # Each step sets the Parameters that hold these rates.
                held = None if opened.dialect.overrides else self._optimizer.get_lr_parameter
                self._rates = [
                    (self._optimizer.lrs[0] if held is None else held(place), schedule) for place, schedule in places
                ]
            else:
                self._optimizer = kind(**arguments)
                self._rates = []

    def _schedules(self, groups: list[Any], arguments: dict[str, Any]) -> list[tuple[Parameter, Schedule]]:
        """Replace Python callables, which MindSpore cannot compile, by numbers.

        Returns:
            The callables, each with one of the Parameters that it is for.
        """
        found: list[tuple[Parameter, Schedule]] = []
        start = self.opened.dialect.semantics.schedule_start

        def replace(holder: dict[str, Any], fact: ParameterFact, parameters: list[Parameter]) -> None:
            value = holder.get(fact.name)
            if callable(value) and not isinstance(value, (nn.Cell, Tensor)):
                schedule = Schedule(value, fact.name, fact.range)
                holder[fact.name] = schedule.at(start)
                found.extend((parameter, schedule) for parameter in parameters[:1])

        left = list(self._parameters)
        if self.opened.groups is not None:
            own = {fact.canonical: fact for fact in self.opened.dialect.groups}
            rate, weights = own["group_learning_rate"], own["group_parameters"]
            for group in groups:
                if rate.name in group:
                    replace(group, rate, group[weights.name])
            left = [
                parameter
                for parameter, group in zip(self._parameters, self.opened.groups.groups, strict=True)
                if group.learning_rate is None
            ]
        fact = self.opened.dialect.named("learning_rate")
        assert fact is not None
        replace(arguments, fact, left)
        return found

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step, in the mode in which the optimizer was opened.

        Args:
            gradients: an array for each parameter, in the order of the weights.

        Raises:
            ValueError: the number or a shape of the gradients is wrong, or one is a `RowSparse`.
        """
        check_count(gradients, len(self._parameters))
        if any(isinstance(gradient, RowSparse) for gradient in gradients):
            raise ValueError(f"{self.opened.label} takes dense gradients here; pass gradient.dense(shape)")
        arrays = self.parameters()
        tensors = tuple(Tensor(as_dense(g, like)) for g, like in zip(gradients, arrays, strict=True))
        with _mode(self.opened.mode):
            for place, schedule in self._rates:
                rate = schedule.at(self._steps + self.opened.dialect.semantics.schedule_start)
                ops.assign(place, Tensor(rate, ms.float32))
            if self._calls:
                self._optimizer(tuple(self.opened.ordered(tensors)))
            else:
                self._optimizer.apply_gradients(zip(tensors, self._parameters, strict=True))
        self._steps += 1

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        names = {id(parameter): name for name, parameter in zip(self.opened.names, self._parameters, strict=True)}
        # Groups change the order of the optimizer's own Parameters.
        own = self._optimizer.parameters if self._calls else self._parameters
        with _mode(self.opened.mode):
            live = find(self._optimizer, {names[id(parameter)]: parameter for parameter in own}, None, build=True)
            self._steps = load_into(live, state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [parameter.asnumpy().copy() for parameter in self._parameters]

    def slots(self) -> dict[str, Array]:
        """Return copies of the optimizer's own Parameters by their names."""
        if not self._calls:
            return {variable.name: variable.asnumpy().copy() for variable in self._optimizer.variables}
        own = {id(parameter) for parameter in self._parameters}
        return {
            name: parameter.asnumpy().copy()
            for name, parameter in self._optimizer.parameters_dict().items()
            if id(parameter) not in own
        }
