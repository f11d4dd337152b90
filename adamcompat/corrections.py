"""Correct silent faults of an original, where that is asked for.

A drop-in computes what its original computes. Where that harms its users, mapping.yaml names a
correction, and ``corrections=True`` (of the drop-in, or of `adamcompat.install`) switches it on.
"""

from __future__ import annotations

from adamcompat.mapping.model import Correction, Dialect
from adamcompat.once import said, warn_once

# Set by install(): what None means.
_by_default = False


def set_default(wanted: bool) -> None:
    """Set what ``corrections=None`` means for drop-ins that are made from now on.

    Args:
        wanted: whether such drop-ins correct their originals.
    """
    global _by_default
    _by_default = wanted


def wanted(given: object, error: type[Exception]) -> bool:
    """Return whether a drop-in that was given ``corrections=given`` corrects its original.

    Args:
        given: True, False, or None for what `adamcompat.install` was told.
        error: the exception for anything else.

    Raises:
        error: `given` is something else.

    >>> wanted(None, ValueError), wanted(True, ValueError)
    (False, True)
    """
    if given is None:
        return _by_default
    if not isinstance(given, bool):
        raise error(f"corrections must be True, False or None, got {given!r}")
    return given


def find(dialect: Dialect, name: str) -> Correction:
    """Return the correction of that name.

    Args:
        dialect: the dialect of the drop-in.
        name: the name of the correction, such as ``repeated_rows``.

    Raises:
        KeyError: the dialect has no correction of that name.
    """
    for correction in dialect.corrections:
        if correction.name == name:
            return correction
    raise KeyError(f"{dialect.name} has no correction {name!r}; known: {[item.name for item in dialect.corrections]}")


def left_out(dialect: Dialect, name: str, *, stacklevel: int = 2) -> None:
    """Warn, once a process, that a correction is off where it would have mattered.

    Args:
        dialect: the dialect whose original is at fault.
        name: the name of the correction.
        stacklevel: as of `warnings.warn`, seen from the caller.

    Raises:
        KeyError: the dialect has no correction of that name.
    """
    correction = find(dialect, name)
    text = (
        f"{dialect.target}: {correction.original}. This drop-in does the same, bit for bit. With corrections=True (or "
        f"adamcompat.install(corrections=True), adamcompat run --corrections) {correction.ours}"
    )
    warn_once(text, *_about(dialect, name), stacklevel=stacklevel + 1)


def silent(dialect: Dialect, name: str) -> bool:
    """Return whether `left_out` has warned already, so that the caller need not look for a reason to warn.

    Args:
        dialect: the dialect of the drop-in.
        name: the name of the correction.
    """
    return said(*_about(dialect, name))


def _about(dialect: Dialect, name: str) -> tuple[str, ...]:
    return "correction", dialect.name, name
