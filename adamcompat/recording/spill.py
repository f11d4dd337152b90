"""Keep the records of a recording on disk until they are written to its file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Spill:
    """Keep records of one size in a file without a name, which vanishes with the process.

    Args:
        folder: where the file lies.

    Attributes:
        records: the number of records.
    """

    def __init__(self, folder: Path) -> None:
        # Without a buffer: what a full disk did not take would be tried again whenever the file is touched.
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - lives as long as this
        self.records = 0

    def append(self, arrays: Sequence[Array]) -> None:
        """Add one record; if it cannot be written, there is none.

        Args:
            arrays: one a parameter, of the same shapes and dtypes in each record.

        Raises:
            OSError: the disk is full, or cannot be written to.
        """
        start = self._file.seek(0, 2)
        try:
            for array in arrays:
                left = memoryview(array.tobytes())
                while left:
                    left = left[self._file.write(left) :]
        except BaseException:
            self._file.truncate(start)
            raise
        self.records += 1

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def stacked(self, like: Sequence[Array]) -> tuple[Array, ...]:
        """Return for each tensor all of its records, one after the other.

        Args:
            like: arrays of the shapes and dtypes that the records have.

        Returns:
            For each tensor an array whose first axis is the record.
        """
        sizes = [array.nbytes for array in like]
        if not self.records or not sum(sizes):
            return tuple(np.zeros((self.records, *array.shape), array.dtype) for array in like)
        whole = np.memmap(self._file, np.uint8, "r", shape=(self.records, sum(sizes)))
        found, start = [], 0
        for array, size in zip(like, sizes, strict=True):
            # A copy in any case: the disk gets the space back when the file is closed.
            part = np.array(whole[:, start : start + size])
            found.append(part.reshape(-1).view(array.dtype).reshape(self.records, *array.shape))
            start += size
        return tuple(found)
