"""List the frameworks to watch, and the recipes for their classes that can be replaced by now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adamcompat.mapping.model import Adapter, Dialect
from adamcompat.mapping.runtimes import ORIGINALS, RUNTIMES
from adamcompat.mapping.tables import MAPPING

# A framework is checked when its first package is imported, and again after each of its other packages.
WATCHED = frozenset(name for framework in ORIGINALS.values() for name in framework.packages)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Describe how one adapter stands in for its original.

    The frameworks' modules of this folder make the recipes.

    Args:
        adapter: the class of ours.
        name: the public name of the original.
        steps: the methods that make a step; users may call any of them.
        module: the module that files name the original by, where that is not the one that defines it.
        marks: a part of the names of attributes by which the framework knows a class of its own.
        counter: from an optimizer, a function that reads how many steps it has made. For steps that are compiled, so
            that none of `steps` is called.
    """

    adapter: Adapter
    name: str
    steps: tuple[str, ...]
    module: str | None = None
    marks: str | None = None
    counter: Callable[[Any], Callable[[], int]] | None = None


def drop_ins(framework: str) -> Iterator[tuple[Adapter, Dialect]]:
    """Yield the classes of ours that stand in for a framework's originals, each with the original's dialect.

    Args:
        framework: the name of the framework, such as ``mindspore``.
    """
    for adapter in MAPPING.adapters:
        runtime, dialect = RUNTIMES[adapter.runtime], MAPPING.dialects[adapter.dialect]
        if runtime.framework.name == framework and dialect.name in runtime.originals and adapter.replaces(dialect):
            yield adapter, dialect


def _loaded(just_finished: str | None) -> Callable[[str], bool]:
    def loaded(name: str) -> bool:
        module = sys.modules.get(name)
        if module is None:
            return False
        # While its own import runs, a module lacks names that ours would need.
        return name == just_finished or not getattr(module.__spec__, "_initializing", False)

    return loaded


def recipes(just_finished: str | None = None) -> list[Recipe]:
    """Return the recipes for all classes that can be replaced now.

    These are the classes of frameworks that are imported, and whose import has finished.

    Args:
        just_finished: a module whose code has run, but whose import has not returned yet.
    """
    loaded, found = _loaded(just_finished), []
    for framework in ORIGINALS.values():
        if loaded(framework.packages[0]):
            found += framework.load("installation").recipes(loaded)
    return found


def recipe_of(adapter: Adapter) -> Recipe:
    """Return the recipe of one adapter, importing its framework.

    Args:
        adapter: a class of ours that stands in for an original.

    Raises:
        ModuleNotFoundError: the framework is missing.
    """
    found: list[Recipe] = RUNTIMES[adapter.runtime].framework.load("installation").recipes(lambda name: True)
    return next(recipe for recipe in found if recipe.adapter == adapter)


def waiting() -> tuple[str, ...]:
    """Return the first package of each framework that is not imported."""
    names = (framework.packages[0] for framework in ORIGINALS.values())
    return tuple(name for name in names if name not in sys.modules)
