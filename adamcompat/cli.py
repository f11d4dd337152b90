"""Run the command line."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from rich.console import Console

from adamcompat import __version__
from adamcompat.commands import DONE, INTERRUPTED, NAMES, WRONG_USAGE

# A program is run as python would run it: what it says, and what it finds around it, is its own.
_PROGRAM = "run"


class _Console(Console):
    """Write to a console, and leave it to `main` to see that its reader has left."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


class _Parser(argparse.ArgumentParser):
    """Parse arguments, and raise the error where the help could not be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)


def _command(name: str) -> ModuleType:
    return import_module(f"adamcompat.commands.{name}")


def parser(names: Sequence[str] = NAMES) -> argparse.ArgumentParser:
    """Return the argument parser of the command.

    Args:
        names: the subcommands to know. Their modules are imported, and what a command reads of the mapping is made.
    """
    known = [_command(name) for name in names]
    examples = "".join(command.EXAMPLES for command in known)
    main_parser = _Parser(
        prog="adamcompat",
        description="One Adam under the calling conventions of TensorFlow, MindSpore and PyTorch.",
        epilog=f"examples:\n{examples}\nexit status: 0 done, 1 found a problem, 2 wrong usage\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main_parser.add_argument("--version", action="version", version=f"adamcompat {__version__}")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in known:
        command.add(commands)
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    Args:
        arguments: those behind the name of the program; None means those of this process.

    Returns:
        0 where all is done, 1 where a problem was found, 2 for wrong usage, 130 where Ctrl-C ended the command.

    Raises:
        SystemExit: the arguments are wrong (with 2), or ask for the help or the version (with 0); or the program that
            the command ``run`` runs has exited.
    """
    # Closed files are None to Python; what would be written there is for nobody.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [_PROGRAM]:
        return _run(given)
    # What TensorFlow says on import is of no use here; nor is a character that the output cannot show a reason to stop.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left, as in `adamcompat table | head`; nothing is wrong.
        _discard_output()
        return DONE
    except OSError as problem:
        _discard_output()
        _say(f"{problem.filename or 'cannot write the output'}: {problem.strerror or problem}")
        return WRONG_USAGE
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    return status


def _run(given: Sequence[str]) -> int:
    name = given[0] if given else ""
    # Whoever names a command waits for that one only.
    main_parser = parser([name] if name in NAMES else NAMES)
    if name and not name.startswith("-") and name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(NAMES)}"
        main_parser.error(f"there is no command {name!r}; {hint}")
    try:
        options = main_parser.parse_args(given)
    except SystemExit:
        sys.stdout.flush()
        raise
    # A pipe has no width to respect: what is read by programs or saved should not be folded to 80 columns.
    console = _Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160, highlight=False)
    status: int = _command(options.command).run(options, console)
    return status


def _say(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"adamcompat: {text}\n")


def _discard_output() -> None:
    """Send output that is still unwritten to nowhere, so that Python does not fail on it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
