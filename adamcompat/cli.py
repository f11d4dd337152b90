"""The command line: ``adamcompat table`` and ``adamcompat demo``."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

import adamcompat.demo as demo
from adamcompat import __version__
from adamcompat.mapping.compare import OTHER_MEANING, SAME, rows
from adamcompat.mapping.tables import MAPPING
from adamcompat.render import RENDERERS, cells, headings

FOUND_A_PROBLEM = 1

# Below this width the notes of a table would be a word wide.
_TABLE_WIDTH = 130

# Runtime to the module of its demo, and what must be installed for it.
_DEMOS = {
    "numpy": ("adamcompat.demo", "numpy"),
    "tensorflow": ("adamcompat.tensorflow.demo", "tf_keras"),
    "mindspore": ("adamcompat.mindspore.demo", "mindspore"),
}

_EXAMPLES = """\
examples:
  adamcompat table                                   Keras 3 to MindSpore
  adamcompat table --from tf26 --to mindspore        what TensorFlow 2.6's Adam becomes
  adamcompat table --format html > mapping.html      as a page; also markdown, json, csv
  adamcompat demo                                    both calls train one network on NumPy

exit status: 0 done, 1 found a problem, 2 wrong usage
"""


def dialect(name: str) -> str:
    """A dialect by its short name or by the dotted name of its class."""
    for key, entry in MAPPING.dialects.items():
        if name in (key, entry.target, *entry.aliases):
            return key
    known = [*MAPPING.dialects, *(entry.target for entry in MAPPING.dialects.values())]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(MAPPING.dialects)}"
    raise argparse.ArgumentTypeError(f"unknown dialect {name!r}; {hint}")


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    form = argparse.RawDescriptionHelpFormatter
    main_parser = argparse.ArgumentParser(
        prog="adamcompat",
        description="One Adam under TensorFlow's and MindSpore's calling conventions.",
        epilog=_EXAMPLES,
        formatter_class=form,
    )
    main_parser.add_argument("--version", action="version", version=f"adamcompat {__version__}")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    known = "\n".join(f"  {key:<10} {entry.target} ({entry.versions})" for key, entry in MAPPING.dialects.items())
    table = commands.add_parser(
        "table",
        help="print the parameter mapping between two dialects",
        description="Print the parameter mapping between two dialects of Adam.",
        epilog=f"dialects:\n{known}\n\n{_EXAMPLES}",
        formatter_class=form,
    )
    table.add_argument(
        "--from", dest="source", type=dialect, default="keras3", metavar="DIALECT", help="default: keras3"
    )
    table.add_argument(
        "--to", dest="target", type=dialect, default="mindspore", metavar="DIALECT", help="default: mindspore"
    )
    table.add_argument("--format", choices=["rich", *RENDERERS], default="rich", help="default: rich")
    shown = commands.add_parser(
        "demo",
        help="train a small network under both calling conventions",
        description="Train the network of MindSpore's mapping page: on NumPy once with either call, on a framework "
        "once with our optimizer and once with the original.",
    )
    shown.add_argument("--runtime", choices=_DEMOS, default="numpy", help="default: numpy")
    return main_parser


_STYLES = {SAME: "dim", OTHER_MEANING: "bold red"}


def print_table(console: Console, source: str, target: str) -> None:
    """Print a mapping table for people: as a table where it fits, else as a list."""
    a, b = MAPPING.dialects[source], MAPPING.dialects[target]
    found = rows(MAPPING, source, target)
    if console.width < _TABLE_WIDTH:
        console.print(f"[bold]{a.target} to {b.target}[/]", soft_wrap=True)
        for row in found:
            old, old_default, new, new_default, category, note = map(escape, cells(row))
            ends = (
                f"{name} = {default}" if default != "-" else name
                for name, default in ((old, old_default), (new, new_default))
            )
            console.print(f"{' -> '.join(ends)}: {category}", style=_STYLES.get(row.category, ""))
            if note:
                console.print(Padding(note, (0, 0, 0, 4)), style="dim")
        return
    table = Table(title=f"{a.target} to {b.target}", title_justify="left", header_style="bold")
    for position, title in enumerate(headings(MAPPING, source, target)):
        table.add_column(title, no_wrap=position < 4, ratio=None if position < 5 else 1)
    for row in found:
        table.add_row(*map(escape, cells(row)), style=_STYLES.get(row.category, ""))
    console.print(table)


def run_demo(console: Console, runtime: str) -> int:
    """Train, compare, and say whether the promise holds."""
    name, needed = _DEMOS[runtime]
    if find_spec(needed) is None:
        console.print(f"{needed} is not installed; run: pip install 'adamcompat\\[{runtime}]'")
        return FOUND_A_PROBLEM
    module = import_module(name)
    columns = (TextColumn(f"training on {runtime}"), BarColumn(), MofNCompleteColumn())
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
        if not np.array_equal(first.output, second.output):
            console.print(f"[bold red]{first.label} and {second.label} differ.[/]")
            return FOUND_A_PROBLEM
    console.print(f"{module.AGREEMENT}\n")
    if runtime == "numpy":
        print_table(console, "keras3", "mindspore")
    return 0


def _numbers(array: demo.Array) -> str:
    return str(array.tolist() if array.dtype == np.float64 else array).replace("\n", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    # A pipe has no width to respect: what is read by programs or saved should not be folded to 80 columns.
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160, highlight=False)
    try:
        if options.command == "demo":
            return run_demo(console, options.runtime)
        if options.format == "rich":
            print_table(console, options.source, options.target)
        else:
            table = rows(MAPPING, options.source, options.target)
            sys.stdout.write(RENDERERS[options.format](MAPPING, options.source, options.target, table))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as in `adamcompat table | head`; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
