"""Know the folder in which this package keeps files that it can make again, and pass over what a disk refuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def user_folder() -> Path | None:
    """Return the folder of caches of this package for this user, or None where no absolute path leads to a home.

    It is ``%LOCALAPPDATA%\\adamcompat\\Cache`` on Windows, ``~/Library/Caches/adamcompat`` on macOS, and elsewhere
    ``adamcompat`` in ``$XDG_CACHE_HOME``, or in ``~/.cache`` where the variable names no absolute path.
    """
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            folder = (Path(local) if local else Path.home() / "AppData" / "Local") / "adamcompat" / "Cache"
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches" / "adamcompat"
        else:
            given = Path(os.environ.get("XDG_CACHE_HOME", ""))
            folder = (given if given.is_absolute() else Path.home() / ".cache") / "adamcompat"
        # Files below the folder that a process happens to be in may be anybody's.
        return folder if folder.is_absolute() else None
    except RuntimeError:
        return None


@contextmanager
def disk_errors_ignored() -> Iterator[None]:
    """Pass over each `OSError` within the block that has the number of an error.

    `TimeoutError` is an `OSError`, too. One without a number is not from a system call, but from the handler of an
    alarm, for example, and is raised.

    >>> with disk_errors_ignored():
    ...     os.rmdir("no such folder")
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
