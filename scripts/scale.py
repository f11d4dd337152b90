#!/usr/bin/env python3
"""Measure a step of the NumPy runtime against the number of elements and of tensors, and draw it.

python scripts/scale.py           measure, write docs/figures/scale.json, draw docs/figures/scale.svg
python scripts/scale.py --draw    draw what was measured before
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.progress import Progress

from adamcompat import TFStyleAdam

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"
# A step reads parameter, gradient and both moments and writes all but the gradient.
ACCESSES = 7
# 1e9 elements: float16, because four float32 arrays of them do not fit beside a system into 24 GB.
ELEMENTS = [("float32", 10**exponent) for exponent in range(3, 9)] + [("float16", 10**9)]
TENSORS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000]


def step_time(shapes: list[int], dtype: str) -> float:
    """Median seconds of a step, after the first two."""
    weights = [np.ones(size, dtype) for size in shapes]
    gradients = [np.full(size, 1e-3, dtype) for size in shapes]
    optimizer = TFStyleAdam()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - began < 2 and len(times) < 2000):
        start = time.perf_counter()
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        times.append(time.perf_counter() - start)
        if times[-1] > 20:
            break
    return statistics.median(times[2:] or times)


def copy_rate() -> float:
    """Bytes a second that reading and writing a large array moves."""
    source = np.ones(5 * 10**7, np.float32)
    target = np.empty_like(source)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / statistics.median(times)


def measure() -> dict[str, Any]:
    with Progress(transient=True) as progress:
        task = progress.add_task("measuring", total=len(ELEMENTS) + len(TENSORS))
        elements, tensors = [], []
        for dtype, size in ELEMENTS:
            elements.append({"dtype": dtype, "elements": size, "seconds": step_time([size], dtype)})
            progress.advance(task)
        for count in TENSORS:
            tensors.append({"tensors": count, "seconds": step_time([64] * count, "float32")})
            progress.advance(task)
    return {"copy_bytes_per_second": copy_rate(), "elements": elements, "tensors": tensors}


def draw(found: dict[str, Any]) -> None:
    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.hashsalt": "adamcompat", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
    for dtype, marker in (("float32", "o"), ("float16", "s")):
        rows = [row for row in found["elements"] if row["dtype"] == dtype]
        left.plot(
            [row["elements"] for row in rows],
            [row["seconds"] * 1e3 for row in rows],
            marker=marker,
            color="#0072b2",
            mfc="white" if dtype == "float16" else None,
            label=f"one tensor, {dtype}",
        )
    sizes = [10**3, 10**9]
    traffic = [size * 4 * ACCESSES / found["copy_bytes_per_second"] * 1e3 for size in sizes]
    left.plot(sizes, traffic, color="#d55e00", ls="--", lw=1, label="float32 traffic at the speed of one thread's copy")
    left.set(xscale="log", yscale="log", xlabel="elements", ylabel="milliseconds a step")
    left.legend(frameon=False, fontsize=8)
    right.plot(
        [row["tensors"] for row in found["tensors"]],
        [row["seconds"] * 1e3 for row in found["tensors"]],
        marker="o",
        color="#0072b2",
        label="tensors of 64 float32 elements",
    )
    right.set(xscale="log", yscale="log", xlabel="tensors", ylabel="milliseconds a step")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.25, lw=0.5)
    figure.savefig(FIGURES / "scale.svg", metadata={"Date": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    path = FIGURES / "scale.json"
    if not parser.parse_args().draw:
        FIGURES.mkdir(exist_ok=True)
        path.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    draw(json.loads(path.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
