"""List what of MindSpore's is ours while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcompat.installation.frameworks import Recipe, drop_ins


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced; MindSpore is imported."""
    return [
        Recipe(adapter, dialect.target, ("__call__",), counter=_counter) for adapter, dialect in drop_ins("mindspore")
    ]


def _counter(optimizer: Any) -> Callable[[], int]:
    """Reads the steps of an optimizer without keeping the optimizer."""
    from adamcompat.mindspore.members import counter_of

    step = counter_of(optimizer)
    before = int(step.asnumpy().reshape(-1)[0])
    return lambda: int(step.asnumpy().reshape(-1)[0]) - before
