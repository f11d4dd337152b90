"""Treats the TensorFlow drop-in badly; run it by scripts/robustness.py tensorflow.

Called with checkpoint or keras, a path and a number of steps it trains, and keeps what it has after each step.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import robustness_checks as checks
import tensorflow as tf
from robustness_checks import Seen

from adamcompat.tensorflow import Adam
from tests.tensorflow.test_whole_steps import FILES, PATHS


class Training:
    """Eager steps."""

    def __init__(self, tensors: int, size: int, kind: Any = Adam) -> None:
        self._weights = [tf.Variable(tf.ones(size)) for _ in range(tensors)]
        self._gradient = tf.fill([size], 0.5)
        self._optimizer = kind(1e-4)
        self._optimizer.build(self._weights)

    def step(self) -> None:
        self._optimizer.apply_gradients([(self._gradient, weight) for weight in self._weights])

    def tensors(self) -> list[Any]:
        moments = [value for value in self._optimizer.variables if value.shape == self._gradient.shape]
        return [value.numpy() for value in (*self._weights, *moments)]

    def count(self) -> int:
        return int(self._optimizer.iterations.numpy())


def gradients(step: int, weights: list[Any]) -> list[Any]:
    rng = np.random.default_rng(step)
    return [tf.constant(rng.standard_normal(weight.shape).astype(np.float32)) for weight in weights]


def train_checkpoint(path: Path, last: int) -> None:
    weights = [tf.Variable(tf.ones(2000)) for _ in range(8)]
    optimizer = Adam(0.01)
    optimizer.build(weights)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(optimizer=optimizer, weights=weights), str(path), 2)
    manager.restore_or_initialize()
    print("ready", flush=True)
    while (step := int(optimizer.iterations.numpy())) < last:
        optimizer.apply_gradients(zip(gradients(step, weights), weights, strict=True))
        manager.save()
    print(checks.digest([value.numpy() for value in (*weights, *optimizer.variables)]))


def train_keras(path: Path, last: int) -> None:
    whole, partly = path.with_suffix(".keras"), path.with_suffix(".partial.keras")
    if whole.exists():
        model = keras.models.load_model(whole)
    else:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((40,)), keras.layers.Dense(50), keras.layers.Dense(1)])
        model.compile(Adam(0.01), "mse")
    weights = model.trainable_variables
    print("ready", flush=True)
    while (step := int(model.optimizer.iterations.numpy())) < last:
        model.optimizer.apply_gradients(zip(gradients(step, weights), weights, strict=True))
        # Keras writes into the file itself, so it writes into another one, which then takes the place.
        model.save(partly)
        partly.replace(whole)
    print(checks.digest([value.numpy() for value in (*weights, *model.optimizer.variables)]))


def kills(kind: str, what: str, quick: bool) -> Seen:
    last, count = (30, 2) if quick else (200, 8)
    with tempfile.TemporaryDirectory() as folder:
        return checks.kills(__file__, kind, Path(folder), last, count, what)


def forks(quick: bool) -> Seen:
    """TensorFlow's own threads do not survive a fork: then no optimizer can make a step in the child."""
    count = 2 if quick else 3
    whole, hung, parent = checks.fork(Training, count)
    _, stock, _ = checks.fork(partial(Training, kind=keras.optimizers.Adam), 1)
    seen = f"{whole} children make a whole step"
    if hung:
        seen += f", {hung} hang" + (", as Keras's own does: TensorFlow's threads are gone" if stock else "")
    return Seen(
        f"{count} forks of a process in training",
        f"the parent goes on; {seen}" if parent else "the parent's steps are wrong",
        parent and (whole == count or (whole + hung == count and stock > 0)),
    )


CHECKS: tuple[Callable[[bool], Seen], ...] = (
    lambda quick: checks.long_run(Training, 5 if quick else 60),
    lambda quick: checks.threads(Training, 3 if quick else 20),
    lambda quick: checks.interrupts(Training, 50 if quick else 500),
    lambda quick: checks.faults(PATHS, FILES, quick),
    lambda quick: kills("checkpoint", "a `tf.train.Checkpoint`", quick),
    lambda quick: kills("keras", "a `.keras` file, saved beside and renamed,", quick),
    forks,
)

if __name__ == "__main__":
    {"checkpoint": train_checkpoint, "keras": train_keras}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
