"""Collects the steps of one optimizer and writes them to one file."""

from __future__ import annotations

import atexit
import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.recording.file import Recording, write

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]

# A warning could be turned into an error, which would stop the training.
_log = logging.getLogger("adamcompat")


class _Spill:
    """Records of one size, in a file without a name, which vanishes with the process."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this object
        self.records = 0

    def append(self, arrays: Sequence[Array]) -> None:
        """Add one record; if it cannot be written, there is none."""
        start = self._file.seek(0, 2)
        try:
            for array in arrays:
                self._file.write(array.tobytes())
            self._file.flush()
        except BaseException:
            self._file.truncate(start)
            raise
        self.records += 1

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def stacked(self, like: Sequence[Array]) -> tuple[Array, ...]:
        """For each tensor all of its records, one after the other."""
        sizes = [array.nbytes for array in like]
        if not self.records or not sum(sizes):
            return tuple(np.zeros((self.records, *array.shape), array.dtype) for array in like)
        whole = np.memmap(self._file, np.uint8, "r", shape=(self.records, sum(sizes)))
        found, start = [], 0
        for array, size in zip(like, sizes, strict=True):
            part = np.ascontiguousarray(whole[:, start : start + size])
            found.append(part.reshape(-1).view(array.dtype).reshape(self.records, *array.shape))
            start += size
        return tuple(found)


class Recorder:
    """A recording in progress; `adamcompat.record` makes one.

    Attributes:
        path: the file that it will write.
        steps: number of recorded steps.
        stopped: why recording has ended before the training, or an empty string.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        every: int,
        max_bytes: int,
        optimizer: str,
        driver: str | None,
        hyperparameters: dict[str, Any] | None,
    ) -> None:
        self.path = Path(path)
        self.steps = 0
        self.stopped = ""
        self._every = every
        self._left = max_bytes
        self._facts: dict[str, Any] = {"optimizer": optimizer, "driver": driver, "hyperparameters": hyperparameters}
        self._start = 0
        self._names: tuple[str, ...] = ()
        self._weights: tuple[Array, ...] = ()
        self._kept: list[int] = []
        self._spills: tuple[_Spill, _Spill] | None = None
        self._lock = threading.RLock()
        self._undo: Callable[[], None] = lambda: None
        self._written = 0
        self._closed = False

    def attach(self, undo: Callable[[], None]) -> None:
        """Remember how to take the recorder off its optimizer; to be called once."""
        self._undo = undo
        # The file is written at the end of the process too, if nobody has closed the recorder.
        atexit.register(self.close)

    # What an instrumented optimizer calls. Nothing that goes wrong here may reach the training.

    @property
    def recording(self) -> bool:
        """Whether further steps are wanted."""
        return not (self.stopped or self._closed)

    @property
    def begun(self) -> bool:
        """Whether the parameters before the first step are known."""
        return bool(self._names)

    def before(self, names: Sequence[str], weights: Sequence[Any], start: int) -> None:
        """Take the parameters before a step; only the first call counts.

        Args:
            names: of the parameters that have gradients.
            weights: their values.
            start: how many steps the optimizer has made.
        """
        with self._lock:
            if self.recording and not self.begun:
                self._guarded(lambda: self._begin(names, weights, start))

    def after(self, names: Sequence[str], gradients: Sequence[Any], parameters: Callable[[], Sequence[Any]]) -> None:
        """Take the gradients of a step, and what became of the parameters.

        Args:
            names: of the parameters that had gradients.
            gradients: theirs.
            parameters: called for their values where they are to be kept.
        """
        with self._lock:
            if self.recording and self.begun:
                self._guarded(lambda: self._step(names, gradients, parameters))

    def stop(self, why: str) -> None:
        """End recording and say so once; the training goes on."""
        with self._lock:
            if not self.stopped:
                self.stopped = why
                _log.warning("adamcompat.record: %s; %d steps are recorded in %s", why, self.steps, self.path)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.stop(f"recording ended, because {type(error).__name__}: {error}")

    def _begin(self, names: Sequence[str], weights: Sequence[Any], start: int) -> None:
        arrays = tuple(_plain(weight) for weight in weights)
        if len(set(names)) != len(names):
            raise ValueError("two parameters have the same name")
        self._take(sum(array.nbytes for array in arrays))
        if self.recording:
            self._spills = (_Spill(self.path.parent), _Spill(self.path.parent))
            self._names, self._weights, self._start = tuple(names), arrays, start

    def _step(self, names: Sequence[str], gradients: Sequence[Any], parameters: Callable[[], Sequence[Any]]) -> None:
        assert self._spills is not None
        if tuple(names) != self._names:
            missing = sorted(set(self._names) ^ set(names))
            self.stop(
                f"recording ended: in step {self.steps + 1} other parameters have gradients ({', '.join(missing)})"
            )
            return
        keep = (self.steps + 1) % self._every == 0
        size = sum(weight.nbytes for weight in self._weights)
        self._take(size * (2 if keep else 1))
        if not self.recording:
            return
        arrays = [_like(gradient, weight) for gradient, weight in zip(gradients, self._weights, strict=True)]
        kept = (
            [_like(value, weight) for value, weight in zip(parameters(), self._weights, strict=True)] if keep else None
        )
        self._spills[0].append(arrays)
        self.steps += 1
        if kept is not None:
            self._spills[1].append(kept)
            self._kept.append(self.steps)

    def _take(self, size: int) -> None:
        if size > self._left:
            self.stop("recording ended, because max_bytes is reached")
        else:
            self._left -= size

    # What its user calls.

    def save(self) -> None:
        """Write what has been recorded so far; recording goes on.

        Raises:
            OSError: the file cannot be written; an older one is left as it was.
        """
        with self._lock:
            if self._spills is None or not self.steps or self._written == self.steps:
                return
            gradients, parameters = (spill.stacked(self._weights) for spill in self._spills)
            recording = Recording(
                names=self._names,
                weights=self._weights,
                gradients=tuple(array[: self.steps] for array in gradients),
                parameters=tuple(array[: len(self._kept)] for array in parameters),
                start=self._start,
                steps=self.steps,
                kept=tuple(self._kept),
                stopped=self.stopped,
                **self._facts,
            )
            write(recording, self.path)
            self._written = self.steps

    def close(self) -> None:
        """Take the recorder off the optimizer and write the file; a second call does nothing.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self.close)
            self._undo()
            if not self.steps:
                self.stop(
                    "no step was seen: the optimizer made none, or in compiled code that was built before recording "
                    "began, or that nothing can be copied out of"
                )
            try:
                self.save()
            finally:
                for spill in self._spills or ():
                    spill.close()
                self._spills = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"Recorder({str(self.path)!r}, steps={self.steps}{f', stopped={self.stopped!r}' if self.stopped else ''})"
        )


def _plain(value: Any) -> Array:
    """A copy of a parameter in a dtype that files and NumPy know."""
    array = np.array(value)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"a parameter has dtype {array.dtype}; float16, float32 and float64 are recorded")
    return array


def _like(value: Any, weight: Array) -> Array:
    array = np.asarray(value, weight.dtype)
    if array.shape != weight.shape:
        raise ValueError(f"a gradient has shape {array.shape}, its parameter {weight.shape}")
    return array
