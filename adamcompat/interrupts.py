"""Hold signals back while a step is written, so that no handler cuts it in two."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from types import FrameType, TracebackType
from typing import Any

# What `signal` is written on. The functions of `signal` itself convert every handler to an enumeration and
# back, which takes as long as the update of a small network; and importing it makes the enumerations.
_signal = import_module("_signal")
_NUMBERS = tuple(sorted(_signal.valid_signals()))

Handler = Callable[[int, FrameType | None], Any]


class Uninterrupted:
    """Remember signals within the block, and run their handlers afterwards.

    All signals whose handlers are written in Python are held: Ctrl-C, the SIGTERM of a scheduler, the SIGALRM of a
    time limit. Their handlers run in the main thread only, so in other threads this does nothing.
    """

    __slots__ = ("_caught", "_held", "_over", "_remember_once")

    # The handlers seen last, and which of them are Python's: they change seldom, and there are 60 to look at.
    _known: tuple[list[object], tuple[int, ...]] = ([], ())

    def __enter__(self) -> None:
        self._held: dict[int, Handler] = {}
        self._caught: dict[int, FrameType | None] = {}
        self._over = False
        if threading.get_ident() != threading.main_thread().ident:
            return
        handlers = list(map(_signal.getsignal, _NUMBERS))
        known, chosen = Uninterrupted._known
        if handlers != known:
            chosen = tuple(i for i, handler in enumerate(handlers) if callable(handler))
            Uninterrupted._known = handlers, chosen
        self._remember_once = remember = self._remember
        try:
            for i in chosen:
                # Noted first: a handler that is not held yet may raise before the next line.
                self._held[_NUMBERS[i]] = handlers[i]
                _signal.signal(_NUMBERS[i], remember)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            # Code within the block may have read this handler, and chained to it or set it again later.
            self._held[number](number, frame)
        else:
            self._caught[number] = frame

    def _give_back(self) -> None:
        try:
            for number, handler in self._held.items():
                if _signal.getsignal(number) is self._remember_once:
                    _signal.signal(number, handler)
        except BaseException:
            # A handler that is back already has raised; the others must come back too.
            self._give_back()
            raise

    def _deliver(self) -> None:
        """Run the handlers of what was remembered, each once, also where one of them raises."""
        try:
            while self._caught:
                number = next(iter(self._caught))
                frame = self._caught.pop(number)
                self._held[number](number, frame)
        finally:
            if self._caught:
                self._deliver()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._give_back()
        finally:
            self._over = True
            if self._caught:
                self._deliver()
