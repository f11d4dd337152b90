"""Refuse arguments of the wrong kind, with a text that says what was given and what is expected."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

# So many letters of a wrong value are shown.
_SHOWN = 60


def told(value: object) -> str:
    """Return a wrong value for people: how it is written, and of what type it is.

    >>> told("0.9"), told(None), told(list(range(99)))
    ("'0.9' (str)", 'None', '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1... (list)')
    """
    if value is None:
        return "None"
    text = " ".join(repr(value).split())
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f"{text} ({type(value).__name__})"


def path_of(value: object, what: str) -> Path:
    """Return the path of a file.

    Args:
        value: what was given.
        what: whose path it is, for the text of the error.

    Raises:
        TypeError: it is no path.

    >>> path_of(3, "aliases")
    Traceback (most recent call last):
    TypeError: aliases must be the name of a file, as text or a pathlib.Path; got 3 (int)
    """
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise TypeError(f"{what} must be the name of a file, as text or a pathlib.Path; got {told(value)}")
    return Path(found)


def whole(value: Any, what: str) -> int:
    """Return a whole number.

    Raises:
        TypeError: it is none; True and False are none either.

    >>> whole(np.int64(3), "steps")
    3
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{what} must be a whole number; got {told(value)}")
    return int(value)
