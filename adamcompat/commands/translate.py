"""Run ``adamcompat translate``: translate one call of Adam, from any dialect to any other."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE
from adamcompat.commands.arguments import add_aliases, dialect, known_dialects

EXAMPLES = """\
  adamcompat translate 'tf.keras.optimizers.Adam(0.001, amsgrad=True)' --to mindspore
  adamcompat translate 'Adam(lr=1e-5)' --from tf26 --to keras3
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    translate = commands.add_parser(
        "translate",
        help="translate one call of Adam from any dialect to any other",
        description="Translate one call of Adam. The code goes to standard output, remarks go to standard error; "
        "with an error there is no code and the exit status is 1.",
        epilog=f"{known_dialects()}\n\nexamples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    translate.add_argument("call", metavar="CALL", help="the call, with import lines where names need them; - reads it")
    translate.add_argument(
        "--to", dest="target", required=True, metavar="DIALECT", help="the dialect to write; see below"
    )
    translate.add_argument("--from", dest="source", metavar="DIALECT", help="default: what the call's name says")
    translate.add_argument("--shim", action="store_true", help="write adamcompat's class for that framework")
    add_aliases(translate)
    translate.add_argument("--format", choices=["text", "json"], default="text", help="default: text")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the translated call, and the remarks on it.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where there is a translation, 1 where an error stands in its way, 2 for unusable arguments or code.
    """
    from adamcompat.translation import translate
    from adamcompat.translation.aliases import known

    try:
        mapping = known(options.aliases).mapping
        target = dialect(options.target, mapping)
        source = dialect(options.source, mapping) if options.source is not None else None
        code = _read() if options.call == "-" else options.call
        found = translate(code, target, from_=source, shim=options.shim, aliases=options.aliases)
    except (ValueError, ModuleNotFoundError, argparse.ArgumentTypeError) as problem:
        sys.stderr.write(f"adamcompat translate: {problem}\n")
        return WRONG_USAGE
    if options.format == "json":
        sys.stdout.write(f"{found.to_json()}\n")
    else:
        if found.call is not None:
            sys.stdout.write("".join(f"{line}\n" for line in (*found.imports, found.call)))
        sys.stderr.write("".join(f"{message}\n" for message in found.messages))
    return FOUND_A_PROBLEM if found.errors else DONE


def _read() -> str:
    """Return the code on standard input.

    Raises:
        TranslationError: standard input is closed, or is no text.
    """
    from adamcompat.translation import TranslationError

    if sys.stdin is None:
        raise TranslationError("standard input is closed; give the call itself instead of -")
    try:
        code = sys.stdin.read()
        code.encode("utf-8")
    except UnicodeError:
        raise TranslationError("standard input is no text in UTF-8") from None
    return code
