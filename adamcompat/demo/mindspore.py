"""Train the network of the demo with this Adam and with mindspore.nn.Adam."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# What the framework says on import is of no use in a demonstration.
os.environ.setdefault("GLOG_v", "3")

from mindspore import Tensor, nn

from adamcompat.demo import BIAS, EPSILON, INPUTS, LABELS, LEARNING_RATE, STEPS, WEIGHT, Result
from adamcompat.mindspore.adapters import Adam

TRAININGS = 2
PARTS = "ours and mindspore.nn.Adam"


def run(advance: Callable[[], None]) -> list[Result]:
    """Train the network once with each optimizer, in the mode that MindSpore is in.

    Args:
        advance: called without arguments after each step.

    Returns:
        The result of our class, then that of the original.
    """
    kinds: dict[str, Any] = {"adamcompat.mindspore.Adam": Adam, "mindspore.nn.Adam": nn.Adam}
    found = []
    for label, kind in kinds.items():
        net = nn.Dense(2, 2, weight_init=Tensor(WEIGHT.copy()), bias_init=Tensor(BIAS.copy()))
        loss = nn.WithLossCell(net, nn.SoftmaxCrossEntropyWithLogits(reduction="mean"))
        step = nn.TrainOneStepCell(loss, kind(net.trainable_params(), learning_rate=LEARNING_RATE, eps=EPSILON))
        step.set_train()
        for _ in range(STEPS):
            step(Tensor(INPUTS), Tensor(LABELS))
            advance()
        found.append(Result(label, net(Tensor(INPUTS)).asnumpy()))
    return found
