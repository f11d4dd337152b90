"""TensorFlow's and Keras's Adams as they are installed here, observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from adamcompat.drive import Driver
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.observation import Observation
from adamcompat.verify.observe import observe as look_at
from adamcompat.verify.original import Array, Original


def originals() -> tuple[Original, ...]:
    """The three dialects of TensorFlow."""
    v1 = tf.compat.v1.train.AdamOptimizer
    return (
        _original("keras3", "Keras", keras.__version__, keras.optimizers.Adam, _growing(keras), keras.Variable),
        _original(
            "tf26", "TensorFlow", tf.__version__, tf_keras.optimizers.legacy.Adam, _growing(tf_keras), tf.Variable
        ),
        _original("tf1", "TensorFlow", tf.__version__, v1, _growing(tf_keras), tf.Variable),
    )


def observe() -> list[Observation]:
    """Measure all of them, on the CPU."""
    with tf.device("/CPU:0"):
        return [look_at(original) for original in originals()]


def _growing(library: Any) -> Callable[[float], Any]:
    class Growing(library.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        """Its value is ``factor * (step + 1)``."""

        def __init__(self, factor: float) -> None:
            self.factor = factor

        def __call__(self, step: Any) -> Any:
            return self.factor * (tf.cast(step, tf.float32) + 1.0)

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    return Growing


def _original(
    name: str, framework: str, version: str, kind: Any, growing: Callable[[float], Any], variable: Any
) -> Original:
    def new() -> Any:
        return variable(np.ones(2, np.float32))

    def step(optimizer: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
        optimizer.apply_gradients(list(pairs))

    def resolve(target: str) -> Any:
        # Keras 3 has taken the name; the legacy optimizer and its schedules live on in tf_keras.
        path = target.replace("tf.keras.", "tf_keras.") if name == "tf26" else target
        package, *rest = path.split(".")
        return reduce(getattr, rest, {"tf": tf, "keras": keras, "tf_keras": tf_keras}[package])

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
        entry=name,
        dialect=MAPPING.dialects[name],
        framework=framework,
        version=version,
        kind=kind,
        growing=growing,
        once=lambda native: step(kind(**native), [(tf.ones(2), new())]),
        mistakes=mistakes,
        state=lambda driver: list(driver.slots().items()),
        resolve=resolve,
        kinds=_kinds,
        sparse=True,
        state_mode="graph" if name == "tf1" else "",
    )


def _kinds(driver: Driver) -> dict[str, Array]:
    optimizer: Any = driver._optimizer  # type: ignore[attr-defined]
    if not hasattr(optimizer, "get_slot_names"):
        return {}
    variable = driver._variables[0]  # type: ignore[attr-defined]
    slots = {name: optimizer.get_slot(variable, name) for name in optimizer.get_slot_names()}
    session = getattr(driver, "_session", None)
    return {name: np.asarray(slot if session is None else session.run(slot)) for name, slot in slots.items()}
