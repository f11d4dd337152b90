"""Let threads that share an optimizer make one step after the other, in forked processes and in copies too."""

from __future__ import annotations

import os
import threading
from typing import Any


class StepLock:
    """Hold the lock of an optimizer. A forked process and a copy have locks of their own, which nobody holds.

    >>> lock = StepLock()
    >>> with lock():
    ...     with lock():
    ...         print("a step within a step of the same thread")
    a step within a step of the same thread
    """

    __slots__ = ("_lock", "_process")

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self._process = os.getpid()

    def __call__(self) -> Any:
        """Return the lock, for a `with` statement: no exception can come between it and its release."""
        if self._process != os.getpid():
            # The thread that held it is not in a forked process, if it was not the one that forked.
            if not self._lock._is_owned():
                self._lock = threading.RLock()
            self._process = os.getpid()
        return self._lock

    def __reduce__(self) -> tuple[type[StepLock], tuple[()]]:
        return StepLock, ()
