"""List what of MindSpore's is ours while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adamcompat.installation.frameworks import Recipe
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced; MindSpore is imported."""
    runtime = RUNTIMES["mindspore"]
    return [
        Recipe(adapter, MAPPING.dialects[adapter.dialect].target, ("__call__",), counter=_counter)
        for adapter in MAPPING.adapters
        if adapter.runtime == "mindspore" and adapter.dialect in runtime.originals
    ]


def _counter(optimizer: Any) -> Callable[[], int]:
    """Reads the steps of an optimizer without keeping the optimizer."""
    step = optimizer.global_step
    return lambda: int(step.asnumpy()[0])
