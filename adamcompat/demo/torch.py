"""Train the network of the demo with this Adam and with torch.optim.Adam."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from adamcompat.demo import BIAS, EPSILON, INPUTS, LABELS, LEARNING_RATE, STEPS, WEIGHT, Result
from adamcompat.torch import Adam

TRAININGS = 2
PARTS = "ours and torch.optim.Adam"
# On some processors PyTorch's square root is not rounded right, which moves a weight by its last bit.
TOLERANCE = 1e-6


def run(advance: Callable[[], None]) -> list[Result]:
    """Train the network once with each optimizer.

    Args:
        advance: called without arguments after each step.

    Returns:
        The result of our class, then that of the original.
    """
    kinds: dict[str, Any] = {"adamcompat.torch.Adam": Adam, "torch.optim.Adam": torch.optim.Adam}
    inputs, labels = torch.from_numpy(INPUTS), torch.from_numpy(LABELS)
    found = []
    for label, kind in kinds.items():
        weight, bias = (torch.nn.Parameter(torch.from_numpy(array.copy())) for array in (WEIGHT, BIAS))
        optimizer = kind([weight, bias], lr=LEARNING_RATE, eps=EPSILON)
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels).backward()
            optimizer.step()
            advance()
        found.append(Result(label, (inputs @ weight.T + bias).detach().numpy()))
    return found
