"""Train a network of six numbers under both calling conventions, with the same result.

The network is that of MindSpore's page on the differences between the two Adams: two inputs, two
outputs, softmax cross-entropy, 100 steps with epsilon 1e-8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STEPS = 100
LEARNING_RATE = 0.001
EPSILON = 1e-8

# The same training in float64 arithmetic throughout.
TRUTH = np.array([[5.89988898, 11.10011102], [12.2998097, 24.7001903]])
# Where these originals end, in every bit: tf.compat.v1.train.AdamOptimizer of TensorFlow 2.21, mindspore.nn.Adam of
# MindSpore 2.10 and torch.optim.Adam of PyTorch 2.13. Keras 3 rounds otherwise. The demos of the frameworks measure it.
RECORDED = np.array([[5.8998876, 11.100113], [12.299808, 24.700195]], np.float32)
ORIGINALS = "TensorFlow 1's, MindSpore's and PyTorch's Adam"

INPUTS = np.array([[1, 2], [3, 4]], np.float32)
LABELS = np.array([[0, 1], [1, 0]], np.float32)
WEIGHT = np.array([[1, 2], [3, 4]], np.float32)  # one row an output
BIAS = np.array([0.5, 0.5], np.float32)

# How many networks `run` trains; the results come in pairs that must be equal.
TRAININGS = 2
PARTS = "both calls"
NETWORK = (
    f"One dense layer of two inputs and two outputs, from MindSpore's page on the two Adams, trained for {STEPS} steps "
    f"on softmax cross-entropy with learning rate {LEARNING_RATE} and epsilon {EPSILON}."
)


@dataclass(frozen=True, slots=True)
class Result:
    """Hold the end of one way of training.

    Attributes:
        label: the optimizer, and how it was called.
        output: the network's output after training, of the shape (2, 2): one row a sample.
    """

    label: str
    output: Array


class Network:
    """Compute a dense layer with the page's weights, and the gradient of its loss.

    Args:
        dtype: the dtype of weights and arithmetic.

    Attributes:
        weight: of the shape (2, 2), one row an output.
        bias: of the shape (2,).
    """

    def __init__(self, dtype: Any = np.float32) -> None:
        self.weight = WEIGHT.astype(dtype)
        self.bias = BIAS.astype(dtype)

    def output(self) -> Array:
        """Return the logits, of the shape (2, 2): one row a sample."""
        inputs = INPUTS.astype(self.weight.dtype)
        return np.asarray(inputs @ self.weight.T + self.bias)

    def gradients(self) -> tuple[Array, Array]:
        """Return the gradients of the mean softmax cross-entropy by weight and bias.

        Returns:
            An array of the shape (2, 2), and one of the shape (2,).
        """
        logits = self.output()
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = (shifted / shifted.sum(axis=1, keepdims=True) - LABELS.astype(logits.dtype)) / len(LABELS)
        return error.T @ INPUTS.astype(logits.dtype), error.sum(axis=0)


def run(advance: Callable[[], None], dtype: Any = np.float32) -> list[Result]:
    """Train the network once in each style, on NumPy.

    Args:
        advance: called without arguments after each step.
        dtype: the dtype of weights and arithmetic.

    Returns:
        The result of TensorFlow's call, then that of MindSpore's call.

    >>> tensorflow, mindspore = run(lambda: None)
    >>> bool((tensorflow.output == mindspore.output).all())
    True
    """
    from adamcompat import MindSporeStyleAdam, TFStyleAdam

    first = Network(dtype)
    optimizer = TFStyleAdam(LEARNING_RATE, epsilon=EPSILON)
    for _ in range(STEPS):
        optimizer.apply_gradients(zip(first.gradients(), [first.weight, first.bias], strict=True))
        advance()

    second = Network(dtype)
    caller = MindSporeStyleAdam([second.weight, second.bias], LEARNING_RATE, eps=EPSILON)
    for _ in range(STEPS):
        caller(second.gradients())
        advance()
    return [
        Result("TensorFlow's call: apply_gradients(zip(gradients, variables))", first.output()),
        Result("MindSpore's call: optimizer(gradients)", second.output()),
    ]
