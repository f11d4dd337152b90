#!/usr/bin/env python3
"""Time of adamcompat.mindspore's classes relative to their originals: paired in one process, medians.

scripts/bench mindspore
scripts/bench mindspore --json docs/figures/speed-mindspore.json     for scripts/plots.py speed
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
import numpy as np
from bench_shapes import resnet50
from measuring import Case, Times, in_turn, joined

MODES = ("PYNATIVE", "GRAPH")
# What each of our classes is compared with.
ORIGINALS = {"Adam": "Adam", "AdamWeightDecay": "AdamWeightDecay", "TFStyleAdam": "Adam"}
Make = Callable[[Any], Callable[[], None]]


def optimizer_step(shapes: list[tuple[int, ...]], kind: Any) -> Callable[[], None]:
    """A function that makes one step and waits for it."""
    from mindspore import Parameter, Tensor

    from adamcompat.mindspore import TFStyleAdam

    rng = np.random.default_rng(0)
    parameters = [
        Parameter(Tensor(rng.standard_normal(shape, dtype=np.float32)), name=f"p{i}") for i, shape in enumerate(shapes)
    ]
    gradients = tuple(Tensor(rng.standard_normal(shape, dtype=np.float32)) for shape in shapes)
    optimizer = kind(1e-3) if kind is TFStyleAdam else kind(parameters, 1e-3)
    if kind is TFStyleAdam:
        optimizer.build(parameters)

    def step() -> None:
        if kind is TFStyleAdam:
            optimizer.apply_gradients(zip(gradients, parameters, strict=True))
        else:
            optimizer(gradients)
        parameters[-1].asnumpy()

    return step


def training_step(kind: Any) -> Callable[[], None]:
    """One whole step of a small convolutional network."""
    from mindspore import Tensor, int32, nn

    net = nn.SequentialCell(
        nn.Conv2d(1, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2, 2),
        nn.Flatten(),
        nn.Dense(7 * 7 * 32, 10),
    )
    loss = nn.WithLossCell(net, nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"))
    train = nn.TrainOneStepCell(loss, kind(net.trainable_params(), 1e-3))
    train.set_train()
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((32, 1, 28, 28), dtype=np.float32))
    y = Tensor(rng.integers(0, 10, 32), int32)

    def step() -> None:
        train(x, y).asnumpy()
        net.trainable_params()[-1].asnumpy()

    return step


def paired(make: Make, name: str, pairs: int, rounds: int, mode: str) -> Times:
    """Times of our class and of its original, of fresh optimizers in each round.

    Args:
        make: makes the step of an optimizer's class.
        name: of our class.
        pairs: how many pairs of steps a round has.
        rounds: how many rounds.
        mode: of MindSpore.
    """
    import mindspore

    import adamcompat.mindspore

    ours, original = getattr(adamcompat.mindspore, name), getattr(mindspore.nn, ORIGINALS[name])
    mindspore.set_context(mode=getattr(mindspore, f"{mode}_MODE"))
    found = []
    for number in range(rounds):
        # Whoever is made first lies elsewhere in memory, which is worth up to 3 %, so they take turns.
        made = {kind: make(kind) for kind in ((original, ours) if number % 2 else (ours, original))}
        found.append(in_turn(made[ours], made[original], pairs))
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    return joined(found)


def cases(quick: bool = False) -> Iterator[Case]:
    """Everything that is measured: ratios to the originals."""
    rounds = 1 if quick else 4
    works: list[tuple[str, Make, int]] = [
        ("161 tensors of 10", partial(optimizer_step, [(10,)] * 161), 51),
        ("ResNet-50's list", partial(optimizer_step, resnet50(output_first=True)), 9),
        ("one of 10M", partial(optimizer_step, [(10_000_000,)]), 11),
        ("whole step of a small CNN", training_step, 15),
    ]
    for mode in MODES:
        for work, make, pairs in works:
            yield Case(work, mode, partial(paired, make, "Adam", pairs, rounds, mode))
            name = "AdamWeightDecay"
            yield Case(f"{work}, {name}", mode, partial(paired, make, name, pairs, rounds, mode))
            if make is not training_step:
                # MindSpore compiles this class's step for a tenth of a second for each tensor.
                again, name = 1 if mode == "GRAPH" else rounds, "TFStyleAdam"
                yield Case(f"{work}, {name}", mode, partial(paired, make, name, pairs, again, mode))


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    given = measuring.options(__doc__, "mindspore").parse_args()
    os.environ.setdefault("GLOG_v", "3")
    return measuring.run("mindspore", cases(given.quick), given)


if __name__ == "__main__":
    sys.exit(main())
