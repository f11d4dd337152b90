"""``adamcompat migrate``: rewrite the use of Adam in files, folders and notebooks."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE

if TYPE_CHECKING:
    from adamcompat.migrate import Outcome

EXAMPLES = """\
  adamcompat migrate src --to shim                   show what would change
  adamcompat migrate src train.ipynb --to shim --write
"""


def add(commands: Any) -> None:
    """Add the command's parser."""
    migrate = commands.add_parser(
        "migrate",
        help="rewrite the use of Adam in files, folders and notebooks",
        description="Find where code makes and steps Adam, and rewrite it. --to shim changes imports alone and keeps "
        "the calling convention; --to mindspore and --to tensorflow write that framework's own calls. What cannot be "
        "rewritten safely is reported and left alone, as is a line with '# adamcompat: ignore'. The diff goes to "
        "standard output, remarks go to standard error.",
        epilog=f"examples:\n{EXAMPLES}\nexit status: 0 done, 1 something is left to do, 2 wrong usage\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a .py or .ipynb file, or a folder")
    migrate.add_argument("--to", dest="target", required=True, choices=["mindspore", "tensorflow", "shim"])
    action = migrate.add_mutually_exclusive_group()
    action.add_argument("--diff", dest="action", action="store_const", const="diff", help="show the changes (default)")
    action.add_argument("--write", dest="action", action="store_const", const="write", help="make them")
    action.add_argument(
        "--check", dest="action", action="store_const", const="check", help="exit with 1 if there are any"
    )
    migrate.add_argument("--format", choices=["text", "json"], default="text", help="default: text")
    migrate.set_defaults(action="diff")


def run(options: argparse.Namespace, console: Console) -> int:
    """Migrate, show, and say whether anything is left to do."""
    if find_spec("libcst") is None:
        sys.stderr.write("adamcompat migrate needs LibCST; run: pip install 'adamcompat[migrate]'\n")
        return WRONG_USAGE
    from adamcompat.migrate import find, migrate_files, write

    try:
        files = list(dict.fromkeys(find(options.paths)))
    except FileNotFoundError as problem:
        sys.stderr.write(f"adamcompat migrate: {problem} does not exist\n")
        return WRONG_USAGE
    outcomes: Iterator[Outcome] = migrate_files(files, options.target)
    if options.action == "write":
        outcomes = (write(outcome) if outcome.changed else outcome for outcome in outcomes)
    status = DONE
    shown: list[dict[str, Any]] = []
    for outcome in outcomes:
        left = outcome.changed and options.action == "check"
        status = FOUND_A_PROBLEM if outcome.failed or left else status
        if options.format == "json":
            found = [finding.as_data() for finding in outcome.findings]
            if found or outcome.changed:
                entry = {"path": str(outcome.path), "changed": outcome.changed, "findings": found}
                shown.append(entry | ({"diff": "".join(_diff(outcome))} if options.action == "diff" else {}))
            continue
        if options.action == "diff":
            sys.stdout.writelines(_diff(outcome))
        for finding in outcome.findings:
            sys.stderr.write(f"{finding.where(outcome.path)}: {finding.message}\n")
    if options.format == "json":
        document = {"to": options.target, "action": options.action, "looked_at": len(files), "files": shown}
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    return status


def _diff(outcome: Outcome) -> Iterable[str]:
    """A unified diff that patch and git apply take."""
    if not outcome.changed:
        return
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (outcome.before, outcome.after))
    name = outcome.path.as_posix().lstrip("/")
    for line in difflib.unified_diff(before, after, f"a/{name}", f"b/{name}"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
