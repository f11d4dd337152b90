#!/usr/bin/env python3
"""Time of adamcompat.torch's classes relative to torch.optim.Adam: paired in one process, medians.

scripts/bench torch
scripts/bench torch --json docs/figures/speed-torch.json     for scripts/plots.py speed
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
from bench_shapes import Shape, resnet50
from measuring import Case, Times, in_turn, joined

Step = Callable[[], Any]
WORKLOADS: list[tuple[str, list[Shape], int]] = [
    ("one of 10M", [(10_000_000,)], 9),
    ("200 tensors of 64", [(64,)] * 200, 41),
    ("ResNet-50's list", resnet50(output_first=True), 9),
]
# The original's default, and its fused kernel.
OTHERS: dict[str, dict[str, bool]] = {"default": {}, "fused=True": {"fused": True}}


def optimizer_step(shapes: list[Shape], kind: Any, **given: Any) -> Step:
    """A step of one optimizer, on tensors of its own."""
    import torch

    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    step: Step = kind(parameters, **given).step
    return step


def paired(name: str, shapes: list[Shape], pairs: int, rounds: int, **other: bool) -> Times:
    """Times of our class and of torch.optim.Adam, of fresh optimizers in each round.

    Args:
        name: of our class.
        shapes: of the parameters.
        pairs: how many pairs of steps a round has.
        rounds: how many rounds.
        other: settings of torch.optim.Adam.
    """
    import torch

    import adamcompat.torch

    kind = getattr(adamcompat.torch, name)
    return joined(
        in_turn(optimizer_step(shapes, kind), optimizer_step(shapes, torch.optim.Adam, **other), pairs)
        for _ in range(rounds)
    )


def cases(quick: bool = False) -> Iterator[Case]:
    """Everything that is measured: ratios to PyTorch's default and to its fused kernel."""
    rounds = 1 if quick else 3
    for work, shapes, pairs in WORKLOADS:
        for name in ("Adam", "TFStyleAdam"):
            for mode, other in OTHERS.items():
                label = work if name == "Adam" else f"{work}, {name}"
                yield Case(label, mode, partial(paired, name, shapes, pairs, rounds, **other))


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    given = measuring.options(__doc__, "torch").parse_args()
    return measuring.run("torch", cases(given.quick), given)


if __name__ == "__main__":
    sys.exit(main())
