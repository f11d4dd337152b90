"""Run ``adamcompat verify``: check the mapping against the frameworks that are installed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE
from adamcompat.commands.arguments import path
from adamcompat.mapping.runtimes import ORIGINALS

EXAMPLES = """\
  adamcompat verify                                  measure the installed frameworks against the mapping
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    verify = commands.add_parser(
        "verify",
        help="check the mapping against the frameworks that are installed",
        description="Read the signatures of the installed Adams, measure what they do on a few numbers, and compare "
        "each fact with the mapping. Exits with 1 if one differs. Frameworks that are absent are named.",
    )
    verify.add_argument("--mapping", type=path, metavar="FILE", help="another mapping.yaml (default: the built-in one)")
    verify.add_argument("--format", choices=["text", "json"], default="text", help="default: text")
    verify.add_argument("--runtime", choices=ORIGINALS, help="only this one (default: all that are installed)")


def run(options: argparse.Namespace, console: Console) -> int:
    """Observe the installed frameworks, judge the mapping, and report.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where every fact holds, 1 where one differs, 2 where the mapping or a framework cannot be used.
    """
    from adamcompat.verify.judge import DIFFERS, judge
    from adamcompat.verify.report import as_json, show
    from adamcompat.verify.verification import observe, read_mapping

    try:
        mapping = read_mapping(options.mapping)
    except OSError as error:
        console.print(f"cannot read {escape(str(options.mapping))}: {error.strerror}", soft_wrap=True)
        return WRONG_USAGE
    except (ValueError, ModuleNotFoundError) as error:
        console.print(escape(str(error)), soft_wrap=True)
        return WRONG_USAGE
    try:
        observations, absent = observe(options.runtime, lambda runtime: console.status(f"measuring {runtime}"))
    except ImportError as error:
        console.print(escape(str(error)), soft_wrap=True)
        return WRONG_USAGE
    verdicts = judge(mapping, observations)
    if options.format == "json":
        sys.stdout.write(as_json(verdicts, absent))
    else:
        show(console, verdicts, absent)
    return FOUND_A_PROBLEM if any(verdict.state == DIFFERS for verdict in verdicts) else DONE
