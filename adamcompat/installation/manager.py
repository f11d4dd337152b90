"""Install and uninstall: wholly, or not at all."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any

from adamcompat.corrections import set_default
from adamcompat.installation import names
from adamcompat.installation.classes import watch
from adamcompat.installation.frameworks import WATCHED, recipes, waiting
from adamcompat.installation.report import Replaced, Report
from adamcompat.installation.stand_in import Replacement, replacement
from adamcompat.installation.watcher import Watcher
from adamcompat.interrupts import Uninterrupted

_INSTALL = object()


class _Manager:
    """Hold what is installed in this process.

    Imports happen outside the lock: who imports a framework holds its import lock and comes here, and
    with both locks taken in either order two threads would wait for each other.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # Who wants it installed, install() and every open `with installed()`, and whether with corrections.
        self._holders: dict[object, bool] = {}
        self._replaced: dict[Replacement, int] = {}
        self._failed: dict[str, str] = {}
        self._watcher = Watcher(WATCHED, self._imported)
        self._leave_classes: Callable[[], None] = lambda: None
        self._preparing = threading.local()

    @property
    def active(self) -> bool:
        return bool(self._holders)

    def report(self) -> Report:
        """Return a report on the classes that are replaced now."""
        return Report(
            self.active,
            tuple(
                Replaced(
                    entry.name,
                    f"{entry.adapter.module}.{entry.adapter.name}",
                    count,
                    entry.use.made,
                    entry.use.stepped,
                )
                for entry, count in list(self._replaced.items())
            ),
            waiting() if self.active else (),
            dict(self._failed),
            any(self._holders.values()),
        )

    def hold(self, holder: object, corrections: bool) -> None:
        """Install for one more holder.

        Args:
            holder: the object that wants it installed, and that is released later.
            corrections: whether drop-ins that do not say correct their originals.

        Raises:
            ImportError: a framework is imported whose counterpart here cannot be; nothing has changed.
        """
        prepared = self._prepare(None)
        with self._lock, Uninterrupted():
            if holder is not _INSTALL or holder not in self._holders:
                self._commit(prepared)
            if not self._holders:
                sys.meta_path.insert(0, self._watcher)
                self._leave_classes = watch()
            self._holders[holder] = corrections
            set_default(any(self._holders.values()))
        try:
            # What another thread has imported between the two steps.
            self._adopt(None)
        except BaseException:
            self.release(holder)
            raise

    def release(self, holder: object) -> None:
        """Uninstall for one holder; everything is put back with the last."""
        with self._lock, Uninterrupted():
            if holder not in self._holders:
                return
            if len(self._holders) == 1:
                names.withdraw({entry.stand_in: entry.original for entry in self._replaced})
                self._replaced.clear()
                self._failed.clear()
                sys.meta_path.remove(self._watcher)
                self._leave_classes()
            del self._holders[holder]
            set_default(any(self._holders.values()))

    def _imported(self, name: str) -> None:
        try:
            self._adopt(name)
        except ImportError as error:
            # Not raised: programs take an ImportError here for a framework that is not installed.
            self._failed[name] = str(error)
            warnings.warn(
                f"adamcompat is installed, but {name} keeps its own Adam: {error}", RuntimeWarning, stacklevel=2
            )

    def _adopt(self, just_finished: str | None) -> None:
        prepared = self._prepare(just_finished)
        with self._lock, Uninterrupted():
            if self._holders:
                self._commit(prepared)

    def _prepare(self, just_finished: str | None) -> list[Replacement]:
        """Return the replacements for all that can be replaced now; all that can fail, the imports, is done."""
        if getattr(self._preparing, "now", False):
            # An import of ours has imported a framework's module; the outer call sees to that.
            return []
        self._preparing.now = True
        try:
            found: list[Replacement] = []
            while new := [entry for entry in map(replacement, recipes(just_finished)) if entry not in found]:
                found += new
            return found
        finally:
            self._preparing.now = False

    def _commit(self, prepared: list[Replacement]) -> None:
        new = [entry for entry in prepared if entry not in self._replaced]
        if not new:
            return
        for entry in new:
            entry.use.forget()
        try:
            counts = names.replace({entry.original: entry.stand_in for entry in new})
        except BaseException:
            names.withdraw({entry.stand_in: entry.original for entry in new})
            raise
        self._replaced.update((entry, counts[entry.original]) for entry in new)


_manager = _Manager()


class Installed:
    """Tell whether the names are ours, and make them ours within a ``with`` block; `installed` returns one."""

    def __init__(self, corrections: bool) -> None:
        self._last: Report | None = None
        self._corrections = corrections

    def __enter__(self) -> Installed:
        self._last = None
        _manager.hold(self, self._corrections)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last = _manager.report()
        _manager.release(self)

    @property
    def report(self) -> Report:
        """Return the report of now; after a ``with`` block, that of the block's end."""
        return self._last or _manager.report()

    def __bool__(self) -> bool:
        return _manager.active

    def __str__(self) -> str:
        return str(self.report)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def install(*, corrections: bool = False) -> None:
    """Make the names of the frameworks' Adams ours, now and in modules that are imported later.

    Calling it twice does no harm; the last call decides about corrections. See `installed` for a block with an end, and
    docs/install.md for the names.

    Args:
        corrections: whether optimizers that are made from now on, and were not given ``corrections=``, mend the silent
            faults of their originals. False: they do what the originals do.

    Raises:
        TypeError: `corrections` is not True or False.
        ImportError: a framework is imported whose counterpart here cannot be (MindSpore beside NumPy 2, for instance);
            nothing has changed.
    """
    _manager.hold(_INSTALL, _flag(corrections))


def uninstall() -> None:
    """Undo `install`: every name means again what it meant.

    Optimizers that were made stay what they are. Within a ``with installed():`` that is still open, the
    names stay until its end. Where nothing is installed this does nothing.
    """
    _manager.release(_INSTALL)


def _flag(corrections: object) -> bool:
    if not isinstance(corrections, bool):
        raise TypeError(f"corrections must be True or False, got {corrections!r}")
    return corrections


def installed(*, corrections: bool = False) -> Installed:
    """Return an object that tells whether the names are ours; in a ``with`` statement it makes them ours.

    Its truth value says whether the names are ours, its `report` says more. After ``with`` the names are ours until the
    end of the block.

    Args:
        corrections: as of `install`, for the block.

    Raises:
        TypeError: `corrections` is not True or False.

    Example:
        >>> import adamcompat
        >>> with adamcompat.installed() as ours:
        ...     bool(ours), ours.report.in_use
        (True, False)
        >>> bool(adamcompat.installed())
        False
    """
    return Installed(_flag(corrections))


def load_ipython_extension(ipython: Any) -> None:
    """Do the same as ``adamcompat.install()``, for ``%load_ext adamcompat``."""
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """Do the same as ``adamcompat.uninstall()``, for ``%unload_ext adamcompat``."""
    uninstall()
