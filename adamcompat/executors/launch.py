"""Run compiled functions in several threads, each piece of their work once, whatever interrupts."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

# Their import takes longer than a step of most networks, which need no second thread.
if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

# Below this many elements a second thread costs more than it saves (about 50 us to wake one).
THREADS_ABOVE = 1 << 17
# The work of a thread is cut further into pieces of at least this many elements.
PIECE = 1 << 17
# Elements of scratch memory that each piece of work has twice.
SCRATCH = 2048
# Bytes of a piece's marks: whether it is claimed, and whether it has ended.
MARK = 16


def threads_asked() -> int | None:
    """Return the number of threads that ADAMCOMPAT_NUM_THREADS asks for, or None where it is not set.

    Raises:
        ValueError: it is set, and is no whole number of at least 1.
    """
    asked = os.environ.get("ADAMCOMPAT_NUM_THREADS")
    if asked is None:
        return None
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"ADAMCOMPAT_NUM_THREADS must be a whole number of at least 1, got {asked!r}")
    return int(asked)


def processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Team(Protocol):
    """Declare what a launch needs to know of the threads that it may use.

    Attributes:
        pieces: into how many pieces the work of a thread is cut at most.
    """

    pieces: int

    def size(self) -> int:
        """Return how many threads there are, the caller's own included."""

    def run(self, own: Callable[[], None], others: Callable[[], None], helpers: int) -> None:
        """Do work in this thread and in others.

        Args:
            own: what this thread does.
            others: what the others do; one may begin at once, later or never.
            helpers: how many other threads to use, at least 1.

        Raises:
            BaseException: what one of them raised.
        """


class _Pool:
    """Keep worker threads, started when first needed and never shared with a forked child; a `Team`.

    It has no lock, which an exception could leave locked: two threads that ask at once may each make a pool, and what
    they gave to the one that is forgotten is done all the same.
    """

    # Other threads may be awake on the same processors.
    pieces = 4

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Let the threads go when they have done what they were given."""
        self._made: tuple[int, ThreadPoolExecutor | None] = (0, None)

    def size(self) -> int:
        """See `Team`."""
        return processors()

    def run(self, own: Callable[[], None], others: Callable[[], None], helpers: int) -> None:
        """See `Team`."""
        try:
            for _ in range(helpers):
                self._get(helpers).submit(others)
        except (RuntimeError, MemoryError):
            # No thread is to be had: this one does what is left, and nothing may wait for one that comes later.
            self.forget()
        own()

    def _get(self, size: int) -> ThreadPoolExecutor:
        """Return a pool of at least `size` threads, which start when they have something to do."""
        most, threads = self._made
        if threads is None or most < size:
            from concurrent.futures import ThreadPoolExecutor

            threads = ThreadPoolExecutor(size, thread_name_prefix="adamcompat")
            self._made = size, threads
        return threads


POOL = _Pool()


class Bounded:
    """Stand for threads of our own, of which a framework allows so many; a `Team`.

    Args:
        most: returns how many it allows, the caller's own included; at least 1.
    """

    pieces = _Pool.pieces

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most

    def size(self) -> int:
        """Return how many threads there are, the caller's own included."""
        return min(processors(), self._most())

    def run(self, own: Callable[[], None], others: Callable[[], None], helpers: int) -> None:
        """Do work in this thread and in others of our own.

        Args:
            own: what this thread does.
            others: what the others do.
            helpers: how many other threads to use, at least 1.
        """
        POOL.run(own, others, helpers)


class Launch:
    """Run a compiled function over a range that is cut into pieces, one or several for each thread.

    A thread that shares its processor with another load does fewer of them. Each piece is done once: the compiled code
    itself claims it, and notes when it has ended. So a call that was interrupted may be repeated, a thread that never
    started costs time only, and one that comes late finds nothing to do. No lock is held that an exception could leave
    locked.

    Args:
        function: the compiled function. It takes `arguments` and then begin, end, number, marks and scratch memory of a
            piece.
        arguments: what the function takes first. The memory behind addresses among them must outlive the launch.
        form: a key that differs where the types of the arguments do: for each the function is compiled once.
        total: length of the range, in elements or in whatever the function counts.
        threads: how many threads run at most; at least 1.
        dtype: of the scratch memory.
        team: the threads; None stands for threads of our own.

    Attributes:
        keep: an object that must live as long as the launch, or None.
    """

    __slots__ = ("_arguments", "_cuts", "_ended", "_function", "_helpers", "_marks", "_scratch", "_team", "keep")

    def __init__(
        self,
        function: Callable[..., None],
        arguments: tuple[Any, ...],
        form: tuple[Any, ...],
        total: int,
        threads: int,
        dtype: np.dtype[Any],
        team: Team | None = None,
    ) -> None:
        self.keep: object = None
        self._function = function
        self._arguments = arguments
        self._helpers, self._team = threads - 1, team or POOL
        pieces = threads if threads == 1 else max(threads, min(threads * self._team.pieces, total // PIECE))
        self._cuts = [total * i // pieces for i in range(pieces + 1)]
        self._marks = np.zeros((pieces, 2), np.int64)
        self._scratch = np.empty((pieces, 2, SCRATCH), dtype)
        self._ended = _channel() if threads > 1 else None
        if (function, form) not in _compiled:
            # Compiling may fail, which must not happen between two parts of a step.
            function(*arguments, 0, 0, 0, np.ones((1, 2), np.int64), self._scratch)
            _compiled.add((function, form))

    def __call__(self) -> None:
        """Do the pieces that nobody has claimed, and wait for the others."""
        ended = self._ended
        if ended is None:
            self._run(0)
            return
        from queue import Empty

        self._team.run(self._do, self._help, self._helpers)
        while not self._marks.all():
            # Who is interrupted right after a piece reports nothing, but the marks say that it has ended.
            with suppress(Empty):
                ended.get(timeout=0.01)

    def _do(self) -> None:
        for piece in range(len(self._marks)):
            self._run(piece)

    def _help(self) -> None:
        # From the other end than the caller, so that each has its own part of memory.
        for piece in reversed(range(len(self._marks))):
            self._run(piece)
        if self._ended is not None:
            self._ended.put(None)

    def _run(self, piece: int) -> None:
        begin, end = self._cuts[piece : piece + 2]
        self._function(*self._arguments, begin, end, piece, self._marks, self._scratch)


def _channel() -> SimpleQueue[None]:
    """Return what threads report to, and import all that starts them: that may fail, as compiling may."""
    import concurrent.futures.thread  # noqa: F401
    from queue import SimpleQueue

    return SimpleQueue()


_compiled: set[tuple[Any, ...]] = set()


def threads_for(elements: int, team: Team | None = None) -> int:
    """Return how many threads a step over that many elements is to use.

    It is ADAMCOMPAT_NUM_THREADS, or as many as there are, but at most ``elements // THREADS_ABOVE + 1``.

    Args:
        elements: their number.
        team: the threads; None stands for one on each processor.

    Raises:
        ValueError: ADAMCOMPAT_NUM_THREADS is no whole number of at least 1, and more than one thread would pay.
    """
    paying = elements // THREADS_ABOVE + 1
    # Asking the system and the environment shows in the step of a small network.
    return 1 if paying == 1 else min(threads_asked() or (team or POOL).size(), paying)
