#!/usr/bin/env python3
"""Time of adamcompat.mindspore's classes relative to their originals: paired in one process, medians.

python scripts/bench_mindspore.py
python scripts/bench_mindspore.py --json docs/figures/speed-mindspore.json     for scripts/plots.py speed
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_v", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np
from bench_shapes import resnet50
from figures import Ratio, add_json, in_turn, quartiles, save_ratios
from mindspore import Parameter, Tensor, nn

from adamcompat.mindspore import Adam, AdamWeightDecay, TFStyleAdam

MODES = {"PYNATIVE": ms.PYNATIVE_MODE, "GRAPH": ms.GRAPH_MODE}
# Of the whole step of the small network, and of the other call, no ratio is asked for: they are reported as they are.
# What each is compared with.
ORIGINALS: dict[Any, Any] = {Adam: nn.Adam, AdamWeightDecay: nn.AdamWeightDecay, TFStyleAdam: nn.Adam}
TARGETS: dict[str, tuple[float | None, ...]] = {"PYNATIVE": (0.13, 0.70, 1.0, None), "GRAPH": (1.0, 1.0, 1.0, None)}


def optimizer_step(shapes: list[tuple[int, ...]], kind: Any) -> Callable[[], None]:
    """A function that makes one step and waits for it."""
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
    y = Tensor(rng.integers(0, 10, 32), ms.int32)

    def step() -> None:
        train(x, y).asnumpy()
        net.trainable_params()[-1].asnumpy()

    return step


def ratio(make: Callable[[Any], Callable[[], None]], kind: Any, pairs: int, rounds: int) -> tuple[float, float, float]:
    """Quartiles over all pairs of the time of our `kind` by its original's."""
    # Whoever is made first lies elsewhere in memory, which is worth up to 3 %, so they take turns.
    return quartiles(itertools.chain.from_iterable(paired(make, kind, pairs, i % 2 == 0) for i in range(rounds)))


def paired(make: Callable[[Any], Callable[[], None]], kind: Any, pairs: int, ours_first: bool) -> list[float]:
    """Our time by the original's, of fresh optimizers."""
    original = ORIGINALS[kind]
    made = {own: make(own) for own in ((kind, original) if ours_first else (original, kind))}
    return in_turn(made[kind], made[original], pairs)


def rows(rounds: int = 4) -> Iterator[Ratio]:
    """Paired ratios to the originals."""
    cases: list[tuple[str, Callable[[Any], Callable[[], None]], int]] = [
        ("161 tensors of 10", lambda kind: optimizer_step([(10,)] * 161, kind), 51),
        ("ResNet-50's list", lambda kind: optimizer_step(resnet50(output_first=True), kind), 9),
        ("one of 10M", lambda kind: optimizer_step([(10_000_000,)], kind), 11),
        ("whole step of a small CNN", training_step, 15),
    ]
    for mode, value in MODES.items():
        ms.set_context(mode=value)
        for (what, make, pairs), target in zip(cases, TARGETS[mode], strict=True):
            yield Ratio(what, mode, ratio(make, Adam, pairs, rounds), target)
            yield Ratio(f"{what}, AdamWeightDecay", mode, ratio(make, AdamWeightDecay, pairs, rounds))
            if make is not training_step:
                # MindSpore compiles this class's step for a tenth of a second for each tensor.
                again = 1 if mode == "GRAPH" else rounds
                yield Ratio(f"{what}, TFStyleAdam", mode, ratio(make, TFStyleAdam, pairs, again))
    ms.set_context(mode=ms.PYNATIVE_MODE)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    add_json(parser, "mindspore")
    options = parser.parse_args()
    found = []
    for row in rows(1 if options.quick else 4):
        print(row.line(), flush=True)
        found.append(row)
    save_ratios(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
