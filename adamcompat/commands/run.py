"""Run ``adamcompat run``: run a program under whose names for Adam our optimizers stand."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console

from adamcompat.commands import FOUND_A_PROBLEM

EXAMPLES = """\
  adamcompat run train.py --epochs 3                 a program, unchanged, with our optimizers
  adamcompat run -m package.train --epochs 3         the same for a module
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    run_parser = commands.add_parser(
        "run",
        help="run a program, unchanged, with our optimizers",
        description="Run a Python program in which the frameworks' Adams are ours: tf.keras.optimizers.Adam and AdamW, "
        "tf.compat.v1.train.AdamOptimizer, mindspore.nn.Adam and AdamWeightDecay, Adam and AdamW of "
        'mindspore.experimental.optim, mindspore.mint.optim and torch.optim, compile("adam") and the like. Everything '
        "after the program is its own.",
        usage="adamcompat run [-h] [--report] [--corrections] (SCRIPT | -m MODULE) [argument ...]",
        epilog=f"examples:\n{EXAMPLES}\nexit status: that of the program",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    run_parser.add_argument("--report", action="store_true", help="at the end say on stderr what was ours, and used")
    run_parser.add_argument(
        "--corrections",
        action="store_true",
        help="mend what the originals get wrong without a word; otherwise ours do what the originals do",
    )
    run_parser.add_argument("-m", dest="module", action="store_true", help="run a module, as python -m does")
    run_parser.add_argument(
        "program",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT | MODULE",
        help="a file, or a folder or zip with __main__.py; or the module's name; and its own arguments",
    )
    run_parser.set_defaults(error=run_parser.error)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the program.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where it ends by itself, 1 or 2 where there is nothing to run, 1 where a pipe that it writes to is closed.

    Raises:
        SystemExit: the program exits, or no program is named (with 2). Other exceptions of the program come through,
            too.
    """
    from adamcompat.installation.program import run_module, run_script

    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        options.error("name a script, or -m and a module")
    try:
        return (run_module if options.module else run_script)(
            *program, report=options.report, corrections=options.corrections
        )
    except BrokenPipeError:
        # To the command line this is a reader who left; to the program it is an error like any other.
        sys.excepthook(*sys.exc_info())
        return FOUND_A_PROBLEM
