"""Files that are written as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

# Seconds between two times at which a large file is sent to the disk while it is written.
_FLUSHED_EVERY = 0.05


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write to in the folder of `path`, which takes its place if the block ends well.

    Whoever looks at `path`, whenever the process ends, finds the old file or the new one.

    Raises:
        FileNotFoundError, PermissionError: the folder is not there, or may not be written to.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        # mkstemp makes files for their owner alone; a file that stands already keeps its mode.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~mask)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def flushing(file: BinaryIO) -> Iterator[None]:
    """Send what the block writes to the disk meanwhile, so that little is left for the fsync at the end.

    Raises:
        OSError: the disk did not take it; a later fsync would not say so again.
    """
    done = Event()

    def flush() -> None:
        while not done.wait(_FLUSHED_EVERY):
            os.fsync(file.fileno())

    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(flush)
        try:
            yield
        finally:
            done.set()
    flushed.result()


def write_bytes(path: str | Path, content: bytes) -> None:
    """Replace a file by `content`."""
    with replacing(path) as partial:
        partial.write_bytes(content)
