"""Run ``adamcompat demo``: train one network under both calling conventions."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import adamcompat.demo as demo
from adamcompat.commands import DONE, FOUND_A_PROBLEM
from adamcompat.commands.table import print_table
from adamcompat.extras import how_to_install
from adamcompat.mapping.runtimes import WITH_OURS

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
        help="train a small network under both calling conventions",
        description="Train the network of MindSpore's mapping page: on NumPy once with either call, on a framework "
        "once with our optimizer and once with the original.",
    )
    shown.add_argument("--runtime", choices=WITH_OURS, default="numpy", help="default: numpy")


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
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=module.TRAININGS * demo.STEPS)
        results = module.run(lambda: progress.advance(task))
    table = Table(title=f"Output after {demo.STEPS} steps", title_justify="left", header_style="bold")
    table.add_column("optimizer")
    table.add_column("output")
    table.add_column("largest difference to float64", justify="right")
    for result in results:
        difference = float(np.abs(result.output - demo.TRUTH).max())
        table.add_row(result.label, _numbers(result.output), f"{difference:.1e}")
    table.add_row("float64 truth", _numbers(demo.TRUTH), "")
    console.print(table)
    for first, second in zip(results[::2], results[1::2], strict=True):
        # Relative; all that is not said to differ agrees in every bit.
        if not np.allclose(first.output, second.output, rtol=getattr(module, "TOLERANCE", 0.0), atol=0.0):
            console.print(f"[bold red]{first.label} and {second.label} differ.[/]")
            return FOUND_A_PROBLEM
    console.print(f"{module.AGREEMENT}\n")
    if options.runtime == "numpy":
        print_table(console, "keras3", "mindspore")
    return DONE


def _numbers(array: demo.Array) -> str:
    return str(array.tolist() if array.dtype == np.float64 else array).replace("\n", "")
