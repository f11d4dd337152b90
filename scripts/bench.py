"""Speed, as paired ratios in one process: both sides are measured in turn, and the median ratio counts.

Run it as `scripts/bench`; `--quick` for fewer repetitions, `--json docs/figures/speed-numpy.json` for plots.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from figures import Ratio, add_json, quartiles, save_ratios
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from adamcompat import MindSporeStyleAdam, TFStyleAdam

Array = NDArray[np.float32]
Work = Callable[[], Any]
Shapes = Sequence[tuple[int, ...]]

LARGE = [(10_000_000,)]
SMALL = [(64,)] * 200


@dataclass(frozen=True)
class Row:
    ours_ms: float
    other_ms: float
    ratio: Ratio


def paired(
    what: str,
    ours: Work,
    other: Work,
    target: float,
    repeat: int,
    between: Work = lambda: None,
    mode: str = "with Numba",
) -> Row:
    """Time two pieces of work in turn, with something else in between, which leaves both the same caches.

    OpenMP's threads spin on for a while after their work, and would spin on our time.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for work in (ours, other):
        work()
        work()
    for _ in range(repeat):
        for work, found in zip((ours, other), times, strict=True):
            between()
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
    ratio = Ratio(what, mode, quartiles(a / b for a, b in zip(*times, strict=True)), target)
    mine, theirs = (statistics.median(each) * 1e3 for each in times)
    return Row(mine, theirs, ratio)


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


def compiled_rows(repeat: int) -> list[Row]:
    rows = []
    everything = len(os.sched_getaffinity(0))
    for threads in sorted({1, everything}):
        os.environ["ADAMCOMPAT_NUM_THREADS"] = str(threads)
        many = f"{threads} thread{'s' if threads > 1 else ''}"
        rows += [
            paired(f"10M, {many} / copying 28 B an element", tf_style(LARGE), copying(10_000_000), 0.75, repeat),
            paired(
                f"10M, {many} / torch.optim.Adam(fused=True)",
                tf_style(LARGE),
                torch_fused(LARGE, threads),
                1.05,
                repeat,
                between=copying(10_000_000),
            ),
        ]
    rows.append(paired("10M / textbook NumPy", tf_style(LARGE), textbook(LARGE), 0.12, max(repeat // 3, 3)))
    for name, style in (("TF", tf_style), ("MindSpore", ms_style)):
        rows.append(
            paired(f"200 x 64, {name} style / textbook NumPy", style(SMALL), textbook(SMALL), 0.10, 30 * repeat)
        )
    del os.environ["ADAMCOMPAT_NUM_THREADS"]
    return rows


def plain_rows(repeat: int) -> list[Row]:
    os.environ["ADAMCOMPAT_EXECUTOR"] = "numpy"
    few, plain = max(repeat // 3, 3), "without Numba"
    rows = [
        paired("10M / textbook NumPy", tf_style(LARGE), textbook(LARGE), 0.6, few, mode=plain),
        paired("200 x 64, TF style / textbook NumPy", tf_style(SMALL), textbook(SMALL), 1.0, 10 * repeat, mode=plain),
    ]
    del os.environ["ADAMCOMPAT_EXECUTOR"]
    return rows


def scaling(repeat: int) -> list[tuple[int, float]]:
    """Nanoseconds an element, by number of elements."""
    found = []
    for exponent in range(3, 9):
        elements = 10**exponent
        work = tf_style([(elements,)])
        work()
        count = max(3, min(repeat * 10**7 // elements // 10, 2000))
        times = []
        for _ in range(count):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        found.append((elements, statistics.median(times) / elements * 1e9))
    return found


def seconds(code: str, **environment: str) -> float:
    """What `code` prints, run in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return float(result.stdout)


FIRST_STEP = """
import time, numpy
from adamcompat import TFStyleAdam
weight = numpy.ones(100, "f4")
optimizer = TFStyleAdam()
start = time.perf_counter()
optimizer.apply_gradients([(numpy.ones(100, "f4"), weight)])
print(time.perf_counter() - start)
"""
IMPORT = "import time; import numpy; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def first_use() -> tuple[float, float]:
    """Seconds of the first step: with nothing compiled yet, and with the compiled code on disk."""
    with tempfile.TemporaryDirectory() as folder:
        first = seconds(FIRST_STEP, NUMBA_CACHE_DIR=folder)
        return first, statistics.median(seconds(FIRST_STEP, NUMBA_CACHE_DIR=folder) for _ in range(3))


def import_time(statement: str) -> float:
    """Milliseconds that `statement` takes after `import numpy`."""
    return statistics.median(seconds(IMPORT.format(statement)) for _ in range(9)) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    add_json(parser, "numpy")
    options = parser.parse_args()
    repeat = 5 if options.quick else 21
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    rows = compiled_rows(repeat) + plain_rows(repeat)

    table = Table(title="NumPy runtime, float32; median of paired ratios", title_justify="left")
    for title in ("work", "ours, ms", "other, ms", "ratio", "target", ""):
        table.add_column(title, justify="left" if title == "work" else "right")
    for row in rows:
        ratio = row.ratio
        cells = (f"{row.ours_ms:.3f}", f"{row.other_ms:.3f}", f"{ratio.median:.3f}", f"{ratio.target:.2f}")
        table.add_row(f"{ratio.work}, {ratio.mode}", *cells, "" if ratio.met else "missed")
    console.print(table)
    save_ratios(options.json, (row.ratio for row in rows))

    table = Table(title="Cost by size, all threads", title_justify="left")
    for title in ("elements", "ns an element"):
        table.add_column(title, justify="right")
    for elements, cost in scaling(repeat):
        table.add_row(f"{elements:.0e}", f"{cost:.2f}")
    console.print(table)

    first, cached = first_use()
    console.print(
        f"First step of a process: {first:.2f} s when nothing is compiled, {cached:.2f} s from the disk cache."
    )
    imports = {name: import_time(name) for name in ("import adamcompat", "from adamcompat import TFStyleAdam")}
    for name, cost in imports.items():
        console.print(f"`{name}` takes {cost:.1f} ms after `import numpy` (target 40).")
    return 0 if all(row.ratio.met for row in rows) and max(imports.values()) <= 40 else 1


if __name__ == "__main__":
    sys.exit(main())
