"""Drive PyTorch's optimizers and our classes on its tensors."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch

from adamcompat.drive.catalogue import Entry
from adamcompat.drive.driver import Array, Opened, as_dense, check_count, keyword_only, load_into
from adamcompat.mapping.originals import originals
from adamcompat.numpy.arrays import RowSparse
from adamcompat.schedules import Schedule
from adamcompat.state.model import AdamState
from adamcompat.state.runtimes import find
from adamcompat.state.torch_tensors import array_of, tensor_of


def own_keywords(entry: Entry) -> dict[str, Any]:
    """Return the keywords of a class of ours that no dialect has, with their defaults."""
    return keyword_only(_class_of(entry))


def _class_of(entry: Entry) -> Any:
    if entry.adapter is None:
        return originals()[entry.name].loaded()
    return getattr(import_module(entry.adapter.module), entry.adapter.name)


def open_driver(opened: Opened, weights: list[Array]) -> TorchDriver:
    """Open an optimizer, on the CPU.

    Args:
        opened: the optimizer and its arguments.
        weights: the initial parameters, one array a parameter.
    """
    return TorchDriver(opened, weights)


class TorchDriver:
    """Drive an optimizer that takes the gradients of its parameters from them."""

    def __init__(self, opened: Opened, weights: list[Array]) -> None:
        self.opened = opened
        self._steps = 0
        # Classes in other styles take rows, and learning rates that change.
        self._dense = opened.dialect.protocol == "step"
        self._parameters = [torch.nn.Parameter(tensor_of(weight)) for weight in weights]
        arguments: dict[str, Any] = {**opened.native, **opened.own}
        self._rate = self._scheduled(arguments)
        parameters = opened.grouped(self._parameters)
        if opened.groups is None and opened.entry.adapter is not None:
            parameters = list(zip(opened.names, parameters, strict=True))
        self._optimizer: Any = _class_of(opened.entry)(parameters, **arguments)

    def _scheduled(self, arguments: dict[str, Any]) -> Schedule | None:
        """Replace a list or a callable by its first value: PyTorch takes numbers, which every step may find changed."""
        fact = self.opened.dialect.named("learning_rate")
        assert fact is not None
        value = arguments.get(fact.name)
        if not self._dense or (not isinstance(value, (list, tuple)) and not callable(value)):
            return None
        schedule = Schedule(value, fact.name, fact.range)
        arguments[fact.name] = schedule.at(self.opened.dialect.semantics.schedule_start)
        return schedule

    def step(self, gradients: Sequence[Any]) -> None:
        """Make one step.

        Args:
            gradients: an array for each parameter, in the order of the weights. Classes of ours in another framework's
                style take `RowSparse` too.

        Raises:
            ValueError: the number or a shape of the gradients is wrong, or a `RowSparse` is not taken.
        """
        check_count(gradients, len(self._parameters))
        if self._dense and any(isinstance(gradient, RowSparse) for gradient in gradients):
            raise ValueError(f"{self.opened.label} takes dense gradients only; pass gradient.dense(shape)")
        found = [_gradient(g, like) for g, like in zip(gradients, self.parameters(), strict=True)]
        if self._rate is not None:
            rate = self._rate.at(self._steps + self.opened.dialect.semantics.schedule_start)
            for group in self._optimizer.param_groups:
                group[self._rate.name] = rate
        for parameter, gradient in zip(self._parameters, found, strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        self._steps += 1

    def load(self, state: AdamState) -> None:
        """Go on from a state under the names of the weights."""
        named = dict(zip(self.opened.names, self._parameters, strict=True))
        self._steps = load_into(find(self._optimizer, named, None, build=True), state)

    def parameters(self) -> list[Array]:
        """Return copies of the parameters."""
        return [array_of(parameter).copy() for parameter in self._parameters]

    def slots(self) -> dict[str, Array]:
        """Return copies of the state, under names such as ``weight/exp_avg``: the parameter and the kind of state."""
        return {
            f"{name}/{key}": array_of(torch.as_tensor(value)).copy()
            for name, parameter in zip(self.opened.names, self._parameters, strict=True)
            for key, value in self._optimizer.state.get(parameter, {}).items()
        }


def _gradient(gradient: Any, like: Array) -> Any:
    """Return a gradient as a tensor of its parameter's shape and dtype; rows stay rows."""
    if not isinstance(gradient, RowSparse):
        return tensor_of(as_dense(gradient, like))
    rows = torch.from_numpy(gradient.indices[None, :])
    return torch.sparse_coo_tensor(
        rows, tensor_of(gradient.values.astype(like.dtype)), like.shape, check_invariants=True
    )
