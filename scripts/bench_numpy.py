#!/usr/bin/env python3
"""Time of a step of the NumPy runtime relative to textbook NumPy, a copy and PyTorch, paired in one process.

scripts/bench numpy
scripts/bench numpy --json docs/figures/speed-numpy.json     for scripts/plots.py speed
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import measuring
import numpy as np
from measuring import Case, Times, seconds
from numpy.typing import NDArray

from adamcompat import MindSporeStyleAdam, TFStyleAdam

Array = NDArray[np.float32]
Work = Callable[[], Any]
Shapes = Sequence[tuple[int, ...]]

LARGE = [(10_000_000,)]
SMALL = [(64,)] * 200


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def paired(ours: Work, other: Work, repeat: int, between: Work = lambda: None) -> Times:
    """Time two pieces of work in turn, with something else in between, which leaves both the same caches.

    OpenMP's threads spin on for a while after their work, and would spin on our time.
    """
    found: list[tuple[float, float]] = []
    for work in (ours, other):
        work()
        work()
    for _ in range(repeat):
        between()
        mine = seconds(ours)
        between()
        found.append((mine, seconds(other)))
    return measuring.paired(found)


def arrays(shapes: Shapes, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def tf_style(shapes: Shapes) -> Work:
    gradients, weights = arrays(shapes, 0), arrays(shapes, 1)
    optimizer = TFStyleAdam()
    return lambda: optimizer.apply_gradients(zip(gradients, weights, strict=True))


def ms_style(shapes: Shapes) -> Work:
    gradients, weights = tuple(arrays(shapes, 0)), arrays(shapes, 1)
    optimizer = MindSporeStyleAdam(weights)
    return lambda: optimizer(gradients)


def textbook(shapes: Shapes) -> Work:
    """Adam as a textbook writes it in NumPy."""
    gradients, weights = arrays(shapes, 0), arrays(shapes, 1)
    m, v = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    step = 0

    def work() -> None:
        nonlocal step
        step += 1
        for i, g in enumerate(gradients):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g**2
            corrected = m[i] / (1 - 0.9**step), v[i] / (1 - 0.999**step)
            weights[i] = weights[i] - 0.001 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)

    return work


def copying(elements: int) -> Work:
    """Copy as many bytes as a step touches: 28 an element, half of them read and half written."""
    source = np.ones(elements * 14 // 4, np.float32)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


def torch_fused(shapes: Shapes, threads: int) -> Work:
    import torch

    torch.set_num_threads(threads)
    parameters = [torch.nn.Parameter(torch.from_numpy(array)) for array in arrays(shapes, 1)]
    for parameter, gradient in zip(parameters, arrays(shapes, 0), strict=True):
        parameter.grad = torch.from_numpy(gradient)
    step: Work = torch.optim.Adam(parameters, fused=True).step
    return step


def beside(
    ours: Callable[[], Work], other: Callable[[], Work], repeat: int, variable: tuple[str, str], between: bool = False
) -> Times:
    """Make both and time them in turn.

    Args:
        ours: makes our step.
        other: makes the other's.
        repeat: how many pairs.
        variable: of the environment, and its value meanwhile.
        between: whether something is copied between the two.
    """
    with setting(*variable):
        return paired(ours(), other(), repeat, copying(10_000_000) if between else lambda: None)


def absolute(shapes: Shapes, repeat: int, each: int = 1) -> Times:
    """Seconds of a step, divided by a number."""
    step = tf_style(shapes)
    for _ in range(2):
        step()
    return Times([seconds(step) / each for _ in range(repeat)])


def cases(quick: bool = False) -> Iterator[Case]:
    """Everything that is measured."""
    repeat = 5 if quick else 21
    few, everything = max(repeat // 3, 3), len(os.sched_getaffinity(0))
    compiled, plain = "with Numba", "without Numba"
    large, small = partial(tf_style, LARGE), partial(tf_style, SMALL)
    for many, threads in (("1 thread", 1), ("all threads", everything)):
        copied, fused = partial(copying, 10_000_000), partial(torch_fused, LARGE, threads)
        count = "ADAMCOMPAT_NUM_THREADS", str(threads)
        yield Case(f"10M, {many} / copying 28 B an element", compiled, partial(beside, large, copied, repeat, count))
        yield Case(
            f"10M, {many} / torch.optim.Adam(fused=True)",
            compiled,
            partial(beside, large, fused, repeat, count, between=True),
        )
    count = "ADAMCOMPAT_NUM_THREADS", str(everything)
    yield Case("10M / textbook NumPy", compiled, partial(beside, large, partial(textbook, LARGE), few, count))
    for name, style in (("TF", tf_style), ("MindSpore", ms_style)):
        step, book = partial(style, SMALL), partial(textbook, SMALL)
        work = f"200 x 64, {name} style / textbook NumPy"
        yield Case(work, compiled, partial(beside, step, book, 30 * repeat, count))
    yield Case("fixed cost of a step, one tensor of 1", compiled, partial(absolute, [(1,)], 100 * repeat))
    for exponent in range(3, 9):
        elements = 10**exponent
        times = max(3, min(repeat * 10**7 // elements // 10, 2000))
        work = f"an element of a step of 1e{exponent}"
        yield Case(work, compiled, partial(absolute, [(elements,)], times, elements))
    without = "ADAMCOMPAT_EXECUTOR", "numpy"
    yield Case("10M / textbook NumPy", plain, partial(beside, large, partial(textbook, LARGE), few, without))
    work = "200 x 64, TF style / textbook NumPy"
    yield Case(work, plain, partial(beside, small, partial(textbook, SMALL), 10 * repeat, without))


def main() -> int:
    """Print the table; exit status 1 when a target is missed."""
    given = measuring.options(__doc__, "numpy").parse_args()
    return measuring.run("numpy", cases(given.quick), given)


if __name__ == "__main__":
    sys.exit(main())
