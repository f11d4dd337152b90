"""Treats the MindSpore drop-in badly; run it by scripts/robustness.py mindspore.

Called with checkpoint, a path and a number of steps it trains, and keeps what it has after each step.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GLOG_v", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import mindspore as ms
import numpy as np
import robustness_checks as checks
from mindspore import Parameter, Tensor
from robustness_checks import Seen

from adamcompat.mindspore import Adam
from tests.mindspore.test_mindspore_whole import FILES, PATHS


class Training:
    """Steps in PYNATIVE mode."""

    def __init__(self, tensors: int, size: int, kind: Any = Adam) -> None:
        self._weights = [Parameter(Tensor(np.ones(size, np.float32)), name=f"w{i}") for i in range(tensors)]
        self._gradients = tuple(Tensor(np.full(size, 0.5, np.float32)) for _ in range(tensors))
        self._optimizer = kind(self._weights, 1e-4)

    def step(self) -> None:
        self._optimizer(self._gradients)

    def tensors(self) -> list[Any]:
        moments = [each for pair in zip(self._optimizer.moment1, self._optimizer.moment2, strict=True) for each in pair]
        return [value.asnumpy() for value in (*self._weights, *moments)]

    def count(self) -> int:
        return int(self._optimizer.global_step.asnumpy()[0])


def train_checkpoint(path: Path, last: int) -> None:
    weights = [Parameter(Tensor(np.ones(2000, np.float32)), name=f"w{i}") for i in range(8)]
    optimizer, file = Adam(weights, 0.01), path.with_suffix(".ckpt")
    if file.exists():
        ms.load_param_into_net(optimizer, ms.load_checkpoint(str(file)))
    print("ready", flush=True)
    while (step := int(optimizer.global_step.asnumpy()[0])) < last:
        rng = np.random.default_rng(step)
        optimizer(tuple(Tensor(rng.standard_normal(2000).astype(np.float32)) for _ in weights))
        ms.save_checkpoint(optimizer, str(file))
    print(checks.digest([value.asnumpy() for value in optimizer.parameters_dict().values()]))


def kills(quick: bool) -> Seen:
    last, count = (60, 2) if quick else (400, 12)
    with tempfile.TemporaryDirectory() as folder:
        return checks.kills(__file__, "checkpoint", Path(folder), last, count, "a `.ckpt`")


def forks(quick: bool) -> Seen:
    count = 2 if quick else 5
    whole, hung, parent = checks.fork(Training, count)
    return Seen(
        f"{count} forks of a process in training",
        f"the parent goes on; {whole} children make a whole step" + (f", {hung} hang" if hung else ""),
        parent and whole == count,
    )


CHECKS: tuple[Callable[[bool], Seen], ...] = (
    lambda quick: checks.long_run(Training, 5 if quick else 60),
    lambda quick: checks.threads(Training, 3 if quick else 20),
    lambda quick: checks.interrupts(Training, 50 if quick else 500),
    # A step of a kind that MindSpore compiles takes long.
    lambda quick: checks.faults(PATHS, FILES, quick, every=8),
    kills,
    forks,
)

if __name__ == "__main__":
    {"checkpoint": train_checkpoint}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
