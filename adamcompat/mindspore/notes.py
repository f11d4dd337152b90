"""Drop log records of MindSpore that help nobody, and give warnings that say what to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import log

from adamcompat.corrections import left_out
from adamcompat.mapping.model import Dialect
from adamcompat.once import warn_once

_LIBRARIES = ("adamcompat", "mindspore")


def _keep(record: logging.LogRecord) -> bool:
    return "is deprecated" not in record.getMessage()


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Drop deprecation records: nn.Adam builds a deprecated sparse operator whether it is needed or not."""
    logger = log._get_logger()
    logger.addFilter(_keep)
    try:
        yield
    finally:
        logger.removeFilter(_keep)


def say_once(text: str) -> None:
    """Warn the user, once a process, at the line that called into this package or MindSpore."""
    warn_once(text, text, stacklevel=_depth())


def say_left_out(dialect: Dialect, correction: str) -> None:
    """Warn the user, once a process, that a correction is off where it would have mattered."""
    left_out(dialect, correction, stacklevel=_depth())


def _depth() -> int:
    """The stack level of the user's line, seen from the caller."""
    frame = sys._getframe(1)
    depth = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
        frame = frame.f_back
        depth += 1
    return depth
