"""Keep watch over the graphs that MindSpore has compiled for an optimizer in PYNATIVE mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Any, NamedTuple

from mindspore import context

from adamcompat.mindspore.layout import Attributes, same
from adamcompat.mindspore.memory import addresses

# It moved, and says so where it is imported from its old place.
_moved = find_spec("mindspore.graph") and find_spec("mindspore.graph.api")
_api = "mindspore.graph.api" if _moved else "mindspore.common.api"
ms_compile_cache: Any = import_module(_api).ms_compile_cache


def forget(optimizer: Any) -> None:
    """Have an optimizer compile its step anew.

    A graph keeps the memory that it saw first. Where a Parameter was given other memory, by `load_param_into_net` for
    example, it would go on updating what nobody sees.
    """
    made, own = f".{optimizer.create_time}", f".{id(optimizer)}."
    phases = {phase for phase in ms_compile_cache if made in phase and own in phase}
    for phase in phases.union(optimizer.phase_cache.values()):
        ms_compile_cache.discard(phase)


class _Seen(NamedTuple):
    """Hold the addresses of all that a step writes and reads, and the attributes that it reads."""

    written: bytes
    read: bytes
    attributes: list[Any]


class Graphs:
    """Look after the graphs of one optimizer, for steps that its original makes.

    Args:
        optimizer: an optimizer of MindSpore.
        attributes: what its step reads and writes.
        stale: called where something was replaced that a step reads, and corrections are off.
    """

    def __init__(self, optimizer: Any, attributes: Attributes, stale: Callable[[], None]) -> None:
        self._optimizer = optimizer
        self._attributes = attributes
        self._stale = stale
        self._read: list[Any] = []
        self._known: _Seen | None = None

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make a step within, with graphs that write where everything lies; with corrections, that read there too.

        What moves during the step is the original's own affair: an assignment to a Parameter in a graph may move it.
        """
        if context.get_context("device_target") != "CPU":
            yield
            return
        self._compare()
        yield
        # A step that fails may have compiled nothing.
        self._known = self._now()

    def _compare(self) -> None:
        """Find what was replaced since the last step, and have the step compiled anew where that counts."""
        known = self._known
        if known is None:
            written = {id(parameter) for parameter in self._written()}
            self._read = [p for p in self._optimizer.get_parameters() if id(p) not in written]
            return
        now = self._now()
        replaced = known.read != now.read or not all(map(same, known.attributes, now.attributes))
        if known.written != now.written or (replaced and self._optimizer.corrections):
            forget(self._optimizer)
        elif replaced:
            self._stale()

    def _written(self) -> list[Any]:
        o, own = self._optimizer, self._attributes
        return [*o.parameters, *chain.from_iterable(own.state(o)), *own.counted(o)]

    def _now(self) -> _Seen:
        attributes = [getattr(self._optimizer, name) for name in self._attributes.numbers]
        return _Seen(addresses(self._written()).tobytes(), addresses(self._read).tobytes(), attributes)
