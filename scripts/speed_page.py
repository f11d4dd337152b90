#!/usr/bin/env python3
"""Write the tables of docs/speed.md from the figures that the benchmarks kept.

python scripts/speed_page.py      `scripts/plots.py speed` does so too
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import figures
from figures import FOLDER, Measured
from targets import RUNTIMES, TARGETS, Key, keys, target

PAGE = FOLDER.parent / "speed.md"
# What is shown where a figure has not been kept yet.
NONE = "-"


class Line(NamedTuple):
    """A row of the table of steps: its label, the runtime and mode, and the works: one large tensor, then many."""

    label: str
    runtime: str
    mode: str
    large: str
    many: tuple[tuple[str, str], ...] = ()


_KERAS = (("200 tensors of 64", "200 of 64"), ("ResNet-50, 161 tensors", "ResNet-50"))
_TORCH = (("200 tensors of 64", "200 of 64"), ("ResNet-50's list", "ResNet-50"))
_MINDSPORE = (("161 tensors of 10", "161 of 10"), ("ResNet-50's list", "ResNet-50"))
_TEXTBOOK = (("200 x 64, TF style / textbook NumPy", "200 of 64"),)
LINES = (
    Line("NumPy runtime / textbook NumPy", "numpy", "with Numba", "10M / textbook NumPy", _TEXTBOOK),
    Line("NumPy runtime without Numba / textbook NumPy", "numpy", "without Numba", "10M / textbook NumPy", _TEXTBOOK),
    Line(
        "NumPy runtime / `torch.optim.Adam(fused=True)`",
        "numpy",
        "with Numba",
        "10M, all threads / torch.optim.Adam(fused=True)",
    ),
    Line("NumPy runtime / copying as many bytes", "numpy", "with Numba", "10M, all threads / copying 28 B an element"),
    Line("TensorFlow eager / Keras 3", "tensorflow", "eager", "one tensor of 10M", _KERAS),
    Line("TensorFlow `tf.function` / Keras 3", "tensorflow", "tf.function", "one tensor of 10M", _KERAS),
    Line("TensorFlow `jit_compile=True` / Keras 3", "tensorflow", "jit_compile", "one tensor of 10M", _KERAS),
    Line("PyTorch / `torch.optim.Adam`", "torch", "default", "one of 10M", _TORCH),
    Line("PyTorch / `torch.optim.Adam(fused=True)`", "torch", "fused=True", "one of 10M", _TORCH),
    Line("MindSpore PYNATIVE / nn.Adam", "mindspore", "PYNATIVE", "one of 10M", _MINDSPORE),
    Line("MindSpore GRAPH / nn.Adam", "mindspore", "GRAPH", "one of 10M", _MINDSPORE),
)
FIRST_STEPS = ("eager, first 40 steps", "tf.function, first step")


def ratio(found: dict[Key, Measured], key: Key) -> str:
    """A median with two decimals; what the table of targets does not have is an error."""
    target(key)
    return f"{found[key].median:.2f}" if key in found else NONE


def steps(found: dict[Key, Measured]) -> Iterator[str]:
    """The table of steps."""
    yield "| float32, time relative to | one tensor of 10M | many small tensors |"
    yield "| --- | --- | --- |"
    for line in LINES:
        large, *many = (ratio(found, Key(line.runtime, work, line.mode)) for work in (line.large, *dict(line.many)))
        some = ", ".join(f"{figure} ({what})" for figure, (_, what) in zip(many, line.many, strict=True))
        yield f"| {line.label} | {large} | {some} |".replace("|  |", "| |")


def first_steps(found: dict[Key, Measured]) -> Iterator[str]:
    """The table of TensorFlow's first steps."""
    yield "| time relative to Keras 3 | eager, worst of the first 40 | `tf.function`, first step |"
    yield "| --- | --- | --- |"
    for work in dict.fromkeys(key.work for key in keys("tensorflow") if key.mode in FIRST_STEPS):
        yield f"| {work} | {' | '.join(ratio(found, Key('tensorflow', work, mode)) for mode in FIRST_STEPS)} |"


def startup(found: dict[Key, Measured]) -> Iterator[str]:
    """The table of absolute times in fresh processes."""
    yield "| in a fresh process | time | target |"
    yield "| --- | ---: | ---: |"
    for key in keys("startup"):
        asked = TARGETS[key]
        time = f"{asked.shown(found[key].median)} {asked.unit}" if key in found else NONE
        yield f"| {key.work} | {time} | {NONE if asked.limit is None else asked.text} |"


def lines(folder: Path = FOLDER) -> list[str]:
    """All that stands between the marks of the page."""
    found: dict[Key, Measured] = {}
    for runtime in RUNTIMES:
        found |= figures.kept(folder, runtime)
    tables: Iterable[Iterable[str]] = (
        steps(found),
        ["", "The first steps on TensorFlow, summed up, in processes that have compiled nothing yet:", ""],
        first_steps(found),
        ["", "And what a process waits for when it begins, once bytecode is on disk:", ""],
        startup(found),
    )
    return [line for table in tables for line in table]


def write(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put the tables between the marks."""
    figures.insert(page, "bench", lines(folder))


if __name__ == "__main__":
    write()
