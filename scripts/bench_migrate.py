#!/usr/bin/env python3
"""Measure `adamcompat migrate` on a folder of 1,000 training scripts that all have something to rewrite."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
from measuring import Case, Times

FILES = 1000
SCRIPT = '''"""Training script {number}."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.keras.optimizers import Adam, SGD  # both are used

{layers}

model = make_model()
optimizer = tf.keras.optimizers.Adam(
    learning_rate=1e-3,  # peak
    beta_1=0.9,
)
warm_up = Adam(1e-4)


def train_step(images, labels):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images) - labels)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss
'''
LAYER = '''
def block_{index}(inputs, filters={index}, *, activation="relu"):
    """One block."""
    hidden = tf.keras.layers.Dense(filters, activation=activation)(inputs)
    hidden = tf.keras.layers.LayerNormalization(epsilon=1e-6)(hidden)
    return hidden + inputs if hidden.shape == inputs.shape else hidden
'''


def migrated(to: str, rounds: int) -> Times:
    """Seconds of looking at all files and writing them; they are written once, after so many rounds of looking."""
    from adamcompat.migrate import find, migrate_files, write

    layers = "\n".join(LAYER.format(index=index) for index in range(12))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            (folder / f"train_{number}.py").write_text(SCRIPT.format(number=number, layers=layers), "utf-8")
        looking = []
        for _ in range(rounds):
            start = time.perf_counter()
            outcomes = list(migrate_files(list(find([folder])), to))
            looking.append(time.perf_counter() - start)
        start = time.perf_counter()
        changed = sum(write(outcome).changed for outcome in outcomes)
        writing = time.perf_counter() - start
    return Times([each + writing for each in looking], note=f"of which writing {changed} files {writing:.1f} s")


def cases(quick: bool = False) -> Iterator[Case]:
    """Everything that is measured."""
    for to in ("shim", "mindspore"):
        yield Case(f"--to {to}", "1,000 files", partial(migrated, to, 1 if quick else 3))


def main() -> int:
    """Time looking and writing; returns 1 where both together take longer than the target."""
    given = measuring.options(__doc__, "migrate").parse_args()
    return measuring.run("migrate", cases(given.quick), given)


if __name__ == "__main__":
    sys.exit(main())
