"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console

from adamcompat import __version__
from adamcompat.commands import NAMES

_COMMANDS = {name: import_module(f"adamcompat.commands.{name}") for name in NAMES}


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    examples = "".join(command.EXAMPLES for command in _COMMANDS.values())
    main_parser = argparse.ArgumentParser(
        prog="adamcompat",
        description="One Adam under TensorFlow's and MindSpore's calling conventions.",
        epilog=f"examples:\n{examples}\nexit status: 0 done, 1 found a problem, 2 wrong usage\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main_parser.add_argument("--version", action="version", version=f"adamcompat {__version__}")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS.values():
        command.add(commands)
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parser().parse_args(arguments)
    # A pipe has no width to respect: what is read by programs or saved should not be folded to 80 columns.
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160, highlight=False)
    try:
        status: int = _COMMANDS[options.command].run(options, console)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as in `adamcompat table | head`; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status
