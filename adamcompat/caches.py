"""Know the folder in which this package keeps files that it can make again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def user_folder() -> Path | None:
    """Return the folder of caches of this package for this user, or None where no absolute path leads to a home.

    It is ``%LOCALAPPDATA%\\adamcompat\\Cache`` on Windows, ``~/Library/Caches/adamcompat`` on macOS, and elsewhere
    ``adamcompat`` in ``$XDG_CACHE_HOME``, or in ``~/.cache`` where that names no absolute path.
    """
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "adamcompat" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "adamcompat"
        given = Path(os.environ.get("XDG_CACHE_HOME", ""))
        folder = (given if given.is_absolute() else Path.home() / ".cache") / "adamcompat"
        # Files below the folder that a process happens to be in may be anybody's.
        return folder if folder.is_absolute() else None
    except RuntimeError:
        return None


@contextmanager
def disk_errors_ignored() -> Iterator[None]:
    """Pass over what a disk refuses within the block, and over nothing else.

    `TimeoutError` is an `OSError`, too. That of a system's call has a number; that which the handler of an alarm raises
    has none, and is not for this package to pass over.

    >>> with disk_errors_ignored():
    ...     os.rmdir("no such folder")
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
