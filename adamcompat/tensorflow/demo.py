"""The network of the page that this project starts from, trained with ours and with TensorFlow's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from adamcompat.tensorflow import Adam, v1

STEPS = 100
RATE, EPSILON = 0.001, 1e-8
INPUT = np.array([[1, 2], [3, 4]], np.float32)
WEIGHT = np.array([[1, 2], [3, 4]], np.float32)
BIAS = np.array([0.5, 0.5], np.float32)
LABELS = np.array([[0, 1], [1, 0]], np.float32)

Progress = Callable[[str, int, int], None]


def _train(label: str, optimizer: Any, progress: Progress | None) -> NDArray[Any]:
    weight, bias = tf.Variable(WEIGHT.T), tf.Variable(BIAS)
    for step in range(STEPS):
        with tf.GradientTape() as tape:
            logits = tf.matmul(INPUT, weight) + bias
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(LABELS, logits))
        gradients = tape.gradient(loss, [weight, bias])
        optimizer.apply_gradients(zip(gradients, [weight, bias], strict=True))
        if progress is not None:
            progress(label, step + 1, STEPS)
    result: NDArray[Any] = (tf.matmul(INPUT, weight) + bias).numpy()
    return result


def run(progress: Progress | None = None) -> list[tuple[str, NDArray[Any]]]:
    """Train the page's network with each optimizer.

    Args:
        progress: called after each step with the label, the step (1 at the first) and the number of steps.

    Returns:
        For each optimizer its label and the network's final output; ours comes before the original.

    """
    stock = tf.keras.optimizers.Adam
    makers: dict[str, Callable[[], Any]] = {
        "adamcompat.tensorflow.Adam": lambda: Adam(RATE, epsilon=EPSILON),
        f"{stock.__module__.partition('.')[0]}.optimizers.Adam": lambda: stock(RATE, epsilon=EPSILON),
        "adamcompat.tensorflow.v1.AdamOptimizer": lambda: v1.AdamOptimizer(RATE, epsilon=EPSILON),
        "tf.compat.v1.train.AdamOptimizer": lambda: tf.compat.v1.train.AdamOptimizer(RATE, epsilon=EPSILON),
    }
    return [(label, _train(label, make(), progress)) for label, make in makers.items()]
