"""Drop log records of MindSpore that help nobody, and give warnings that say what to do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import log

from adamcompat.corrections import left_out
from adamcompat.mapping.model import Dialect
from adamcompat.once import depth_outside, said, warn_once

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
    # Some are said in every step, and to look for the line takes longer than to look for the text.
    if not said(text):
        warn_once(text, text, stacklevel=depth_outside(_LIBRARIES))


def say_left_out(dialect: Dialect, correction: str) -> None:
    """Warn the user, once a process, that a correction is off where it would have mattered.

    Args:
        dialect: the API that has the fault.
        correction: the name of the correction.
    """
    left_out(dialect, correction, stacklevel=depth_outside(_LIBRARIES))
