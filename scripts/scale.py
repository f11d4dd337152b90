#!/usr/bin/env python3
"""Measure a step against the number of elements and of tensors, and draw it.

python scripts/scale.py                   measure everything (15 minutes, 18 GB of memory), then draw
python scripts/scale.py numpy bandwidth   measure these parts, keep the others as they were measured before
python scripts/scale.py --draw            draw docs/figures/scale.svg, fill in docs/scale.md, from earlier figures

The parts are bandwidth, numpy, textbook, tensorflow, mindspore and memory; each takes at most 100 seconds, but for
memory, which takes ten minutes.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_v", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import figures
import numpy as np
import step_memory

DATA, PLOT = figures.FOLDER / "scale.json", figures.FOLDER / "scale.svg"
PAGE = figures.FOLDER.parent / "scale.md"
# A step reads parameter, gradient and both moments and writes all but the gradient.
BYTES = 7 * np.dtype(np.float32).itemsize
HELD = 4 * np.dtype(np.float32).itemsize
ELEMENTS = [10**exponent for exponent in range(3, 10)]
TENSORS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000]
SMALL = 64
# A series ends before a point that would take much longer than this.
PATIENCE = 10.0

Step = Callable[[], Any]


def numpy_step(sizes: list[int]) -> Step:
    from adamcompat import TFStyleAdam

    weights = [np.ones(size, np.float32) for size in sizes]
    gradients = [np.full(size, 1e-3, np.float32) for size in sizes]
    optimizer = TFStyleAdam()
    return lambda: optimizer.apply_gradients(zip(gradients, weights, strict=True))


def textbook_step(sizes: list[int]) -> Step:
    from bench_numpy import textbook

    return textbook([(size,) for size in sizes])


def tensorflow_step(sizes: list[int]) -> Step:
    from bench_tensorflow import optimizer_step

    from adamcompat.tensorflow import Adam

    return optimizer_step(Adam(), [(size,) for size in sizes], "tf.function")


def mindspore_step(sizes: list[int]) -> Step:
    from bench_mindspore import optimizer_step

    from adamcompat.mindspore import Adam

    return optimizer_step([(size,) for size in sizes], Adam)


class Series(NamedTuple):
    """Whose steps are measured, up to how many elements, and how they are drawn."""

    label: str
    make: Callable[[list[int]], Step]
    largest: int
    colour: str
    marker: str


SERIES = {
    "numpy": Series("adamcompat, NumPy", numpy_step, 10**9, figures.BLUE, "o"),
    "tensorflow": Series("adamcompat, TensorFlow (tf.function)", tensorflow_step, 10**8, figures.ORANGE, "s"),
    "mindspore": Series("adamcompat, MindSpore (PYNATIVE)", mindspore_step, 10**8, figures.GREEN, "^"),
    "textbook": Series("textbook NumPy", textbook_step, 10**8, figures.GREY, "x"),
}


def available() -> int:
    """Bytes of memory that can be had without pushing anything out."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) * 1024


def points(make: Callable[[list[int]], Step], work: list[tuple[int, list[int]]]) -> Iterator[dict[str, Any]]:
    """Quartiles of the seconds of a step, for each piece of work, until one takes too long to begin."""
    for value, sizes in work:
        needed = sum(sizes) * HELD * 11 // 10
        if available() < needed:
            print(f"{value:,} elements need {needed / 1e9:.1f} GB of memory: left out", file=sys.stderr)
            return
        gc.collect()
        began = time.perf_counter()
        step = make(sizes)
        for _ in range(2):
            step()
        start = time.perf_counter()
        times: list[float] = []
        while len(times) < 5 or (time.perf_counter() - start < 1.5 and len(times) < 1000):
            before = time.perf_counter()
            step()
            times.append(time.perf_counter() - before)
        yield {"of": value, "seconds": figures.quartiles(times)}
        del step
        if start - began > PATIENCE:
            return


