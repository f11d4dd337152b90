"""Log records of MindSpore that tell a user nothing they could act on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import log


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
