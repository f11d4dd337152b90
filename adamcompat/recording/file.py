"""The file of a recording: safetensors, with everything that is not a tensor in its metadata.

Tensors:

``weights/NAME``
    the parameter before the first recorded step
``gradients/NAME``
    the gradients that the optimizer was given, steps first
``parameters/NAME``
    the parameter after the kept steps, steps first

Metadata:

``format``, ``version``
    ``adamcompat.recording``, ``1``
``names``
    JSON list of the parameters in the optimizer's order
``optimizer``
    the class that was recorded
``driver``, ``hyperparameters``
    its name for `adamcompat.compare`, and its arguments by their native names as JSON; empty where they are
    not known or change from step to step
``start``
    how many steps the optimizer had made before
``steps``
    number of recorded steps
``kept``
    JSON list of the steps, counted from 1, after which parameters were kept
``stopped``
    why recording ended before the training did, or empty
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from adamcompat.files import check_file, replacing

Array = NDArray[Any]
T = TypeVar("T")

FORMAT, VERSION = "adamcompat.recording", "1"


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file holds; see the head of this module."""

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

    def parameters_after(self, step: int) -> list[Array] | None:
        """The parameters after a step, counted from 1, or None where they were not kept."""
        if step not in self.kept:
            return None
        index = self.kept.index(step)
        return [array[index] for array in self.parameters]


def safetensors_numpy() -> Any:
    """The reader and writer of the format.

    Raises:
        ModuleNotFoundError: safetensors is not installed.
    """
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "recordings need safetensors, which is not installed: pip install 'adamcompat[files]'", name=error.name
        ) from None
    return safetensors


def write(recording: Recording, path: str | Path) -> None:
    """Write a file as a whole: whoever looks sees the old one or the new one."""
    tensors: dict[str, Array] = {}
    for kind in ("weights", "gradients", "parameters"):
        for name, array in zip(recording.names, getattr(recording, kind), strict=True):
            tensors[f"{kind}/{name}"] = array
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "names": json.dumps(recording.names),
        "optimizer": recording.optimizer,
        "driver": recording.driver or "",
        "hyperparameters": "" if recording.hyperparameters is None else json.dumps(recording.hyperparameters),
        "start": str(recording.start),
        "steps": str(recording.steps),
        "kept": json.dumps(recording.kept),
        "stopped": recording.stopped,
    }
    with replacing(path) as partial:
        safetensors_numpy().numpy.save_file(tensors, partial, metadata)


def read(path: str | Path) -> Recording:
    """Read a recording.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no recording, or one that was damaged.
    """
    safetensors = safetensors_numpy()
    try:
        check_file(path)
    except OSError:
        raise FileNotFoundError(f"{path} is no file; adamcompat.record(optimizer, path) writes one") from None
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != FORMAT:
                raise ValueError("its metadata do not name the format")
            if metadata["version"] != VERSION:
                raise ValueError(f"it has version {metadata['version']} of the format; this reads version {VERSION}")
            names: tuple[str, ...] = tuple(_typed(metadata, "names", list))

            def tensors(kind: str) -> tuple[Array, ...]:
                return tuple(file.get_tensor(f"{kind}/{name}") for name in names)

            recording = Recording(
                names=names,
                weights=tensors("weights"),
                gradients=tensors("gradients"),
                parameters=tensors("parameters"),
                optimizer=metadata["optimizer"],
                driver=metadata["driver"] or None,
                hyperparameters=_typed(metadata, "hyperparameters", dict) if metadata["hyperparameters"] else None,
                start=int(metadata["start"]),
                steps=int(metadata["steps"]),
                kept=tuple(_typed(metadata, "kept", list)),
                stopped=metadata["stopped"],
            )
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} is not a recording that adamcompat.record wrote: {reason}") from None
    _check(recording, path)
    return recording


def _typed(metadata: dict[str, str], key: str, kind: type[T]) -> T:
    value = json.loads(metadata[key])
    if not isinstance(value, kind):
        raise ValueError(f"{key} is {value!r}")
    return value


def _check(recording: Recording, path: str | Path) -> None:
    """Refuse tensors that do not fit each other."""
    for name, weight, gradient, parameter in zip(
        recording.names, recording.weights, recording.gradients, recording.parameters, strict=True
    ):
        wanted = (recording.steps, *weight.shape), (len(recording.kept), *weight.shape)
        if (gradient.shape, parameter.shape) != wanted:
            raise ValueError(
                f"{path}: {name} has gradients of shape {gradient.shape} and parameters of shape {parameter.shape}; "
                f"expected {wanted[0]} and {wanted[1]}"
            )
        if not all(np.issubdtype(array.dtype, np.floating) for array in (weight, gradient, parameter)):
            raise ValueError(f"{path}: {name} holds {gradient.dtype}; expected floating-point numbers")
