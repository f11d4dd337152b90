"""Run ``adamcompat verify``: check the mapping against the frameworks that are installed."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from adamcompat.commands import DONE, FOUND_A_PROBLEM, WRONG_USAGE
from adamcompat.commands.arguments import path
from adamcompat.extras import how_to_install
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
    mapping = _mapping(options.mapping, console)
    if mapping is None:
        return WRONG_USAGE
    # What MindSpore says of the mistakes that are made on purpose is of no use here.
    os.environ.setdefault("GLOG_v", "4")
    observations, absent = [], {}
    for runtime in [options.runtime] if options.runtime else ORIGINALS:
        framework = ORIGINALS[runtime]
        if missing := framework.missing():
            absent[runtime] = f"{' and '.join(missing)} not installed: {how_to_install(runtime)}"
            continue
        try:
            observe = framework.load("verify").observe
        except ImportError as error:
            console.print(f"{runtime} cannot be used here: {escape(str(error))}", soft_wrap=True)
            return WRONG_USAGE
        with console.status(f"measuring {runtime}"):
            observations += observe()
    if options.runtime in absent:
        console.print(f"{options.runtime}: {escape(absent[options.runtime])}", soft_wrap=True)
        return WRONG_USAGE
    from adamcompat.verify.judge import DIFFERS, judge
    from adamcompat.verify.report import as_json, show

    verdicts = judge(mapping, observations)
    if options.format == "json":
        sys.stdout.write(as_json(verdicts, absent))
    else:
        show(console, verdicts, absent)
    return FOUND_A_PROBLEM if any(verdict.state == DIFFERS for verdict in verdicts) else DONE


def _mapping(file: Path | None, console: Console) -> Any:
    """Return the built-in mapping or that of a file; None, with a message, where it cannot be read."""
    if file is None:
        return import_module("adamcompat.mapping.tables").MAPPING
    if find_spec("yaml") is None:
        console.print(f"--mapping reads YAML, and PyYAML is not installed: {how_to_install('files')}", soft_wrap=True)
        return None
    loader = import_module("adamcompat.mapping.loader")
    try:
        return loader.load(file)
    except OSError as error:
        console.print(f"cannot read {escape(str(file))}: {error.strerror}", soft_wrap=True)
    except loader.MappingError as error:
        console.print(escape(str(error)), soft_wrap=True)
    return None
