"""Treats the NumPy runtime badly; run it by scripts/robustness.py numpy."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import robustness_checks as checks
from robustness_checks import Seen, resident

from adamcompat import MindSporeStyleAdam, TFStyleAdam
from adamcompat.state import AdamState
from tests.faults import OURS
from tests.test_whole_steps import PATHS


def long_run(quick: bool) -> Seen:
    """A leak of one byte a step would show."""
    steps = 20_000 if quick else 1_000_000
    weight, gradient = np.ones(64, np.float32), np.full(64, 1e-3, np.float32)
    optimizer = TFStyleAdam(1e-6, amsgrad=True, use_ema=True, clipnorm=1.0)
    for _ in range(steps // 100):
        optimizer.apply_gradients([(gradient, weight)])
    start = resident()
    for _ in range(steps - steps // 100):
        optimizer.apply_gradients([(gradient, weight)])
    grown = resident() - start
    return Seen(
        f"{steps:,} steps with AMSGrad, moving average and clipping",
        f"memory grew by {max(grown, 0):.1f} MB after the first {steps // 100:,}; every weight is finite",
        grown < 2 and bool(np.isfinite(weight).all()),
    )


def many_tensors(quick: bool) -> Seen:
    """The cost of a tensor must not grow with their number."""

    def cost(count: int) -> tuple[float, float]:
        weights = [np.ones(64, np.float32) for _ in range(count)]
        gradients = [np.ones(64, np.float32) for _ in range(count)]
        optimizer = TFStyleAdam()
        times = []
        for _ in range(10):
            start = time.perf_counter()
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
            times.append(time.perf_counter() - start)
        return times[0], float(np.median(times[1:]))

    cost(10)
    _, hundred = cost(100)
    first, many = cost(10_000)
    return Seen(
        "10,000 tensors of 64 elements in one step",
        f"{many * 1e3:.1f} ms a step, {many / 1e4 * 1e6:.2f} us a tensor (100 tensors: {hundred / 100 * 1e6:.2f} us); "
        f"the first step {first * 1e3:.0f} ms",
        many / 1e4 < 3 * hundred / 100,
    )


def large_tensor(quick: bool) -> Seen:
    """Indices beyond 32 bits, and no hidden copies."""
    size = 10**7 if quick else 10**9
    weight, gradient = np.ones(size, np.float16), np.ones(size, np.float16)
    optimizer = MindSporeStyleAdam([weight], 0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    optimizer((gradient,))
    took = time.perf_counter() - start
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    right = bool((weight == np.float16(0.5)).all())
    return Seen(
        f"one tensor of {size:.0e} float16 elements",
        f"{took:.1f} s a step; beside parameter, gradient and moments {max(extra - 4 * size, 0) / 1e6:.0f} MB",
        right and extra < 4.5 * size,
    )


def threads(quick: bool) -> Seen:
    """Thirty-two threads at once, each with an optimizer of its own, then all with one that locks."""
    rounds, size = (2 if quick else 20), 200_000
    gradient = np.ones(size, np.float32)

    def own(_: int) -> Any:
        weight = np.ones(size, np.float32)
        optimizer = TFStyleAdam(0.01)
        for _ in range(rounds):
            optimizer.apply_gradients([(gradient, weight)])
        return weight

    weight = np.ones(size, np.float32)
    shared = MindSporeStyleAdam([weight], 0.01, eps=1e-7, use_locking=True)
    with ThreadPoolExecutor(32) as pool:
        apart = list(pool.map(own, range(32)))
        list(pool.map(lambda _: [shared((gradient,)) for _ in range(rounds)], range(32)))
    single = MindSporeStyleAdam([alone := np.ones(size, np.float32)], 0.01, eps=1e-7)
    for _ in range(32 * rounds):
        single((gradient,))
    right = all(np.array_equal(one, own(0)) for one in apart) and np.array_equal(weight, alone)
    return Seen(
        "32 threads, each with its own optimizer; then 32 with one that locks",
        f"{2 * 32 * rounds:,} steps, each tensor bit for bit as from one thread" if right else "bits differ",
        right,
    )


def forks(quick: bool) -> Seen:
    """Threads do not survive a fork; the pool must notice."""
    count = 3 if quick else 50
    weight, gradient = np.ones(2_000_000, np.float32), np.ones(2_000_000, np.float32)
    optimizer = TFStyleAdam(0.001)
    optimizer.apply_gradients([(gradient, weight)])
    failed = 0
    for _ in range(count):
        child = os.fork()
        optimizer.apply_gradients([(gradient, weight)])
        if child == 0:
            os._exit(0 if (weight == weight[0]).all() else 1)
        failed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    return Seen(
        f"{count} forks of a process in training; parent and child go on",
        "each child's step is whole" if not failed else f"{failed} children failed",
        failed == 0 and bool((weight == weight[0]).all()),
    )


class Training:
    """Steps of tensors that begin equal, with a moving average."""

    def __init__(self, tensors: int, size: int) -> None:
        self._weights = [np.ones(size, np.float32) for _ in range(tensors)]
        self._gradient = np.ones(size, np.float32)
        self._optimizer = TFStyleAdam(0.001, use_ema=True)

    def step(self) -> None:
        self._optimizer.apply_gradients([(self._gradient, weight) for weight in self._weights])

    def tensors(self) -> list[Any]:
        state = AdamState.of(self._optimizer)
        pairs = zip(state.first_moment.values(), state.second_moment.values(), strict=True)
        return [*self._weights, *(moment for pair in pairs for moment in pair)]

    def count(self) -> int:
        return int(self._optimizer.iterations)


def interrupts(quick: bool) -> Seen:
    """Ctrl-C at arbitrary moments: a step has happened or it has not."""
    return checks.interrupts(Training, 20 if quick else 500)


TRAINING = """
import sys
from pathlib import Path
import numpy as np
from adamcompat import MindSporeStyleAdam, Parameter
from adamcompat.state import AdamState
from adamcompat.state.files import read, write

