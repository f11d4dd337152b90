"""Write files as a whole or not at all, and refuse paths that are no files."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import BinaryIO

# Seconds between two times at which a large file is sent to the disk while it is written.
_FLUSHED_EVERY = 0.05
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotAFileError(OSError):
    """Report a path that names something else than a file: reading it may wait, writing may destroy it."""


def check_file(path: str | Path) -> None:
    """Refuse a path that is no file before it is opened: opening a FIFO waits for its other end.

    Args:
        path: where the file should be.

    Raises:
        NotAFileError: the path, or the end of a symbolic link, is a FIFO, a socket, a device or a folder.
        FileNotFoundError: there is nothing.
        OSError: it cannot be looked at; symbolic links lead in a circle, for example.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 - of a str, too
    if kind != stat.S_IFREG:
        what = f"it is {_KINDS.get(kind, 'something else')}, and no file; give the name of a file"
        raise NotAFileError(errno.EINVAL, what, str(path))


def destination(path: str | Path) -> Path:
    """Return the file to write for `path`: the end of a symbolic link, so that the link itself stays.

    Args:
        path: where to write; nothing need be there.

    Raises:
        NotAFileError: something else than a file is there.
        OSError: it cannot be looked at.
    """
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        check_file(target)
    return target


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a file to write to in the folder of `path`; it takes the place of `path` if the block ends well.

    Whoever looks at `path`, whenever the process ends, finds the old file or the new one. A symbolic link stays one:
    the file that it leads to is replaced.

    Args:
        path: the file to replace; it need not exist.

    Raises:
        FileNotFoundError, PermissionError: the folder is not there, or may not be written to.
        NotAFileError: `path` is a folder, a FIFO, a socket or a device.
    """
    target = destination(path)
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
        partial.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~mask)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def flushing(file: BinaryIO) -> Iterator[None]:
    """Send to the disk what the block writes while it writes, so that the fsync at the end has little to do.

    Args:
        file: an open file with a file descriptor.

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
    """Replace a file as a whole.

    Args:
        path: the file; it need not exist.
        content: all that it is to hold.

    Raises:
        FileNotFoundError, PermissionError: the folder is not there, or may not be written to.
        NotAFileError: `path` is a folder, a FIFO, a socket or a device.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)
