"""List what of PyTorch's is ours while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable

from adamcompat.installation.frameworks import Recipe
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced; PyTorch is imported."""
    runtime = RUNTIMES["torch"]
    return [
        Recipe(adapter, MAPPING.dialects[adapter.dialect].target, ("step",))
        for adapter in MAPPING.adapters
        if adapter.runtime == "torch" and adapter.dialect in runtime.originals
    ]
