"""Collect the steps of one optimizer and write them to one file."""

from __future__ import annotations

import atexit
import errno
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adamcompat.recording.file import Recording, write
from adamcompat.recording.spill import Spill
from adamcompat.state.model import AdamState
from adamcompat.state.terms import StateError

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]

# A warning could be turned into an error, which would stop the training.
_log = logging.getLogger("adamcompat")

# What a disk says that is full, and how much of a recording is tried then.
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_SHARES = (15 / 16, 3 / 4, 1 / 2, 3 / 8, 1 / 4)


class Recorder:
    """Hold a recording in progress; `adamcompat.record` makes one.

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
        self._state: AdamState | None = None
        self._names: tuple[str, ...] = ()
        self._weights: tuple[Array, ...] = ()
        self._kept: list[int] = []
        self._spills: tuple[Spill, Spill] | None = None
        # What is to be written, once nothing more will come, and whether there was room for a part of it only.
        self._whole: Recording | None = None
        self._shortened = False
        self._lock = threading.RLock()
        self._undo: Callable[[], None] = lambda: None
        # How many steps are in the file, and what it says of why recording ended.
        self._written = (0, "")
        self._closed = False

    def attach(self, undo: Callable[[], None]) -> None:
        """Remember how to take the recorder off its optimizer; to be called once.

        Args:
            undo: called when the recorder is closed.
        """
        self._undo = undo
        # The file is written at the end of the process too, if nobody has closed the recorder.
        atexit.register(self._close_quietly)

    # What an instrumented optimizer calls. Nothing that goes wrong here may reach the training.

    @property
    def recording(self) -> bool:
        """Return whether further steps are wanted."""
        return not (self.stopped or self._closed)

    @property
    def begun(self) -> bool:
        """Return whether the parameters before the first step are known."""
        return bool(self._names)

    def before(
        self,
        names: Sequence[str],
        weights: Sequence[Any],
        start: int,
        state: Callable[[], AdamState | None] | None = None,
    ) -> None:
        """Take the parameters before a step, and what the optimizer keeps; only the first call counts.

        Args:
            names: of the parameters that have gradients.
            weights: their values, one array a parameter.
            start: how many calls the optimizer has seen.
            state: called for its state, under these names; it returns None where no state of Adam is kept.
        """
        with self._lock:
            if self.recording and not self.begun:
                self._guarded(lambda: self._begin(names, weights, start, state))

    def after(self, names: Sequence[str], gradients: Sequence[Any], parameters: Callable[[], Sequence[Any]]) -> None:
        """Take the gradients of a step, and what became of the parameters.

        Args:
            names: of the parameters that had gradients.
            gradients: theirs, one array a parameter, in the parameter's shape.
            parameters: called for their values where they are to be kept.
        """
        with self._lock:
            if self.recording and self.begun:
                self._guarded(lambda: self._step(names, gradients, parameters))

    def settle(self, hyperparameters: dict[str, Any] | None) -> None:
        """Take the hyperparameters of the step that comes; those that change from step to step are not recorded.

        Args:
            hyperparameters: by their native names, or None where they are not known.
        """
        with self._lock:
            before = self._facts["hyperparameters"]
            if before == hyperparameters or before is None:
                return
            if not self.begun:
                self._facts["hyperparameters"] = hyperparameters
                return
            self._facts["hyperparameters"] = None
            changed = [name for name in before if (hyperparameters or {}).get(name) != before[name]]
            _log.warning(
                "adamcompat.record: %s changed after step %d, so that no hyperparameters are recorded: give them to "
                "the replay",
                ", ".join(changed),
                self.steps,
            )

    def stop(self, why: str) -> None:
        """End recording, write what there is, and say so once in the log; the training goes on.

        Args:
            why: a clause, which the file holds too.
        """
        with self._lock:
            if not self.stopped:
                self.stopped = why
                _log.warning("adamcompat.record: %s; %s", why, self._outcome())

    def _outcome(self) -> str:
        """Write what there is, and return what became of the recording: no file is named that is not there."""
        if not self.steps:
            return "nothing is recorded"
        many = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        try:
            self._finish()
        except OSError as error:
            there = "the file that is there is an older one" if self.path.exists() else "there is no file"
            reason = error.strerror or error
            return (
                f"{many} could not be written to {self.path} ({reason}): {there}; closing the recorder tries it again"
            )
        return self._told()

    def _told(self) -> str:
        """Return what is in the file, as a clause."""
        written = self._written[0]
        if written < self.steps:
            return f"the first {written} of {self.steps} steps are recorded in {self.path}, for more there is no room"
        return f"{written} steps are recorded in {self.path}" if written != 1 else f"1 step is recorded in {self.path}"

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.stop(f"recording ended, because {type(error).__name__}: {error}")

    def _begin(
        self, names: Sequence[str], weights: Sequence[Any], start: int, state: Callable[[], AdamState | None] | None
    ) -> None:
        arrays = tuple(_plain(weight) for weight in weights)
        if len(set(names)) != len(names):
            raise ValueError("two parameters have the same name")
        found = self._captured(start, state)
        self._take(sum(array.nbytes for array in arrays))
        if found is not None:
            self._take(sum(np.asarray(tensor).nbytes for kept in found.tensors.values() for tensor in kept.values()))
        if self.recording:
            self._spills = (Spill(self.path.parent), Spill(self.path.parent))
            if found is not None:
                start = found.step * (found.accumulation_steps or 1) + found.accumulated_calls
            self._names, self._weights, self._start, self._state = tuple(names), arrays, start, found

    def _captured(self, start: int, state: Callable[[], AdamState | None] | None) -> AdamState | None:
        """Return what the optimizer keeps, where that is more than nothing; a replay begins there."""
        reason = "it is no Adam"
        try:
            found = state() if state is not None else None
        except StateError as error:
            found, reason = None, str(error)
        if found is None and start:
            _log.warning(
                "adamcompat.record: recording begins after %s of %s, whose state is not known (%s): what is recorded "
                "cannot be replayed from there",
                f"{start} step{'' if start == 1 else 's'}",
                self._facts["optimizer"],
                reason,
            )
        if found is None or (not found.step and not found.accumulated_calls and not _holds_anything(found)):
            return None
        return replace(found, parameters=None)

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
            if self.steps:
                self._write(self._recorded())

    def _recorded(self) -> Recording:
        if self._whole is not None:
            return self._whole
        assert self._spills is not None
        gradients, parameters = (spill.stacked(self._weights) for spill in self._spills)
        return Recording(
            names=self._names,
            weights=self._weights,
            gradients=tuple(array[: self.steps] for array in gradients),
            parameters=tuple(array[: len(self._kept)] for array in parameters),
            start=self._start,
            steps=self.steps,
            kept=tuple(self._kept),
            stopped=self.stopped,
            state=self._state,
            **self._facts,
        )

    def _finish(self) -> None:
        """Write the file for the last time. Before that the disk gets back what the records took: it may be full."""
        if self.steps and self._whole is None:
            self._whole = self._recorded()
        for spill in self._spills or ():
            spill.close()
        self._spills = None
        if self._whole is not None and not self._shortened:
            self._write_what_fits(self._whole)

    def _write_what_fits(self, recording: Recording) -> None:
        """Write a file, with fewer steps where there is no room for all: the records took less than the file does."""
        counts = [int(recording.steps * share) for share in _SHARES]
        tried = [recording, *(_first(recording, steps) for steps in counts if steps)]
        while not self._has_room(tried[0], last=len(tried) == 1):
            tried = tried[1:]
        self._shortened = tried[0] is not recording

    def _has_room(self, recording: Recording, *, last: bool) -> bool:
        try:
            self._write(recording)
        except OSError as error:
            if last or error.errno not in _NO_ROOM:
                raise
            return False
        return True

    def _write(self, recording: Recording) -> None:
        if self._written != (recording.steps, recording.stopped):
            write(recording, self.path)
            self._written = recording.steps, recording.stopped

    def close(self) -> None:
        """Take the recorder off the optimizer and write the file; a second call does nothing.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            atexit.unregister(self._close_quietly)
            self._undo()
            if not self.steps:
                self.stop(
                    "no step was seen: the optimizer made none, or in compiled code that was built before recording "
                    "began, or that nothing can be copied out of"
                )
            told = self._shortened
            self._finish()
            if self._shortened and not told:
                _log.warning("adamcompat.record: %s", self._told())

    def _close_quietly(self) -> None:
        """Close; what cannot be written is said in the log, for the program has other things to do."""
        try:
            self.close()
        except OSError as error:
            there = "the file that is there is an older one" if self.path.exists() else "there is no file"
            _log.error(
                "adamcompat.record: %d steps could not be written to %s (%s): %s",
                self.steps,
                self.path,
                error.strerror or error,
                there,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close_quietly()

    def __repr__(self) -> str:
        return (
            f"Recorder({str(self.path)!r}, steps={self.steps}{f', stopped={self.stopped!r}' if self.stopped else ''})"
        )


def _first(recording: Recording, steps: int) -> Recording:
    """Return the first steps of a recording."""
    kept = tuple(step for step in recording.kept if step <= steps)
    return replace(
        recording,
        gradients=tuple(array[:steps] for array in recording.gradients),
        parameters=tuple(array[: len(kept)] for array in recording.parameters),
        steps=steps,
        kept=kept,
        stopped=recording.stopped or "there was no room for more steps",
    )


def _holds_anything(state: AdamState) -> bool:
    return any(
        np.any(tensor) for role, kept in state.tensors.items() if role != "parameter" for tensor in kept.values()
    )


def _plain(value: Any) -> Array:
    """Return a copy of a parameter in a dtype that files and NumPy know."""
    array = np.array(value)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"a parameter has dtype {array.dtype}; float16, float32 and float64 are recorded")
    return array


def _like(value: Any, weight: Array) -> Array:
    array = np.asarray(value, weight.dtype)
    if array.shape != weight.shape:
        raise ValueError(f"a gradient has shape {array.shape}, its parameter {weight.shape}")
    return array
