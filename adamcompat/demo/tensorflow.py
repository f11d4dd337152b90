"""Train the network of the demo with ours and with TensorFlow's classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# What the framework says on import is of no use in a demonstration.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from adamcompat.demo import BIAS, EPSILON, INPUTS, LABELS, LEARNING_RATE, STEPS, WEIGHT, Result
from adamcompat.tensorflow import Adam, v1

TRAININGS = 4
PARTS = "each of ours and its original"


def _train(optimizer: Any, advance: Callable[[], None]) -> Any:
    weight, bias = tf.Variable(np.ascontiguousarray(WEIGHT.T)), tf.Variable(BIAS)
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            logits = tf.matmul(INPUTS, weight) + bias
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(LABELS, logits))
        gradients = tape.gradient(loss, [weight, bias])
        optimizer.apply_gradients(zip(gradients, [weight, bias], strict=True))
        advance()
    return (tf.matmul(INPUTS, weight) + bias).numpy()


def run(advance: Callable[[], None]) -> list[Result]:
    """Train the network once with each optimizer.

    Args:
        advance: called without arguments after each step.

    Returns:
        Two pairs of results, each of one of our classes and then of its original.
    """
    stock = tf.keras.optimizers.Adam
    makers: dict[str, Callable[[], Any]] = {
        "adamcompat.tensorflow.Adam": lambda: Adam(LEARNING_RATE, epsilon=EPSILON),
        f"{stock.__module__.partition('.')[0]}.optimizers.Adam": lambda: stock(LEARNING_RATE, epsilon=EPSILON),
        "adamcompat.tensorflow.v1.AdamOptimizer": lambda: v1.AdamOptimizer(LEARNING_RATE, epsilon=EPSILON),
        "tf.compat.v1.train.AdamOptimizer": lambda: tf.compat.v1.train.AdamOptimizer(LEARNING_RATE, epsilon=EPSILON),
    }
    return [Result(label, _train(make(), advance)) for label, make in makers.items()]
