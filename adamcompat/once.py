"""Give a warning once a process."""

from __future__ import annotations

import threading
import warnings

_lock = threading.Lock()
_said: set[tuple[str, ...]] = set()


def said(*about: str) -> bool:
    """Return whether a warning about that was given."""
    return about in _said


def warn_once(text: str, *about: str, stacklevel: int = 2) -> None:
    """Give a UserWarning, unless one about the same was given in this process.

    Args:
        text: of the warning.
        about: what tells it from others.
        stacklevel: as of `warnings.warn`, seen from the caller.
    """
    with _lock:
        if about in _said:
            return
        _said.add(about)
    warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)
