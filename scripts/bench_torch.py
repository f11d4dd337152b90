#!/usr/bin/env python3
"""Time of adamcompat.torch's classes relative to torch.optim.Adam: paired in one process, medians.

python scripts/bench_torch.py
python scripts/bench_torch.py --json docs/figures/speed-torch.json     for scripts/plots.py speed
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from bench_shapes import resnet50
from figures import Ratio, add_json, in_turn, quartiles, save_ratios

from adamcompat.torch import Adam, TFStyleAdam

Step = Callable[[], Any]
CASES: list[tuple[str, list[tuple[int, ...]], int]] = [
    ("one of 10M", [(10_000_000,)], 9),
    ("200 tensors of 64", [(64,)] * 200, 41),
    ("ResNet-50's list", resnet50(output_first=True), 9),
]
# Relative to the default and to fused=True; None where no ratio is asked for.
TARGETS = {
    "one of 10M": (0.12, 1.05),
    "200 tensors of 64": (0.10, 0.5),
    "ResNet-50's list": (None, 1.0),
}


def optimizer_step(shapes: list[tuple[int, ...]], kind: Any, **given: Any) -> Step:
    """A step of one optimizer, on tensors of its own."""
    generator = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    step: Step = kind(parameters, **given).step
    return step


def rows(rounds: int) -> Iterator[Ratio]:
    """Paired ratios to PyTorch's default and to its fused kernel."""
    for work, shapes, pairs in CASES:
        for kind in (Adam, TFStyleAdam):
            for other, target in zip(({}, {"fused": True}), TARGETS[work], strict=True):
                found = [
                    in_turn(optimizer_step(shapes, kind), optimizer_step(shapes, torch.optim.Adam, **other), pairs)
                    for _ in range(rounds)
                ]
                mode = "fused=True" if other else "default"
                label = work if kind is Adam else f"{work}, TFStyleAdam"
                yield Ratio(label, mode, quartiles(itertools.chain.from_iterable(found)), target)


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    add_json(parser, "torch")
    options = parser.parse_args()
    found = []
    for row in rows(1 if options.quick else 3):
        print(row.line(), flush=True)
        found.append(row)
    save_ratios(options.json, found)
    return 0 if all(row.met for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
