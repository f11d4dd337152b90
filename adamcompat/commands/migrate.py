"""Run ``adamcompat migrate``: rewrite the use of Adam in files, folders and notebooks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE
from adamcompat.commands.arguments import add_aliases, path
from adamcompat.extras import how_to_install
from adamcompat.mapping.runtimes import MIGRATED

if TYPE_CHECKING:
    from adamcompat.migrate import Outcome

EXAMPLES = """\
  adamcompat migrate src --to shim                   show what would change
  adamcompat migrate src train.ipynb --to shim --write
  adamcompat migrate . --to mindspore --report       what becomes of each Adam
  adamcompat migrate . --to shim --check --format sarif > adamcompat.sarif
"""


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    migrate = commands.add_parser(
        "migrate",
        help="rewrite the use of Adam in files, folders and notebooks",
        description="Find where code makes and steps Adam, and rewrite it. --to shim changes imports alone and keeps "
        "the calling convention; --to mindspore and --to tensorflow write that framework's own calls. What cannot be "
        "rewritten safely is reported and left alone, as is a line with '# adamcompat: ignore'. The diff goes to "
        "standard output, findings go to standard error.",
        epilog=f"examples:\n{EXAMPLES}\nexit status: 0 done, 1 something is left to do, 2 wrong usage\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument("paths", nargs="+", type=path, metavar="PATH", help="a .py or .ipynb file, or a folder")
    migrate.add_argument(
        "--to",
        dest="target",
        required=True,
        choices=["shim", *MIGRATED],
        help="shim: our class for the same framework; else the framework to write for",
    )
    add_aliases(migrate)
    action = migrate.add_mutually_exclusive_group()
    action.add_argument("--diff", dest="action", action="store_const", const="diff", help="show the changes (default)")
    action.add_argument("--write", dest="action", action="store_const", const="write", help="make them")
    action.add_argument(
        "--check",
        dest="action",
        action="store_const",
        const="check",
        help="exit with 1 if there are any, or a WARNING or ERROR",
    )
    action.add_argument(
        "--report",
        dest="action",
        action="store_const",
        const="report",
        help="list every place that makes an Adam, and count which are rewritten, explained and refused",
    )
    migrate.add_argument(
        "--format",
        choices=["text", "json", "sarif"],
        default="text",
        help="default: text; sarif: the findings as SARIF 2.1.0, without a diff",
    )
    migrate.set_defaults(action="diff")


def run(options: argparse.Namespace, console: Console) -> int:
    """Migrate files, show or write the changes, and return whether anything is left to do.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where all is done, 1 where a file has an error (or with ``--check`` a warning or a change), 2 for wrong usage.
    """
    if find_spec("libcst") is None:
        sys.stderr.write(f"adamcompat migrate needs LibCST: {how_to_install('migrate')}\n")
        return WRONG_USAGE
    from adamcompat.migrate.findings import place
    from adamcompat.migrate.migration import begun, diff_of
    from adamcompat.translation.messages import error

    if options.action == "report" and options.format == "sarif":
        said = "a report counts places and has no remarks to show in SARIF; write --format json, or leave --report out"
        sys.stderr.write(f"adamcompat migrate: {said}\n")
        return WRONG_USAGE
    writes = options.action == "write"
    try:
        files, outcomes = begun(options.paths, options.target, write=writes, aliases=options.aliases)
    except FileNotFoundError as problem:
        sys.stderr.write(f"adamcompat migrate: {problem} does not exist\n")
        return WRONG_USAGE
    except (ValueError, ModuleNotFoundError) as problem:
        sys.stderr.write(f"adamcompat migrate: {problem}\n")
        return WRONG_USAGE
    if options.action == "report":
        return _report(options, outcomes)
    found = _Count(files)
    outcomes = found.counted(outcomes, written=writes)
    if options.format == "text":
        for outcome in outcomes:
            lines = [f"{finding.where(outcome.path)}: {finding.message}\n" for finding in outcome.findings]
            if options.action == "diff" and (reason := _show("".join(diff_of(outcome)))):
                found.failed += 1
                lines.append(f"{place(outcome.path, 0, 0, None)}: {error('cannot-show', reason)}\n")
            sys.stderr.writelines(lines)
        sys.stderr.write(f"{found}\n")
    elif options.format == "sarif":
        from adamcompat.migrate.sarif import sarif

        _write_json(sarif(outcomes, Path.cwd()))
    else:
        shown = [_as_data(outcome, options.action) for outcome in outcomes if outcome.findings or outcome.changed]
        counts = {"looked_at": found.files, "with_adam": found.with_adam}
        _write_json({"to": options.target, "action": options.action, **counts, "files": shown})
    unclear = options.action == "check" and (found.unclear or found.left)
    return FOUND_A_PROBLEM if found.failed or unclear else DONE


def _report(options: argparse.Namespace, outcomes: Iterable[Outcome]) -> int:
    """Write what became of each Adam; that some are refused is what was asked for, and no failure."""
    from adamcompat.migrate.report import Report

    report = Report(options.target)
    for outcome in outcomes:
        report.add(outcome)
    if options.format == "json":
        _write_json(report.as_data())
    else:
        sys.stdout.writelines(f"{line}\n" for line in report.lines())
    return DONE


def _as_data(outcome: Outcome, action: str) -> dict[str, Any]:
    """Return what became of a file as JSON data."""
    from adamcompat.migrate.migration import diff_of

    data = [finding.as_data() for finding in outcome.findings]
    entry = {"path": str(outcome.path), "changed": outcome.changed, "findings": data}
    return entry | ({"diff": "".join(diff_of(outcome))} if action == "diff" else {})


def _write_json(document: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(document, indent=2)}\n")


@dataclass
class _Count:
    """Count the files that were looked at, and what became of them.

    Attributes:
        files: how many were read.
        with_adam: how many have an Adam of which there is something to say.
        changed: how many are changed, or would be.
        left: how many have changes that are not made.
        failed: how many have an ERROR.
        unclear: how many have a WARNING or an ERROR.
    """

    files: int
    with_adam: int = 0
    changed: int = 0
    left: int = 0
    failed: int = 0
    unclear: int = 0

    def counted(self, outcomes: Iterable[Outcome], *, written: bool) -> Iterator[Outcome]:
        """Pass some files on, and count them; those that are not written have changes left."""
        for outcome in outcomes:
            self._add(outcome, left=outcome.changed and not written)
            yield outcome

    def _add(self, outcome: Outcome, *, left: bool) -> None:
        unread = any(finding.message.code == "cannot-read" for finding in outcome.findings)
        self.files -= unread
        self.with_adam += bool(outcome.changed or outcome.findings) and not unread
        self.changed += outcome.changed
        self.left += left
        self.failed += outcome.failed
        self.unclear += outcome.unclear

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        done = "to change" if self.left else "changed"
        parts = [f"{self.changed} {done}"] if self.changed else []
        parts += [f"{self.unclear} to look at (WARNING, ERROR)"] if self.unclear else []
        details = f": {', '.join(parts)}" if parts else ""
        return f"{files} read, {self.with_adam or 'none'} with an Adam to migrate{details}"


def _show(diff: str) -> str | None:
    """Print a diff as the bytes of its files.

    Returns:
        None, or a text that says why the output cannot hold the diff.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        # Names of files may hold bytes that are no text.
        data = diff.encode(encoding, "surrogateescape")
    except UnicodeEncodeError as problem:
        letters = diff[problem.start : problem.end]
        return f"the output is in {encoding}, which lacks {letters!r}; set PYTHONIOENCODING=utf-8, or use --format json"
    if data and hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(diff)
    return None
