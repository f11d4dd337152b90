"""Run ``adamcompat demo``: train one network under both calling conventions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

import adamcompat.demo as demo
from adamcompat.commands import DONE, FOUND_A_PROBLEM
from adamcompat.commands.table import print_table
from adamcompat.extras import how_to_install
from adamcompat.mapping.runtimes import WITH_OURS
from adamcompat.terminal import say

EXAMPLES = """\
  adamcompat demo                                    both calls train one network on NumPy
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    shown = commands.add_parser(
        "demo",
        help="train a small network under two calling conventions",
        description="Train a small network, the one of a page on which MindSpore compared its Adam with "
        "TensorFlow's: on NumPy once under TensorFlow's call and once under MindSpore's, on a framework once with our "
        "optimizer and once with the original.",
    )
    shown.add_argument("--runtime", choices=WITH_OURS, default="numpy", help="default: numpy")
    shown.add_argument("--table", action="store_true", help="also print what differs between Keras 3 and MindSpore")


def run(options: argparse.Namespace, console: Console) -> int:
    """Train the network, print the results, and return whether they agree as promised.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where they agree, 1 where they differ or the framework is not installed.
    """
    framework = WITH_OURS[options.runtime]
    if missing := framework.missing():
        absent = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'}"
        sys.stderr.write(f"adamcompat demo: {absent} not installed: {how_to_install(options.runtime)}\n")
        return FOUND_A_PROBLEM
    # NumPy's demo is the one that the others are held against.
    module = demo if options.runtime == "numpy" else framework.load("demo")
    columns = (TextColumn(f"training on {options.runtime}"), BarColumn(), MofNCompleteColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=module.TRAININGS * demo.STEPS)
        results = module.run(lambda: progress.advance(task))
    # Relative; all that is not said to differ agrees in every bit.
    tolerance = getattr(module, "TOLERANCE", 0.0)
    differ = [
        (first, second)
        for first, second in zip(results[::2], results[1::2], strict=True)
        if not np.allclose(first.output, second.output, rtol=tolerance, atol=0.0)
    ]
    _show_result(console, module, results, differ)
    console.print()
    say(console, f"The network: {demo.NETWORK}", rest="")
    say(console, "Its output, one row a sample:", rest="")
    for label, output in [*((result.label, result.output) for result in results), ("in float64", demo.TRUTH)]:
        say(console, label, first="  ", rest="    ")
        for row in output:
            console.print("    " + " ".join(f"{number:12.8f}" for number in row), soft_wrap=True)
    if options.table:
        console.print()
        print_table(console, "keras3", "mindspore")
    return FOUND_A_PROBLEM if differ else DONE


def _show_result(
    console: Console,
    module: Any,
    results: Sequence[demo.Result],
    differ: Sequence[tuple[demo.Result, demo.Result]],
) -> None:
    """Print the three lines that answer what the demo is run for.

    Args:
        console: where.
        module: the runtime's demo.
        results: of all trainings.
        differ: the pairs that do not agree.
    """
    same = all(np.array_equal(one.output, two.output) for one, two in zip(results[::2], results[1::2], strict=True))
    if differ:
        who = "; ".join(f"{first.label} and {second.label} differ" for first, second in differ)
        say(console, f"Same bits? No: {who}.", "bold red")
    elif same:
        say(console, f"Same bits? Yes: {module.PARTS} end in the same bits.", "bold green")
    else:
        say(console, f"Same bits? Not all: {module.PARTS} agree within a relative {module.TOLERANCE:g}.", "bold")
    off = max(_distance(result.output, demo.TRUTH) for result in results)
    say(console, f"How far from float64? {off:.1e} at most.")
    if module is not demo:
        apart = max(_distance(one.output, two.output) for one, two in zip(results[::2], results[1::2], strict=True))
        said = f"trained here beside ours: {f'{apart:.1e} apart at most' if apart else 'no difference'}."
    else:
        apart = max(_distance(result.output, demo.RECORDED) for result in results)
        found = f"{apart:.1e} at most from" if apart else "the same bits as"
        said = f"{found} {demo.ORIGINALS}, as recorded; --runtime trains them here."
    say(console, f"Against the originals? {said[0].upper()}{said[1:]}")


def _distance(one: demo.Array, other: demo.Array) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
