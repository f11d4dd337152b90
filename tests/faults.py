"""Faults injected into a step, at every point of it: all of the step has happened afterwards, or nothing of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

import adamcompat

OURS = str(Path(adamcompat.__file__).parent)
# Every so many points are tried in the tests; scripts/robustness.py tries all.
STRIDE = int(os.environ.get("ADAMCOMPAT_TEST_STRIDE", "13"))


States: TypeAlias = list[np.ndarray[Any, Any]]


class Fault(BaseException):
    """What interrupts a step; nobody catches it by mistake."""


class Training(Protocol):
    """An optimizer with its parameters."""

    def step(self) -> None:
        """Make one step, always with the same gradients."""

    def state(self) -> list[np.ndarray[Any, Any]]:
        """Copies of every parameter, moment, average, accumulator and counter."""


class Tried(NamedTuple):
    """How often a step was interrupted, and how often half of it was left."""

    tries: int
    half: int


class Points:
    """Acts at the n-th point of what is run: the lines of some files, and the calls of their functions.

    Args:
        act: what happens there; it may raise.
        files: beginnings of the paths of the files that count.
    """

    def __init__(self, act: Callable[[], None], files: tuple[str, ...] = (OURS,)) -> None:
        self._act = act
        self._files = files
        self._left = 0

    def _at(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        if event in ("call", "line"):
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                self._act()
        return self._at

    @contextmanager
    def at(self, number: int, *, workers: bool = False) -> Iterator[None]:
        """Act at that point of the block, counted from 1; `workers`: of threads that are started in it."""
        self._left = number
        (threading.settrace if workers else sys.settrace)(self._at)
        try:
            yield
        finally:
            (threading.settrace if workers else sys.settrace)(None)

    @property
    def reached(self) -> bool:
        """Whether the point was reached."""
        return self._left <= 0


def fail() -> None:
    raise Fault


def from_a_handler(number: int) -> Callable[[], None]:
    """A signal that arrives, and whose handler raises."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Fault

    signal.signal(number, handle)
    return lambda: signal.raise_signal(number)


def at_every_point(
    make: Callable[[], Training],
    points: Points,
    *,
    first: int = 1,
    stride: int = 1,
    workers: bool = False,
    before: Callable[[], None] = lambda: None,
    equal: Callable[[States, States], bool] | None = None,
) -> Tried:
    """Interrupt a step at point after point, until one ends before its point is reached.

    A second training, which nobody interrupts, says what the state must be: that before the step or that after it.

    Args:
        make: makes a training.
        points: where to interrupt it, and how.
        first, stride: which points.
        workers: whether they are points of threads that the step starts.
        before: runs before each step.
        equal: compares states; None: bit for bit.
    """
    equal = equal or same
    training, plain = make(), make()
    tries = half = 0
    number = first
    old = plain.state()
    plain.step()
    new = plain.state()
    assert not equal(old, new), "a step must change something"
    while True:
        before()
        with suppress(Fault), points.at(number, workers=workers):
            training.step()
        if not points.reached:
            assert equal(training.state(), new)
            return Tried(tries, half)
        tries += 1
        number += stride
        found = training.state()
        if equal(found, new):
            old = new
            plain.step()
            new = plain.state()
        elif not equal(found, old):
            half += 1
            training, plain = make(), make()
            old = plain.state()
            plain.step()
            new = plain.state()


def same(one: States, other: States) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


def alike(one: States, other: States) -> bool:
    """The same but for rounding: some of the frameworks' operators round differently from call to call."""
    return len(one) == len(other) and all(np.allclose(a, b, 1e-4, 1e-7) for a, b in zip(one, other, strict=True))


class Taken:
    """The program's handlers of SIGTERM and SIGALRM, and a learning rate that takes them within a step.

    It chains its own handler to the one of SIGTERM, and puts that of SIGALRM back after the step.

    Attributes:
        heard: who was called.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._found: list[Any] = []

    def __enter__(self) -> Taken:
        self._before = [signal.signal(one, lambda *_: self.heard.append("the program's")) for one in _TAKEN]
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in zip(_TAKEN, self._before, strict=True):
            signal.signal(number, handler)

    def _chained(self, number: int, frame: Any) -> None:
        self.heard.append("mine")
        self._found[0](number, frame)

    def rate(self) -> float:
        if not self._found:
            self._found = [signal.signal(signal.SIGTERM, self._chained), signal.signal(signal.SIGALRM, signal.SIG_IGN)]
        return 0.1

    def send(self) -> None:
        """Send both, after the step."""
        signal.signal(signal.SIGALRM, self._found[1])
        for number in _TAKEN:
            os.kill(os.getpid(), number)


_TAKEN = (signal.SIGTERM, signal.SIGALRM)
