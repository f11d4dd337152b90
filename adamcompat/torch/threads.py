"""Make steps in the threads that PyTorch's own operations use.

After an operation these threads stay awake for a while, on the processors that threads of our own would need next.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from adamcompat.executors.launch import POOL

_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> Any:
    """Return the library of OpenMP that PyTorch is linked with, or None where it cannot be had.

    Another copy of it would start threads of its own.
    """
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    try:
        found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        found.GOMP_parallel_start.argtypes = _WORK, ctypes.c_void_p, ctypes.c_uint
        found.GOMP_parallel_start.restype = found.GOMP_parallel_end.restype = None
        found.omp_get_level.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return found


class _Threads:
    """Stand for the threads of PyTorch; an `adamcompat.executors.launch.Team`."""

    # No thread of PyTorch's is in the way.
    pieces = 2

    def __init__(self) -> None:
        self._forked = False
        # The threads whose steps have called on others and not let them go, which an exception may prevent. What the
        # others do must last until then.
        self._calling: dict[int, Any] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        # The threads are not there in a child, and who calls on them waits for ever.
        self._forked = True

    def size(self) -> int:
        """Return the number of threads that PyTorch uses, which ``torch.set_num_threads`` sets."""
        return int(torch.get_num_threads())

    def run(self, own: Callable[[], None], others: Callable[[], None], helpers: int) -> None:
        """See `Team`. Where PyTorch has fewer threads than that, the others are our own.

        Args:
            own: what this thread does.
            others: what the others do.
            helpers: how many others to use.

        Raises:
            BaseException: what one of them raised.
        """
        library, threads, caller = None if self._forked else _openmp(), self.size(), threading.get_ident()
        if library is not None and library.omp_get_level() and caller in self._calling:
            library.GOMP_parallel_end()
        # Whoever is called by OpenMP already is one of its threads, and must not let the others go.
        if library is None or helpers >= threads or library.omp_get_level():
            POOL.run(own, others, helpers)
            return
        # All of them are called, for OpenMP ends those that are not, and some have nothing to do.
        wanted, errors = iter(range(helpers)), []

        def called(_: Any) -> None:
            try:
                if next(wanted, None) is not None:
                    others()
            except BaseException as error:
                # OpenMP, which calls this, knows no exceptions.
                errors.append(error)

        work = _WORK(called)
        self._calling[caller] = work
        try:
            library.GOMP_parallel_start(work, None, threads)
            # Not called by OpenMP: an exception that another thread sends to this one would be lost.
            own()
        finally:
            if library.omp_get_level():
                library.GOMP_parallel_end()
            self._calling.pop(caller, None)
        if errors:
            raise errors[0]


TEAM = _Threads()
