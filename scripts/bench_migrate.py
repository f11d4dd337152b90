#!/usr/bin/env python3
"""Measure `adamcompat migrate` on a folder of 1,000 training scripts that all have something to rewrite."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adamcompat.migrate import find, migrate_files, write

FILES = 1000
ROUNDS = 3
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


TARGET = 10.0


def main() -> int:
    """Time looking and writing; returns 1 where both together take longer than the target."""
    missed = 0
    layers = "\n".join(LAYER.format(index=index) for index in range(12))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SCRIPT.format(number=0, layers=layers)
        print(f"{FILES} files of {text.count(chr(10))} lines, all to be rewritten")
        for to in ("shim", "mindspore"):
            looking: list[float] = []
            for _ in range(ROUNDS):
                for number in range(FILES):
                    (folder / f"train_{number}.py").write_text(SCRIPT.format(number=number, layers=layers), "utf-8")
                start = time.perf_counter()
                outcomes = list(migrate_files(list(find([folder])), to))
                looking.append(time.perf_counter() - start)
            start = time.perf_counter()
            changed = sum(write(outcome).changed for outcome in outcomes)
            writing = time.perf_counter() - start
            line = (
                f"--to {to}: look {statistics.median(looking):.1f} s (median of {ROUNDS}), "
                f"write {changed} files {writing:.1f} s"
            )
            print(line, flush=True)
            missed |= statistics.median(looking) + writing > TARGET
    return missed


if __name__ == "__main__":
    sys.exit(main())
