"""Finish the operations of a step, whatever interrupts them: a step happens whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

Operation: TypeAlias = Callable[[], object]
"""Writes a part of a step. Called again after an exception, it does what it has not done, and nothing twice."""

# Given back when memory runs out in the middle of a step: blocks of temporaries fit into it.
_RESERVE = 4 << 20
_reserve: list[object] = []
# How often an interrupted step may be interrupted again until it is given up: what fails each time has a reason.
_INTERRUPTIONS = 20


def whole(operations: Sequence[Operation]) -> None:
    """Run operations in order, to the last of them.

    What interrupts them (an exception of another thread, of a trace function, of memory that ran out) is raised when
    all are done. Everything that can fail for a reason belongs before this call.

    Args:
        operations: each can go on where it was interrupted.

    Raises:
        BaseException: the exception that interrupted them, once all are done.

    >>> done = []
    >>> whole([lambda: done.append("parameters"), lambda: done.append("step")])
    >>> done
    ['parameters', 'step']
    """
    if not _reserve:
        _reserve.append(np.empty(_RESERVE, np.uint8))
    try:
        for operation in operations:
            operation()
    except BaseException:
        _reserve.clear()
        _finish(operations, _INTERRUPTIONS)
        raise


def _finish(operations: Sequence[Operation], most: int) -> None:
    """Run operations again, and again where that is interrupted, too.

    Args:
        operations: as in `whole`.
        most: how often that may be.
    """
    try:
        for operation in operations:
            operation()
    except BaseException:
        if not most:
            raise
        _finish(operations, most - 1)


def together(operations: Sequence[Operation]) -> Operation:
    """Return one operation that does several in order.

    Args:
        operations: each can go on where it was interrupted.
    """

    def all_of_them() -> None:
        for operation in operations:
            operation()

    return all_of_them


def later(make: Callable[[], Sequence[Operation]]) -> Operation:
    """Return one operation that does others, which are only known once those before it are done.

    Args:
        make: returns the others and writes nothing. It is called when the operation first runs, and again where an
            exception interrupted it.
    """
    made: list[Sequence[Operation]] = []

    def find_and_do() -> None:
        if not made:
            made.append(make())
        for operation in made[0]:
            operation()

    return find_and_do
