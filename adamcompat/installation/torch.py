"""List the recipes for PyTorch's classes, which ours replace while adamcompat is installed."""

from __future__ import annotations

from collections.abc import Callable

from adamcompat.installation.frameworks import Recipe, drop_ins


def recipes(loaded: Callable[[str], bool]) -> list[Recipe]:
    """Return the recipes for PyTorch's classes; PyTorch is imported.

    Args:
        loaded: returns whether a module is imported, and has finished with it; not asked here.
    """
    return [Recipe(adapter, dialect.target, ("step",)) for adapter, dialect in drop_ins("torch")]
