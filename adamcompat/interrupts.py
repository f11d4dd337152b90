"""Hold Ctrl-C back while a step is written, so that it is never half-applied."""

from __future__ import annotations

import signal
import threading
from importlib import import_module
from types import FrameType, TracebackType

# What `signal` is written on. The functions of `signal` itself convert every handler to an enumeration and
# back, which takes as long as the update of a small network.
_signal = import_module("_signal")


class Uninterrupted:
    """Within the block SIGINT is remembered; afterwards its handler runs.

    Signals reach the main thread only; in other threads this does nothing.
    """

    __slots__ = ("_caught", "_handler")

    def __enter__(self) -> None:
        self._caught: tuple[int, FrameType | None] | None = None
        self._handler = None
        if threading.current_thread() is threading.main_thread():
            handler = _signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                _signal.signal(signal.SIGINT, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._caught = (number, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handler is not None:
            _signal.signal(signal.SIGINT, self._handler)
            if self._caught is not None:
                self._handler(*self._caught)