def bandwidth() -> dict[str, float]:
    """Bytes a second of STREAM's kernels, counted as STREAM counts, in NumPy on all cores at once."""
    cores = len(os.sched_getaffinity(0))
    a, b, c = (np.full(4 * 10**8, value, np.float32) for value in (1, 2, 0))
    bounds = np.linspace(0, a.size, 16 * cores + 1).astype(int)
    parts = [slice(low, high) for low, high in itertools.pairwise(bounds)]
    kernels: dict[str, tuple[int, Callable[[slice], Any]]] = {
        "copy": (2, lambda at: np.copyto(c[at], a[at])),
        "scale": (2, lambda at: np.multiply(a[at], np.float32(1), out=b[at])),
        "scale in place": (2, lambda at: np.multiply(a[at], np.float32(1), out=a[at])),
        "add": (3, lambda at: np.add(a[at], b[at], out=c[at])),
    }
    found = {}
    with ThreadPoolExecutor(cores) as pool:
        for name, (accesses, kernel) in kernels.items():
            times = []
            for _ in range(9):
                start = time.perf_counter()
                list(pool.map(kernel, parts))
                times.append(time.perf_counter() - start)
            found[name] = accesses * a.nbytes / statistics.median(times)
    return found


def measure(part: str) -> Any:
    if part == "bandwidth":
        return bandwidth()
    if part == "memory":
        return step_memory.measured()
    series = SERIES[part]
    return {
        "elements": list(points(series.make, [(size, [size]) for size in ELEMENTS if size <= series.largest])),
        "tensors": list(points(series.make, [(count, [SMALL] * count) for count in TENSORS])),
    }


def draw(found: dict[str, Any]) -> Any:
    from matplotlib import rcParams
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, StrMethodFormatter

    from adamcompat.comparison.plot import grid

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, series in SERIES.items():
        for axes, kind in ((left, "elements"), (right, "tensors")):
            rows = found.get(name, {}).get(kind, [])
            axes.plot(
                [row["of"] for row in rows],
                [row["seconds"][1] * 1e3 for row in rows],
                color=series.colour,
                marker=series.marker,
                markersize=5,
                linewidth=1.6,
                label=series.label,
            )
    rate = max(found["bandwidth"].values())
    ends = [ELEMENTS[0], ELEMENTS[-1]]
    line = f"{BYTES} bytes an element at the speed of memory, {rate / 1e9:.1f} GB/s"
    times = [size * BYTES / rate * 1e3 for size in ends]
    left.plot(ends, times, color=rcParams["text.color"], ls="--", lw=1.2, label=line)
    left.set(title="one float32 tensor", xlabel="elements", ylabel="milliseconds a step")
    right.set(title=f"many float32 tensors of {SMALL} elements", xlabel="tensors")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.title.set_fontsize(11)
        axes.grid(**grid())
        axes.spines[["top", "right"]].set_visible(False)
    left.xaxis.set_major_locator(FixedLocator(ELEMENTS))
    right.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    left.yaxis.set_major_locator(LogLocator(numticks=12))
    left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for axis in (left.xaxis, right.xaxis, left.yaxis):
        axis.set_minor_formatter(NullFormatter())
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def digits(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def table(found: dict[str, Any], kind: str) -> list[str]:
    """Medians as lines of Markdown."""
    medians = {name: {row["of"]: row["seconds"][1] * 1e3 for row in found[name][kind]} for name in SERIES}
    columns = [kind, *(SERIES[name].label for name in medians)]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join(['---:'] * len(columns))} |"]
    for value in ELEMENTS if kind == "elements" else TENSORS:
        cells = [digits(found[value]) if value in found else "-" for found in medians.values()]
        lines.append(f"| {value:,} | {' | '.join(cells)} |")
    return lines


def describe(found: dict[str, Any]) -> None:
    """Write the figures into the page."""
    rates = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in found["bandwidth"].items())
    lines = ["Milliseconds a step, medians:", "", *table(found, "elements"), "", *table(found, "tensors"), ""]
    lines += [f"Memory, GB/s on all cores: {rates}.", "", "The most MiB that first steps take:", ""]
    figures.insert(PAGE, "scale.py", [*lines, *step_memory.table(found["memory"])])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    everything = ["bandwidth", *SERIES, "memory"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(everything)}; none: all of them")
    parser.add_argument("--draw", action="store_true", help="draw what was measured before")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(everything):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    found = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    for part in [] if options.draw else options.parts or everything:
        found[part] = measure(part)
        figures.save(DATA, found)
    if missing := [part for part in everything if part not in found]:
        parser.error(f"not measured yet: {', '.join(missing)}")
    figures.save_plot(PLOT, partial(draw, found))
    describe(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
