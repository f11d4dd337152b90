"""Make steps in the threads that PyTorch's own operations use.

After an operation these threads stay awake for a while, on the processors that threads of our own would need next.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from adamcompat.executors.launch import POOL

_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _parallel() -> Any:
    """Return the function of OpenMP's library that runs work in its threads, or None where it cannot be had.

    It is taken from the library that PyTorch is linked with: another copy of OpenMP would start threads of its own.
    """
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    try:
        found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).GOMP_parallel
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = (_WORK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return found


class _Threads:
    """Stand for the threads of PyTorch; an `adamcompat.executors.launch.Team`."""

    # No thread of PyTorch's is in the way.
    pieces = 2

    def __init__(self) -> None:
        self._forked = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        # The threads are not there in a child, and who calls on them waits for ever.
        self._forked = True

    def size(self) -> int:
        """Return the number of threads that PyTorch uses, which ``torch.set_num_threads`` sets."""
        return int(torch.get_num_threads())

    def start(self, work: Callable[[], None], helpers: int) -> None:
        """Call `work` in other threads, and with OpenMP in this one, too; see `Team`.

        Args:
            work: may be called any number of times, in several threads at once.
            helpers: how many other threads to use. Where PyTorch has fewer, they are our own.

        Raises:
            BaseException: what `work` raised in a thread of OpenMP.
        """
        parallel, threads = None if self._forked else _parallel(), self.size()
        if parallel is None or helpers >= threads:
            POOL.start(work, helpers)
            return
        # All of them are called, for OpenMP ends those that are not, and some have nothing to do.
        wanted, errors = iter(range(helpers + 1)), []

        def called(_: Any) -> None:
            try:
                if next(wanted, None) is not None:
                    work()
            except BaseException as error:
                # OpenMP, which calls this, knows no exceptions.
                errors.append(error)

        parallel(_WORK(called), None, threads, 0)
        if errors:
            raise errors[0]


TEAM = _Threads()
