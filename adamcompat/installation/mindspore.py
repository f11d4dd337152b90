"""List what of MindSpore's is ours while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcompat.installation.frameworks import Recipe
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced; MindSpore is imported."""
    found = []
    for adapter in MAPPING.adapters:
        runtime, dialect = RUNTIMES[adapter.runtime], MAPPING.dialects[adapter.dialect]
        if runtime.framework.name == "mindspore" and dialect.name in runtime.originals and adapter.replaces(dialect):
            found.append(Recipe(adapter, dialect.target, ("__call__",), counter=_counter))
    return found


def _counter(optimizer: Any) -> Callable[[], int]:
    """Reads the steps of an optimizer without keeping the optimizer."""
    from adamcompat.mindspore.members import counter_of

    step = counter_of(optimizer)
    before = int(step.asnumpy().reshape(-1)[0])
    return lambda: int(step.asnumpy().reshape(-1)[0]) - before
