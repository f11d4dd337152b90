"""Write and read recordings: safetensors, with everything that is not a tensor in the metadata.

Tensors:

``weights/NAME``
    the parameter before the first recorded step
``gradients/NAME``
    the gradients that the optimizer was given, steps first
``parameters/NAME``
    the parameter after the kept steps, steps first
``first_moment/NAME``, ``second_moment/NAME``, ...
    what the optimizer kept before the first recorded step, where that was not its first: also
    ``maximum_second_moment``, ``average`` and ``accumulated_gradient``

Metadata:

``format``, ``version``
    ``adamcompat.recording``, ``2``; version ``1`` has no state at its beginning and no checksums
``names``
    JSON list of the parameters in the optimizer's order
``optimizer``
    the class that was recorded
``driver``, ``hyperparameters``
    its name for `adamcompat.compare`, and its arguments by their native names as JSON; empty where they are
    not known or change from step to step
``start``
    how many calls the optimizer had seen before
``state``
    JSON: ``step``, ``accumulation_steps``, ``accumulated_calls`` and the other facts of the state before the first
    recorded step, as in files of state; empty where that was the optimizer's first, or where the state is not known
``steps``
    number of recorded steps
``kept``
    JSON list of the steps, counted from 1, after which parameters were kept
``stopped``
    why recording ended before the training did, or empty
``checksums``
    JSON: CRC-32 of the bytes of each tensor, eight hexadecimal digits
``checksum``
    CRC-32 of the other metadata and of names, shapes and dtypes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adamcompat.extras import how_to_install
from adamcompat.files import check_file
from adamcompat.kinds import path_of
from adamcompat.state.files import safetensors_file
from adamcompat.state.files.neutral import FACTS, facts_of
from adamcompat.state.files.stored import Stored
from adamcompat.state.model import AdamState
from adamcompat.state.terms import ATTRIBUTES, StateError

Array = NDArray[Any]
T = TypeVar("T")

FORMAT, VERSION = "adamcompat.recording", "2"
# Without checksums, and without the state at the beginning.
_FIRST_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Recording:
    """Hold the contents of a file; see the head of this module.

    Attributes:
        names: of the parameters, in the optimizer's order.
        weights: the parameters before the first recorded step, one array a parameter.
        gradients: for each parameter an array with the steps on its first axis.
        parameters: for each parameter an array of its values after the steps in `kept`, which are on its first axis.
        optimizer: the dotted name of the class that was recorded.
        driver: its name for `adamcompat.compare`; None where it has none.
        hyperparameters: its arguments by their native names; None where they are not known, or changed from step to
            step.
        start: how many calls the optimizer had seen before.
        steps: the number of recorded steps.
        kept: the steps, counted from 1, after which parameters were kept.
        stopped: why recording ended before the training did; else an empty text.
        state: what the optimizer kept before the first recorded step; None where that was its first, or where it is not
            known.
    """

    names: tuple[str, ...]
    weights: tuple[Array, ...]
    gradients: tuple[Array, ...]
    parameters: tuple[Array, ...]
    optimizer: str
    driver: str | None
    hyperparameters: dict[str, Any] | None
    start: int
    steps: int
    kept: tuple[int, ...]
    stopped: str
    state: AdamState | None = None

    def parameters_after(self, step: int) -> list[Array] | None:
        """Return the parameters after a step, one array a parameter; None where they were not kept.

        Args:
            step: counted from 1.
        """
        if step not in self.kept:
            return None
        index = self.kept.index(step)
        return [array[index] for array in self.parameters]


def check_installed() -> None:
    """Find out whether recordings can be written and read.

    Raises:
        ModuleNotFoundError: safetensors is not installed.
    """
    try:
        import safetensors  # noqa: F401 - to find out
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"recordings need safetensors, which is not installed: {how_to_install('files')}", name=error.name
        ) from None


def write(recording: Recording, path: str | Path) -> None:
    """Write a file as a whole: whoever looks sees the old one or the new one.

    Args:
        recording: what is written.
        path: of the file.

    Raises:
        OSError: the file cannot be written; an older file is as it was.
    """
    tensors: dict[str, Array] = {}
    for kind in ("weights", "gradients", "parameters"):
        for name, array in zip(recording.names, getattr(recording, kind), strict=True):
            tensors[f"{kind}/{name}"] = array
    state = recording.state
    if state is not None:
        for role, kept in state.tensors.items():
            if role != "parameter":
                tensors |= {f"{role}/{name}": np.asarray(kept[name]) for name in recording.names}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "names": json.dumps(recording.names),
        "optimizer": recording.optimizer,
        "driver": recording.driver or "",
        "hyperparameters": "" if recording.hyperparameters is None else json.dumps(recording.hyperparameters),
        "start": str(recording.start),
        "state": "" if state is None else json.dumps(facts_of(state)),
        "steps": str(recording.steps),
        "kept": json.dumps(recording.kept),
        "stopped": recording.stopped,
    }
    # Recordings are also written when the process ends.
    safetensors_file.write_sealed(Path(path), tensors, metadata, threads=False)


def read(path: str | Path) -> Recording:
    """Read a recording.

    Args:
        path: of a file that `adamcompat.record` wrote.

    Returns:
        The whole recording, in memory.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: `path` is no path.
        ValueError: the file is no recording, or one that was damaged.
        ModuleNotFoundError: safetensors is not installed.
    """
    path = path_of(path, "path")
    check_installed()
    try:
        check_file(path)
    except OSError:
        raise FileNotFoundError(f"{path} is no file; adamcompat.record(optimizer, path) writes one") from None
    try:
        tensors, metadata = safetensors_file.read(Path(path))
        recording = _read(Path(path), tensors, metadata)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error).removeprefix(f"{path}: ")
        raise ValueError(f"{path} is not a recording that adamcompat.record wrote: {reason}") from None
    _check(recording, path)
    return recording


def _read(path: Path, tensors: Mapping[str, Stored], metadata: dict[str, str]) -> Recording:
    if metadata.get("format") != FORMAT:
        raise ValueError("its metadata does not name the format")
    version = metadata["version"]
    if version == VERSION:
        tensors = safetensors_file.unsealed(path, tensors, metadata)
    elif version != _FIRST_VERSION:
        raise ValueError(f"it has version {version} of the format; this reads versions {_FIRST_VERSION} and {VERSION}")
    elif "checksum" in metadata:
        raise ValueError(f"it claims version {version}, which has no checksums, and yet it has some: it is damaged")
    names: tuple[str, ...] = tuple(_typed(metadata, "names", list))

    def arrays(kind: str) -> tuple[Array, ...]:
        return tuple(np.asarray(tensors[f"{kind}/{name}"]) for name in names)

    return Recording(
        names=names,
        weights=arrays("weights"),
        gradients=arrays("gradients"),
        parameters=arrays("parameters"),
        optimizer=metadata["optimizer"],
        driver=metadata["driver"] or None,
        hyperparameters=_typed(metadata, "hyperparameters", dict) if metadata["hyperparameters"] else None,
        start=int(metadata["start"]),
        steps=int(metadata["steps"]),
        kept=tuple(_typed(metadata, "kept", list)),
        stopped=metadata["stopped"],
        state=_state(names, tensors, metadata) if metadata.get("state") else None,
    )


def _state(names: tuple[str, ...], tensors: Mapping[str, Stored], metadata: dict[str, str]) -> AdamState:
    facts = _typed(metadata, "state", dict)
    kept: dict[str, Any] = {
        attribute: {name: np.asarray(tensors[f"{role}/{name}"]) for name in names}
        for role, attribute in ATTRIBUTES.items()
        if f"{role}/{names[0]}" in tensors
    }
    if not {"first_moment", "second_moment"} <= kept.keys():
        raise StateError("it has the facts of a state, and no moments")
    return AdamState(**{key: facts[key] for key in FACTS}, **kept)


def _typed(metadata: dict[str, str], key: str, kind: type[T]) -> T:
    value = json.loads(metadata[key])
    if not isinstance(value, kind):
        raise ValueError(f"{key} is {value!r}")
    return value


def _check(recording: Recording, path: str | Path) -> None:
    """Refuse tensors that do not fit each other."""
    for place, (name, weight, gradient, parameter) in enumerate(
        zip(recording.names, recording.weights, recording.gradients, recording.parameters, strict=True)
    ):
        wanted = (recording.steps, *weight.shape), (len(recording.kept), *weight.shape)
        if (gradient.shape, parameter.shape) != wanted:
            raise ValueError(
                f"{path}: {name} has gradients of shape {gradient.shape} and parameters of shape {parameter.shape}; "
                f"expected {wanted[0]} and {wanted[1]}"
            )
        if not all(np.issubdtype(array.dtype, np.floating) for array in (weight, gradient, parameter)):
            raise ValueError(f"{path}: {name} holds {gradient.dtype}; expected floating-point numbers")
        if recording.state is not None and tuple(recording.state.shapes.values())[place] != weight.shape:
            raise ValueError(f"{path}: the moments of {name} have shape {recording.state.shapes[name]}")
