"""Find the part for an optimizer's framework and put a recorder on the optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adamcompat.files import destination
from adamcompat.groups import Group, stated
from adamcompat.kinds import path_of
from adamcompat.mapping import lens
from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import FRAMEWORKS, ORIGINALS, Framework
from adamcompat.mapping.tables import MAPPING
from adamcompat.recording.file import check_installed
from adamcompat.recording.recorder import Recorder

# The first part of the module name of an optimizer's class, to its framework.
_FRAMEWORKS = {package: framework for framework in ORIGINALS.values() for package in framework.packages}


def record(optimizer: Any, path: str | Path, *, every: int = 1, max_bytes: int = 2**28) -> Recorder:
    """Write the gradients and parameters of an optimizer's steps to one file; the training is not changed.

    The optimizer is instrumented in place, so that it goes on working wherever it is used: in `compile` and
    `fit`, in a tf.function, in `nn.TrainOneStepCell`. Recording begins with its next step; what an Adam has kept until
    then is recorded too, so that a replay can begin there. The file is written when the recorder is closed (or the
    process ends), as a whole; a process that is killed leaves the older file or none.
    An error of recording, or a file beyond `max_bytes`, ends the recording with one line in the log, and not the
    training; what was recorded until then is written.

    Args:
        optimizer: an optimizer of TensorFlow, Keras, MindSpore or PyTorch, or one of ours on any runtime.
        path: the file to write: safetensors, as `adamcompat.recording.file` describes.
        every: parameters are kept after every so many steps, at least 1. Gradients are kept at each, for a replay needs
            all.
        max_bytes: the most that the file's tensors may take, in bytes.

    Returns:
        A recorder. Call its ``close()``, or use it as a context manager.

    Raises:
        TypeError: `optimizer` is no optimizer of these, or `path` is no path.
        ValueError: `every` or `max_bytes` is too small, the folder of `path` does not exist, `path` cannot be written,
            or the optimizer is being recorded already.
        RuntimeError: steps run where nothing can be copied out of them (MindSpore's GRAPH mode).
        ModuleNotFoundError: safetensors is not installed.

    >>> import numpy as np, tempfile
    >>> from adamcompat import TFStyleAdam
    >>> weight, optimizer, folder = np.ones(3), TFStyleAdam(), tempfile.mkdtemp()
    >>> with record(optimizer, f"{folder}/run.safetensors") as recorder:
    ...     _ = optimizer.apply_gradients([(np.ones(3), weight)])
    >>> recorder
    Recorder('.../run.safetensors', steps=1)
    """
    check_installed()
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"every must be a whole number of at least 1, got {every!r}")
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 1:
        raise ValueError(f"max_bytes must be a whole number of at least 1, got {max_bytes!r}")
    target = path_of(path, "path").absolute()
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist; make it first")
    try:
        destination(target)
    except OSError as error:
        raise ValueError(f"{target} cannot be written: {error.strerror}") from None
    part = _framework(optimizer).load("recording")
    kind = type(optimizer)
    driver, hyperparameters = part.facts(optimizer)
    recorder = Recorder(
        target,
        every=every,
        max_bytes=max_bytes,
        optimizer=f"{kind.__module__}.{kind.__qualname__}",
        driver=driver,
        hyperparameters=hyperparameters,
    )
    recorder.attach(part.instrument(optimizer, recorder))
    return recorder


def _framework(optimizer: Any) -> Framework:
    """Return the framework of an optimizer."""
    from adamcompat.numpy.optimizer import NumPyAdam
    from adamcompat.numpy.step_call import StepAdam

    if isinstance(optimizer, (NumPyAdam, StepAdam)):
        return FRAMEWORKS["numpy"]
    if not isinstance(optimizer, type):
        for base in type(optimizer).__mro__:
            root = base.__module__.partition(".")[0]
            ours = any(type(optimizer).__module__ == f"{adapter.module}.adapters" for adapter in MAPPING.adapters)
            if root in _FRAMEWORKS and (ours or "optimizer" in f"{base.__module__}.{base.__name__}".lower()):
                return _FRAMEWORKS[root]
    raise TypeError(
        f"{optimizer!r} is not an optimizer of TensorFlow, Keras, MindSpore or PyTorch, nor one of ours; "
        f"pass the optimizer itself, for a Keras model model.optimizer"
    )


def refuse_twice(marked: bool) -> None:
    """Refuse an optimizer that is being recorded.

    Args:
        marked: whether it is.

    Raises:
        ValueError: the optimizer is being recorded.
    """
    if marked:
        raise ValueError("this optimizer is being recorded already; close that recorder first")


def plain_values(
    native: dict[str, Any], dialect: Dialect, groups: Sequence[tuple[str, Group]] = ()
) -> dict[str, Any] | None:
    """Return hyperparameters that a file can hold; None if one is a schedule or changes from step to step.

    Args:
        native: by their own names.
        dialect: whose names they are.
        groups: each parameter's name and group; empty where they are not grouped.

    Returns:
        `native`, and with groups these as well, as a call states them, with names in place of parameters.
    """
    simple = (bool, int, float, str, type(None))
    entries = stated(dialect, [name for name, _ in groups], [group for _, group in groups])
    fact, weights = dialect.named("parameters"), {fact.name for fact in dialect.groups if fact.type == "parameters"}
    values = [value for entry in entries for key, value in entry.items() if key not in weights]
    for name, value in native.items():
        known = dialect.find(name)
        values += [value] if known is None else [item for _, item in lens.parts(known, value, dialect)]
    if not all(isinstance(value, simple) for value in values):
        return None
    return {**native, fact.name: entries} if fact is not None and entries else native
