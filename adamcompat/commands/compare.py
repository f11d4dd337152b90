"""Run ``adamcompat compare``: send the same gradients through several optimizers."""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
import textwrap
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE
from adamcompat.commands.arguments import path
from adamcompat.drive.catalogue import FLOAT64, entries
from adamcompat.terminal import say, show_rows

EXAMPLES = """\
  adamcompat compare keras tf26 tf1 mindspore        how far apart are their defaults?
  adamcompat compare keras mindspore --set epsilon=1e-8 --plot drift.png
  adamcompat compare recorded mindspore --gradients run.safetensors
  adamcompat compare mindspore "mindspore(params=[{'params': [0], 'lr': 0.01}, {'params': [1]}])"
"""

_MORE = """\
optimizers:
{originals}
      the originals, as they are installed
  adamcompat.TFStyleAdam, ...
      our classes, by their full names
  float64
      a reference in float64; float64:mindspore follows MindSpore
  recorded
      the parameters in the file that --gradients names
  A mode may follow: keras:function, keras:jit, tf1:graph, mindspore:graph. Hyperparameters of one
  optimizer stand in parentheses: 'keras(epsilon=1e-8, amsgrad=True)'. In MindSpore's style params is a
  list of parameter groups, which hold weights by name or position.

A difference is counted in spacings: units in the last place of the tensor's largest value.
exit status: 0 all agree within the tolerance, 1 some do not, 2 wrong usage or unusable input
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    shown = commands.add_parser(
        "compare",
        help="send the same gradients through several optimizers",
        description="Send the same gradients through several optimizers, and say how far they drift apart, and why.",
        epilog=f"{_MORE.replace('{originals}', _originals())}\nexamples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shown.add_argument("optimizers", nargs="+", metavar="OPTIMIZER", help="two or more; see below")
    shown.add_argument(
        "--set",
        dest="given",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="a hyperparameter for all of them, by its name in any dialect; may be repeated",
    )
    shown.add_argument("--steps", type=int, metavar="N", help="default: 1000, or all that are recorded")
    shown.add_argument("--seed", type=int, metavar="N", help="of the random gradients; default: 0")
    shown.add_argument(
        "--shape",
        dest="shapes",
        action="append",
        type=_shape,
        metavar="64x32",
        help="of a random parameter; may be repeated; default: 64x32 and 10",
    )
    shown.add_argument("--gradients", type=path, metavar="FILE", help="replay what adamcompat.record wrote")
    shown.add_argument(
        "--tolerance",
        type=float,
        metavar="SPACINGS",
        help="the largest difference that counts as agreement; default: 2",
    )
    shown.add_argument("--plot", type=path, metavar="FILE", help="draw the differences: .png, .svg or .pdf")
    shown.add_argument("--html", type=path, metavar="FILE", help="write everything as one page")
    shown.add_argument("--format", choices=["text", "json"], default="text", help="default: text")


def _originals() -> str:
    """Return the names of the originals, for people."""
    names = [entry.name for entry in entries() if entry.adapter is None and entry.name != FLOAT64]
    return textwrap.fill(", ".join(names), 76, initial_indent="  ", subsequent_indent="  ")


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value, as in epsilon=1e-8")
    try:
        return name, ast.literal_eval(value.strip())
    except (SyntaxError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{value!r} is no number, True, False, None or list; text stands in quotes, as in Python"
        ) from None


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.lower().split("x")) if text else ()
    except ValueError:
        shape = (-1,)
    if any(axis < 1 for axis in shape):
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 64x32 or 10")
    return shape


def run(options: argparse.Namespace, console: Console) -> int:
    """Compare optimizers, print the result, and return whether they agree.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where all agree within the tolerance, 1 where some do not, 2 for unusable arguments or input.
    """
    comparison = import_module("adamcompat.comparison")
    given: dict[str, Any] = {
        name: value
        for name in ("steps", "seed", "shapes", "gradients", "tolerance")
        if (value := getattr(options, name)) is not None
    }
    if options.gradients is not None and (options.seed is not None or options.shapes is not None):
        sys.stderr.write("adamcompat compare: --seed and --shape are for random gradients; leave out --gradients\n")
        return WRONG_USAGE
    errors = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        _check_outputs(options)
        with Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("", total=None)
            found = comparison.compare(
                *options.optimizers,
                hyperparameters=dict(options.given),
                advance=lambda done, total: progress.update(task, completed=done, total=total),
                **given,
            )
        if options.plot is not None:
            found.plot(options.plot)
        if options.html is not None:
            found.html(options.html)
    except (ValueError, TypeError, KeyError, OSError, ImportError, RuntimeError) as error:
        sys.stderr.write(f"adamcompat compare: {error.args[0] if isinstance(error, KeyError) else error}\n")
        return WRONG_USAGE
    except MemoryError:
        sys.stderr.write("adamcompat compare: not enough memory for these shapes and steps; take smaller ones\n")
        return WRONG_USAGE
    if options.format == "json":
        sys.stdout.write(json.dumps(found.to_dict(), indent=2) + "\n")
    else:
        _print(console, found)
    return DONE if found.agree else FOUND_A_PROBLEM


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse results that could not be written, before the comparison.

    Raises:
        ValueError: the folder of a file is missing or closed, something else than a file is there, or the file cannot
            be a plot.
    """
    from adamcompat.files import NotAFileError, destination

    for file in (options.plot, options.html):
        if file is None:
            continue
        if not file.absolute().parent.is_dir():
            raise ValueError(f"{file}: the folder does not exist; make it first")
        if not os.access(file.absolute().parent, os.W_OK):
            raise ValueError(f"{file}: nothing can be written in that folder")
        try:
            destination(file)
        except NotAFileError as error:
            raise ValueError(f"{file}: {error.strerror}") from None
    if options.plot is not None:
        import_module("adamcompat.comparison.plot").check(options.plot)


def _print(console: Console, found: Any) -> None:
    """Print the verdict, each pair with what explains it, and then the numbers."""
    tables = import_module("adamcompat.comparison.tables")
    say(console, tables.verdict(found), f"bold {'green' if found.agree else 'red'}")
    for pair in found.pairs:
        say(console, tables.of_pair(pair))
        for sentence in pair.sentences:
            say(console, sentence, first="  ", rest="      ")
    console.print()
    say(console, f"{found.about}. {tables.SPACING}", rest="")
    console.print()
    # What the lines above say is not said again.
    shown = [position for position, head in enumerate(tables.PAIRS) if head not in (tables.FIRST_STEP, tables.AGREE)]
    rows = [[row[position] for position in shown] for row in tables.pairs(found)]
    show_rows(console, [tables.PAIRS[position] for position in shown], rows, tables.NUMBERS)
    show_rows(console, tables.OPTIMIZERS, list(tables.optimizers(found)), tables.NUMBERS)
