"""Which frameworks there are to watch, and what of theirs can be replaced by now."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from adamcompat.installation.stand_in import Recipe
from adamcompat.mapping.model import Adapter

# Folder of this package to the modules whose import changes what can be replaced. The folder is looked
# at once the first of them is imported.
_WATCHED = {"tensorflow": ("tensorflow", "keras", "tf_keras"), "mindspore": ("mindspore",)}
WATCHED = frozenset(name for names in _WATCHED.values() for name in names)


def _loaded(just_finished: str | None) -> Callable[[str], bool]:
    def loaded(name: str) -> bool:
        module = sys.modules.get(name)
        if module is None:
            return False
        # While its own import runs, a module lacks names that ours would need.
        return name == just_finished or not getattr(module.__spec__, "_initializing", False)

    return loaded


def recipes(just_finished: str | None = None) -> list[Recipe]:
    """Return what can be replaced now: frameworks that are imported, and have finished with it.

    Args:
        just_finished: a module whose code has run, but whose import has not returned yet.
    """
    loaded, found = _loaded(just_finished), []
    for folder, (framework, *_) in _WATCHED.items():
        if loaded(framework):
            found += import_module(f"adamcompat.{folder}.replacements").recipes(loaded)
    return found


def recipe_of(adapter: Adapter) -> Recipe:
    """The recipe of one adapter; imports its framework."""
    folder = adapter.module.split(".")[1]
    found: list[Recipe] = import_module(f"adamcompat.{folder}.replacements").recipes(lambda name: True)
    return next(recipe for recipe in found if recipe.adapter == adapter)


def waiting() -> tuple[str, ...]:
    """The frameworks that are not imported."""
    return tuple(names[0] for names in _WATCHED.values() if names[0] not in sys.modules)
