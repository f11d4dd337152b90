"""``adamcompat doctor``: what is installed, which classes would be used, and what is known to go wrong."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from adamcompat import __version__
from adamcompat.commands import DONE, FOUND_A_PROBLEM
from adamcompat.terminal import say

EXAMPLES = """\
  adamcompat doctor                                  what is installed, and what of it goes wrong
"""


def add(commands: Any) -> None:
    """Add the command's parser."""
    doctor = commands.add_parser(
        "doctor",
        help="say what is installed, which classes would be used, and what is known to go wrong",
        description="Say what is installed, which classes would stand in for the frameworks' own, and what is known to "
        "go wrong with these versions. No framework is imported; `adamcompat verify` measures them.",
        epilog=f"examples:\n{EXAMPLES}\nexit status: 0 nothing fails, 1 something does",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("--format", choices=["rich", "json"], default="rich", help="default: rich")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the examination, the verdict first.

    Args:
        options: `format`, "rich" or "json".
        console: where text goes.

    Returns:
        1 where something that is installed fails, otherwise 0.
    """
    from adamcompat.executors import VARIABLE
    from adamcompat.installation.doctor import examine

    found = examine()
    status = FOUND_A_PROBLEM if found.faults else DONE
    if options.format == "json":
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
        return status
    count = len(found.faults)
    verdict = (
        f"{count} fault{'s' if count > 1 else ''} found." if count else "Nothing that is installed is known to fail."
    )
    console.print(f"[bold]{verdict}[/]")
    for kind, troubles in (("fault", found.faults), ("note", found.remarks)):
        for trouble in troubles:
            say(console, f"{kind}: {trouble.about}: {trouble.what}", rest="      ")
            if trouble.mend:
                console.print(escape(f"      {trouble.mend}"), soft_wrap=True)
    console.print()
    console.print(f"adamcompat {__version__}, Python {platform.python_version()}, {os.cpu_count()} processors")
    there = [f"{name} {version}" for name, version in found.versions.items() if version is not None]
    say(console, f"installed: {', '.join(there)}")
    asked = os.environ.get(VARIABLE, "")
    compiled = asked != "numpy" and found.versions["numba"] is not None
    how = "compiled by Numba" if compiled else "NumPy alone"
    console.print(f"steps of NumPy arrays: {how}{f' ({VARIABLE}={escape(asked)})' if asked else ''}")
    for pairs in found.stand_ins.values():
        for original, ours in pairs:
            console.print(f"{ours} stands in for {original}", soft_wrap=True)
    return status
