"""List the recipes for MindSpore's classes, which ours replace while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcompat.installation.frameworks import Recipe, drop_ins


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return the recipes for MindSpore's classes; MindSpore is imported.

    Args:
        loaded: returns whether a module is imported, and has finished with it; not asked here.
    """
    return [
        Recipe(adapter, dialect.target, ("__call__",), counter=_counter) for adapter, dialect in drop_ins("mindspore")
    ]


def _counter(optimizer: Any) -> Callable[[], int]:
    """Return a function that reads the steps of an optimizer without keeping the optimizer."""
    from adamcompat.mindspore.members import counter_of

    step = counter_of(optimizer)
    before = int(step.asnumpy().reshape(-1)[0])
    return lambda: int(step.asnumpy().reshape(-1)[0]) - before
