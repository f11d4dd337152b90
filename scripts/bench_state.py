"""Carry a large state from file to file: peak memory, and the rate beside copying the file.

Run it as `python scripts/bench_state.py`; `--parameters` for another number of parameters. Exit status 1 when a
target is missed: 1.5 times the largest tensor plus 500 MB, and twice the time of a copy.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from adamcompat.state import AdamState
from adamcompat.state.files import convert, mindspore, open_document, safetensors_file, write

MB = 1e6
# The shares of the parameters that the tensors have: one large table, and the rest of a network.
SHARES = (0.4, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05)


class Ones:
    """A tensor that takes no memory until it is asked for."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)

    def __array__(
        self, dtype: object = None, copy: bool | None = None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.full(self.shape, 0.5, np.float32)


def shapes(parameters: int, *, transposed: bool) -> dict[str, tuple[int, int]]:
    found = {f"layer{i}/kernel": (int(parameters * share) // 1000, 1000) for i, share in enumerate(SHARES)}
    if transposed:
        return {name.replace("/kernel", ".weight"): (b, a) for name, (a, b) in found.items()}
    return found


def made(parameters: int, *, mindspore: bool, step: int) -> AdamState:
    tensors = {name: Ones(shape) for name, shape in shapes(parameters, transposed=mindspore).items()}
    return AdamState(
        step=step,
        first_moment=tensors,
        second_moment=tensors,
        parameters=tensors,
        hyperparameters={"beta1": 0.9, "beta2": 0.999},
        convention="mindspore" if mindspore else "tensorflow",
    )


def measured(source: Path, like: Path | None, target: Path) -> tuple[float, float]:
    """Seconds of a conversion to a new file, and the peak memory of its process in MB."""
    target.unlink(missing_ok=True)
    command = [sys.executable, __file__, "--one", str(source), str(like or ""), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def one(source: str, like: str, target: str) -> None:
    start = time.perf_counter()
    conversion = convert(
        open_document(source),
        target,
        like=open_document(like) if like else None,
        layout="dense" if like else None,
    )
    for _ in conversion.norms():
        pass
    conversion.carry_out()
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB)


def copied(source: Path, target: Path) -> float:
    """Seconds of a copy to a new file that is as durable as a conversion."""
    target.unlink(missing_ok=True)
    start = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parameters", type=float, default=1e8)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="where the files are made; default: a temporary one")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*options.one)
        return 0
    count = int(options.parameters)
    largest = max(a * b for a, b in shapes(count, transposed=False).values()) * 4 / MB
    table = Table(title=f"{count:.1e} parameters, {count * 12 / MB:,.0f} MB, largest tensor {largest:,.0f} MB")
    for column in ("conversion", "peak MB", "target MB", "seconds", "copy", "ratio", "target"):
        table.add_column(column, justify="left" if column == "conversion" else "right")
    met = True
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source, like, target = (folder / f"{part}.safetensors" for part in ("source", "like", "target"))
        write(source, made(count, mindspore=False, step=9))
        # As MindSpore writes it, without a checksum.
        fresh = mindspore.tensors_of(made(count, mindspore=True, step=0), None)
        safetensors_file.write(like, fresh, lambda sums: {"format": "ms"})
        for label, other in (("same layout", None), ("Keras's layout to MindSpore's", like)):
            # By turns: a disk is not equally fast at all times.
            pairs = [(*measured(source, other, target), copied(source, folder / "copy")) for _ in range(options.repeat)]
            times, peaks, copies = zip(*pairs, strict=True)
            seconds, peak, copy = statistics.median(times), max(peaks), statistics.median(copies)
            limit, ratio = 1.5 * largest + 500, statistics.median(t / c for t, _, c in pairs)
            met = met and peak <= limit and ratio <= 2
            row = (f"{peak:,.0f}", f"{limit:,.0f}", f"{seconds:.2f}", f"{copy:.2f}", f"{ratio:.2f}", "2.00")
            table.add_row(label, *row)
    Console(width=120).print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
