"""Notice the import of a framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Watcher(MetaPathFinder):
    """Find nothing by itself, and call back when the code of some modules has run.

    Args:
        names: the full names of the modules.
        finished: called with the name of a module, before the import statement returns.
    """

    def __init__(self, names: Collection[str], finished: Callable[[str], None]) -> None:
        self._names = names
        self._finished = finished

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders find, with a loader that calls back.

        Args:
            fullname: the full name of the module.
            path: where to look, as for any finder.
            target: the module that is loaded again, or None.

        Returns:
            The spec; None for a module that is not watched, and where no other finder finds it.
        """
        if fullname not in self._names:
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            self._watch(spec.loader, fullname)
        return spec

    def _watch(self, loader: object, name: str) -> None:
        def exec_module(module: ModuleType) -> None:
            # Once: from here on the loader is as if nobody had watched.
            del loader.exec_module  # type: ignore[attr-defined]
            loader.exec_module(module)  # type: ignore[attr-defined]
            self._finished(name)

        loader.exec_module = exec_module  # type: ignore[attr-defined]
