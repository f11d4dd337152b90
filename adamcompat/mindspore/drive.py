"""Drivers of mindspore.nn.Adam and of our classes on MindSpore."""

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
from adamcompat.drive.driver import Array, Opened, as_dense, check_count, keyword_only
from adamcompat.numpy.arrays import RowSparse
from adamcompat.schedules import Schedule

_MODES = {"pynative": ms.PYNATIVE_MODE, "graph": ms.GRAPH_MODE}


def own_keywords(entry: Entry) -> dict[str, Any]:
    """The keywords of a class of ours that no dialect has, with their defaults."""
    return keyword_only(_class_of(entry))


def _class_of(entry: Entry) -> Any:
    adapter = entry.adapter
    return nn.Adam if adapter is None else getattr(import_module(adapter.module), adapter.name)


def open_driver(opened: Opened, weights: list[Array]) -> MindSporeDriver:
    """Open an optimizer, to be run in PYNATIVE or GRAPH mode."""
    return MindSporeDriver(opened, weights)


@contextmanager
def _mode(name: str) -> Iterator[None]:
    """MindSpore's mode is one for the whole process: set it for a step, and set it back."""
    before = ms.get_context("mode")
    ms.set_context(mode=_MODES[name])
    try:
        yield
    finally:
        ms.set_context(mode=before)


class MindSporeDriver:
    """Drives an optimizer that is called with gradients alone, or with pairs."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._steps = 0
        self._parameters = [
            Parameter(Tensor(weight), name=name) for weight, name in zip(weights, opened.names, strict=True)
        ]
        kind = _class_of(opened.entry)
        arguments: dict[str, Any] = {**opened.native, **opened.own}
        self._calls = opened.dialect.protocol == "call"
        self._schedule = self._scheduled(arguments)
        with _mode(opened.mode):
            self._optimizer: Any = kind(self._parameters, **arguments) if self._calls else kind(**arguments)

    def _scheduled(self, arguments: dict[str, Any]) -> Schedule | None:
        """A Python callable as learning rate: MindSpore cannot compile it, so that each step sets its value."""
        fact = self.opened.dialect.named("learning_rate")
        assert fact is not None
        value = arguments.get(fact.name)
        if not self._calls or not callable(value) or isinstance(value, (nn.Cell, Tensor)):
            return None
        schedule = Schedule(value, fact.name, fact.range)
        start = self.opened.dialect.semantics.schedule_start
        arguments[fact.name] = schedule.at(start)
        return schedule

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step."""
        check_count(gradients, len(self._parameters))
        if any(isinstance(gradient, RowSparse) for gradient in gradients):
            raise ValueError(f"{self.opened.label} takes dense gradients here; pass gradient.dense(shape)")
        arrays = self.parameters()
        tensors = tuple(Tensor(as_dense(g, like)) for g, like in zip(gradients, arrays, strict=True))
        with _mode(self.opened.mode):
            if self._schedule is not None:
                rate = self._schedule.at(self._steps + self.opened.dialect.semantics.schedule_start)
                ops.assign(self._optimizer.learning_rate, Tensor(rate, ms.float32))
            if self._calls:
                self._optimizer(tensors)
            else:
                self._optimizer.apply_gradients(zip(tensors, self._parameters, strict=True))
        self._steps += 1

    def parameters(self) -> list[Array]:
        """Copies of the parameters."""
        return [parameter.asnumpy().copy() for parameter in self._parameters]

    def slots(self) -> dict[str, Array]:
        """Copies of the optimizer's own Parameters."""
        if not self._calls:
            return {variable.name: variable.asnumpy().copy() for variable in self._optimizer.variables}
        own = {id(parameter) for parameter in self._parameters}
        return {
            name: parameter.asnumpy().copy()
            for name, parameter in self._optimizer.parameters_dict().items()
            if id(parameter) not in own
        }
