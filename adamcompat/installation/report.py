"""Report which names are replaced now, and whether they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import adamcompat.fragments as fragments


@dataclass(frozen=True, slots=True)
class Replaced:
    """Describe one class of a framework that ours replaces.

    Args:
        original: the public name of the original.
        ours: the dotted name of the class that stands there instead.
        names: how many names in modules, and entries of their dictionaries, were handed over.
        made: how many optimizers have been made under the name, subclasses included.
        stepped: whether one of them was asked for a step, or has counted one.
    """

    original: str
    ours: str
    names: int
    made: int
    stepped: bool

    def __str__(self) -> str:
        use = "in use" if self.stepped else "not stepped yet"
        made = f"{self.made} made, {use}" if self.made else "none made yet"
        return f"{self.original} is {self.ours} ({self.names} names; {made})"


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """Hold the facts of `adamcompat.installed().report`; ``str(report)`` is for people.

    Args:
        active: whether the names are ours at this moment.
        replaced: the classes that are, or were until the end, replaced.
        waiting: packages of frameworks that are not imported yet; their classes are replaced when they are.
        failed: packages that were imported and keep their own classes, with the reason.
        corrections: whether optimizers that do not say correct their originals.
    """

    active: bool
    replaced: tuple[Replaced, ...]
    waiting: tuple[str, ...]
    failed: Mapping[str, str]
    corrections: bool = False

    @property
    def in_use(self) -> bool:
        """Return whether an optimizer of ours was made and made a step."""
        return any(entry.stepped for entry in self.replaced)

    @property
    def names(self) -> int:
        """Return how many names were handed over."""
        return sum(entry.names for entry in self.replaced)

    def __str__(self) -> str:
        lines = [self._state, *(str(entry) for entry in self.replaced), *self._others]
        return "\n  ".join(lines)

    __repr__ = __str__

    @property
    def _state(self) -> str:
        state = "installed" if self.active else "not installed"
        state += " with corrections" if self.corrections else ""
        return f"adamcompat: {state}, {'in use' if self.in_use else 'not in use'}"

    @property
    def _others(self) -> list[str]:
        """The frameworks of which nothing is replaced."""
        lines = [f"{framework} is not imported" for framework in self.waiting]
        return lines + [f"{framework} keeps its own Adam: {reason}" for framework, reason in self.failed.items()]

    def _repr_html_(self) -> str:
        titles = ("name", "is now", "names", "made", "used")
        rows = [
            (one.original, one.ours, str(one.names), str(one.made), "yes" if one.stepped else "not yet")
            for one in self.replaced
        ]
        return fragments.shown(
            fragments.line(self._state, "yes" if self.active else ""),
            fragments.table(titles, rows) if rows else "",
            fragments.several(self._others),
        )
