"""The network of MindSpore's page on TensorFlow's Adam, trained by this Adam and by mindspore.nn.Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mindspore import Tensor, nn
from numpy.typing import NDArray

from adamcompat.mindspore.adapters import Adam

EPOCHS = 100
_INPUT = np.array([[1, 2], [3, 4]], np.float32)
_WEIGHT = np.array([[1, 2], [3, 4]], np.float32)
_BIAS = np.array([0.5, 0.5], np.float32)
_LABEL = np.array([[0, 1], [1, 0]], np.float32)


def run(progress: Callable[[int, int], None] = lambda done, total: None) -> list[tuple[str, NDArray[Any]]]:
    """Train the network once with each optimizer, in the mode that MindSpore is in.

    Args:
        progress: called after each epoch with the number of epochs done and their total.

    Returns:
        A label and the network's final output for each optimizer.
    """
    kinds: dict[str, Any] = {"adamcompat.mindspore.Adam": Adam, "mindspore.nn.Adam": nn.Adam}
    total, found = EPOCHS * len(kinds), []
    for turn, (label, kind) in enumerate(kinds.items()):
        net = nn.Dense(2, 2, weight_init=Tensor(_WEIGHT.copy()), bias_init=Tensor(_BIAS.copy()))
        loss = nn.WithLossCell(net, nn.SoftmaxCrossEntropyWithLogits(reduction="mean"))
        step = nn.TrainOneStepCell(loss, kind(net.trainable_params(), learning_rate=0.001, eps=1e-8))
        step.set_train()
        for epoch in range(EPOCHS):
            step(Tensor(_INPUT), Tensor(_LABEL))
            progress(turn * EPOCHS + epoch + 1, total)
        found.append((label, net(Tensor(_INPUT)).asnumpy()))
    return found
