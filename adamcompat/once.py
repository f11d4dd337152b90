"""Give a warning once a process."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Collection

_lock = threading.Lock()
_said: set[tuple[str, ...]] = set()


def said(*about: str) -> bool:
    """Return whether `warn_once` has warned about that in this process.

    Args:
        about: what tells the warning from others.
    """
    return about in _said


def warn_once(text: str, *about: str, stacklevel: int = 2) -> None:
    """Give a UserWarning, unless one about the same was given in this process.

    Args:
        text: the text of the warning.
        about: what tells the warning from others; two with the same are the same warning, whatever their texts.
        stacklevel: as of `warnings.warn`, seen from the caller.
    """
    with _lock:
        if about in _said:
            return
        _said.add(about)
    warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)


def depth_outside(libraries: Collection[str]) -> int:
    """Return the stack level of the user's line, seen from the caller.

    Args:
        libraries: the top-level packages whose lines are not the user's.

    Returns:
        The level for `warnings.warn`, 1 or more, which is that of the nearest line outside these packages.
    """
    frame = sys._getframe(1)
    depth = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in libraries:
        frame = frame.f_back
        depth += 1
    return depth