path, last = Path(sys.argv[1]), int(sys.argv[2])
weight = Parameter(np.ones(50_000, np.float32), name="w")
optimizer = MindSporeStyleAdam([weight], 0.01)
if path.exists():
    read(path).load_into(optimizer, with_parameters=True)
rng = np.random.default_rng
while (step := int(optimizer.global_step[0])) < last:
    optimizer((rng(step).standard_normal(weight.shape).astype(np.float32),))
    write(path, AdamState.of(optimizer))
print(weight.data.tobytes().hex()[:4000], float(weight.data.astype(np.float64).sum()))
"""


def kills(quick: bool) -> Seen:
    """kill -9 while steps are made and checkpoints written, then resume: as if nothing had happened."""
    count, last = (3, 60) if quick else (40, 400)

    def run(path: Path, limit: float | None) -> str | None:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(path), str(last)], stdout=subprocess.PIPE, text=True
        )
        try:
            return process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None

    with tempfile.TemporaryDirectory() as folder:
        straight = run(Path(folder) / "straight.safetensors", None)
        path, killed, found = Path(folder) / "killed.safetensors", 0, None
        for attempt in range(count):
            found = run(path, 0.4 + 0.013 * attempt)
            killed += found is None
            if found is not None:
                break
        found = found or run(path, None)
    return Seen(
        f"{killed} times kill -9 in {last} steps with a checkpoint after each, then resume",
        "the run ends with the bits of the uninterrupted one" if found == straight else "the runs differ",
        found == straight and bool(straight) and killed > 0,
    )


def faults(quick: bool) -> Seen:
    os.environ["ADAMCOMPAT_NUM_THREADS"] = "3"
    try:
        return checks.faults(PATHS, (OURS,), quick)
    finally:
        del os.environ["ADAMCOMPAT_NUM_THREADS"]


CHECKS: tuple[Callable[[bool], Seen], ...] = (
    long_run,
    many_tensors,
    large_tensor,
    threads,
    forks,
    interrupts,
    faults,
    kills,
)
