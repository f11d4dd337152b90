"""Observe TensorFlow's and Keras's Adams as they are installed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from adamcompat.drive import Driver
from adamcompat.mapping.originals import Original as Listed
from adamcompat.mapping.originals import locate
from adamcompat.mapping.originals import originals as known
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.verify.observation import Observation
from adamcompat.verify.observe import observe as look_at
from adamcompat.verify.original import Array, Original


def originals() -> tuple[Original, ...]:
    """Return the original of each dialect of TensorFlow, by its own class."""
    ours = (listed for listed in known().values() if RUNTIMES[listed.runtime].framework.name == "tensorflow")
    # tf_keras has the dialects of Keras 3 too, and some facts of its own.
    return tuple(_original(listed) for listed in ours if listed.name == listed.dialect.name)


def observe() -> list[Observation]:
    """Measure all of TensorFlow's and Keras's originals, on the CPU."""
    with tf.device("/CPU:0"):
        return [look_at(original) for original in originals()]


def _growing(library: Any) -> Callable[[float], Any]:
    class Growing(library.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        """Grow with the step: a schedule whose value is ``factor * (step + 1)``."""

        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, step: Any) -> Any:
            return self.factor * (tf.cast(step, tf.float32) + 1.0)

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    return Growing


def _original(listed: Listed) -> Original:
    kind: Any = listed.loaded()
    on_keras = issubclass(kind, keras.optimizers.Optimizer)
    variable = keras.Variable if on_keras else tf.Variable

    def new() -> Any:
        return variable(np.ones(2, np.float32))

    def step(optimizer: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
        optimizer.apply_gradients(list(pairs))

    def unknown() -> None:
        optimizer = kind()
        step(optimizer, [(tf.ones(2), new())])
        step(optimizer, [(tf.ones(2), new())])

    def repeated() -> None:
        one = new()
        step(kind(), [(tf.ones(2), one), (tf.ones(2), one)])

    mistakes: dict[str, Sequence[Callable[[], Any]]] = {
        "unknown_parameter": (unknown,),
        "repeated_parameter": (repeated,),
        "wrong_gradients": (lambda: step(kind(), [(tf.ones(3), new())]), lambda: step(kind(), [(None, new())])),
    }
    return Original(
        entry=listed.name,
        dialect=listed.dialect,
        framework="Keras" if on_keras else "TensorFlow",
        version=keras.__version__ if on_keras else tf.__version__,
        kind=kind,
        growing=_growing(keras if on_keras else tf_keras),
        once=lambda native: step(kind(**native), [(tf.ones(2), new())]),
        mistakes=mistakes,
        state=lambda driver: list(driver.slots().items()),
        resolve=locate,
        kinds=_kinds,
        sparse=True,
        state_mode="graph" if "graph" in RUNTIMES[listed.runtime].modes else "",
    )


def _kinds(driver: Driver) -> dict[str, Array]:
    optimizer: Any = driver._optimizer  # type: ignore[attr-defined]
    if not hasattr(optimizer, "get_slot_names"):
        return {}
    variable = driver._variables[0]  # type: ignore[attr-defined]
    slots = {name: optimizer.get_slot(variable, name) for name in optimizer.get_slot_names()}
    session = getattr(driver, "_session", None)
    return {name: np.asarray(slot if session is None else session.run(slot)) for name, slot in slots.items()}
