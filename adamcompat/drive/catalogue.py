"""The optimizers that can be driven: the originals of each dialect, our classes, and float64."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from adamcompat.mapping.model import Adapter
from adamcompat.mapping.tables import MAPPING

FLOAT64 = "float64"

# Runtime of an adapter to the module that drives it.
_MODULES = {
    "numpy": "adamcompat.numpy.drive",
    "tensorflow": "adamcompat.tensorflow.drive",
    "tensorflow_legacy": "adamcompat.tensorflow.drive",
    "tensorflow_v1": "adamcompat.tensorflow.drive",
    "mindspore": "adamcompat.mindspore.drive",
}
# How a step can be run; the first is the default.
_MODES = {
    "numpy": (),
    "tensorflow": ("eager", "function", "jit"),
    "tensorflow_legacy": ("eager", "function", "jit"),
    "tensorflow_v1": ("eager", "graph"),
    "mindspore": ("pynative", "graph"),
}
# The runtime that has the original of a dialect.
_ORIGINALS = {
    "keras3": "tensorflow",
    "tf26": "tensorflow_legacy",
    "tf1": "tensorflow_v1",
    "mindspore": "mindspore",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An optimizer that can be driven.

    Attributes:
        name: what to call it.
        aliases: other names that are understood.
        dialect: the dialect that it is called in; for float64 the first of those that it can follow.
        runtime: whose tensors are updated.
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


def entries() -> tuple[Entry, ...]:
    """All optimizers that can be driven: originals first, then ours, then the float64 reference."""
    found = []
    for name, runtime in _ORIGINALS.items():
        dialect = MAPPING.dialects[name]
        # Keras is what people call it; the dialect's number is the mapping's.
        aliases = (*((name.rstrip("3"),) if name == "keras3" else ()), dialect.target, *dialect.aliases)
        found.append(Entry(name, aliases, name, runtime, _MODULES[runtime], _MODES[runtime]))
    found.insert(
        1,
        Entry(
            "tf_keras",
            ("tf_keras.optimizers.Adam",),
            "keras3",
            "tensorflow",
            _MODULES["tensorflow"],
            _MODES["tensorflow"],
        ),
    )
    for adapter in MAPPING.adapters:
        runtime = adapter.runtime
        found.append(
            Entry(
                f"{adapter.module}.{adapter.name}",
                (),
                adapter.dialect,
                runtime,
                _MODULES[runtime],
                _MODES[runtime],
                adapter,
            )
        )
    dialects = tuple(MAPPING.dialects)
    found.append(Entry(FLOAT64, (), dialects[0], "numpy", _MODULES["numpy"], dialects))
    return tuple(found)


def find(name: str) -> tuple[Entry, str]:
    """The optimizer of that name and the mode in which to run it.

    Args:
        name: a name or alias, with ``:mode`` at its end where the default is not wanted, for example
            ``"mindspore:graph"``.

    Raises:
        ValueError: there is no such optimizer or mode; the text says which there are.

    >>> entry, mode = find("keras.optimizers.Adam:function")
    >>> entry.name, mode
    ('keras3', 'function')
    """
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
