"""List what of PyTorch's is ours while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable

from adamcompat.installation.frameworks import Recipe, drop_ins


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return what can be replaced; PyTorch is imported."""
    return [Recipe(adapter, dialect.target, ("step",)) for adapter, dialect in drop_ins("torch")]
