"""List the optimizers that can be driven: the originals of each dialect, our classes, and float64."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from adamcompat.kinds import told
from adamcompat.mapping.model import Adapter
from adamcompat.mapping.originals import originals
from adamcompat.mapping.runtimes import RUNTIMES, Framework
from adamcompat.mapping.tables import MAPPING

FLOAT64 = "float64"


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold an optimizer that can be driven.

    Attributes:
        name: what to call it.
        aliases: other names that are understood.
        dialect: the dialect that it is called in; for float64 the first of those that it can follow.
        runtime: the runtime whose tensors are updated.
        module: the module of this package that drives it.
        modes: how a step can be run; the first is the default.
        adapter: the class of ours, or None for an original.
    """

    name: str
    aliases: tuple[str, ...]
    dialect: str
    runtime: str
    module: str
    modes: tuple[str, ...]
    adapter: Adapter | None = None

    @property
    def framework(self) -> Framework:
        """Return the framework whose part drives it."""
        return RUNTIMES[self.runtime].framework


def _entry(name: str, aliases: tuple[str, ...], dialect: str, runtime: str, adapter: Adapter | None = None) -> Entry:
    record = RUNTIMES[runtime]
    return Entry(name, aliases, dialect, runtime, record.framework.part("drive"), record.modes, adapter)


def entries() -> tuple[Entry, ...]:
    """Return all optimizers that can be driven: originals first, then ours, then the float64 reference."""
    found = [
        _entry(original.name, original.aliases, original.dialect.name, original.runtime)
        for original in originals().values()
    ]
    found += [
        _entry(f"{adapter.module}.{adapter.name}", (), adapter.dialect, adapter.runtime, adapter)
        for adapter in MAPPING.adapters
    ]
    dialects = tuple(MAPPING.dialects)
    found.append(Entry(FLOAT64, (), dialects[0], "numpy", RUNTIMES["numpy"].framework.part("drive"), dialects))
    return tuple(found)


def find(name: str) -> tuple[Entry, str]:
    """Return the optimizer of that name and the mode in which to run it.

    Args:
        name: a name or alias, with ``:mode`` at its end where the default is not wanted, for example
            ``"mindspore:graph"``.

    Raises:
        TypeError: the name is no text.
        ValueError: there is no such optimizer or mode; the text says which there are.

    >>> entry, mode = find("keras.optimizers.Adam:function")
    >>> entry.name, mode
    ('keras3', 'function')
    """
    if not isinstance(name, str):
        raise TypeError(f"an optimizer is driven by its name, such as 'keras' or 'mindspore:graph'; got {told(name)}")
    label, colon, mode = name.partition(":")
    known = entries()
    entry = next((entry for entry in known if label == entry.name or label in entry.aliases), None)
    if entry is None:
        names = [alias for entry in known for alias in (entry.name, *entry.aliases)]
        close = difflib.get_close_matches(label, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(entry.name for entry in known)}"
        raise ValueError(f"unknown optimizer {label!r}; {hint}")
    if not colon:
        return entry, entry.modes[0] if entry.modes else ""
    if mode not in entry.modes:
        modes = ", ".join(entry.modes) if entry.modes else "none"
        raise ValueError(f"{label!r} has no mode {mode!r}; modes of {entry.name}: {modes}")
    return entry, mode
