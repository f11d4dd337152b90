#!/usr/bin/env python3
"""Treat a runtime badly, and write what was seen into docs/robustness.md.

python scripts/robustness.py                numpy, tensorflow and mindspore (fifteen minutes, 9 GB of memory)
python scripts/robustness.py tensorflow     one of them
python scripts/robustness.py --quick        smaller, for trying the scripts; writes nothing
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import figures
from rich.console import Console
from rich.progress import track
from rich.table import Table

PAGE = figures.FOLDER.parent / "robustness.md"
TITLES = {"numpy": "NumPy runtime", "tensorflow": "TensorFlow", "mindspore": "MindSpore"}


def treat(runtime: str, quick: bool) -> bool:
    """Whether everything was as it must be."""
    console = Console(highlight=False)
    checks = importlib.import_module(f"robustness_{runtime}").CHECKS
    found = [check(quick) for check in track(checks, TITLES[runtime], console=console, transient=True)]
    table = Table(title=TITLES[runtime], title_justify="left")
    for title in ("what was done", "what was seen", ""):
        table.add_column(title)
    for row in found:
        table.add_row(row.done, row.seen, "" if row.right else "[bold red]wrong[/]")
    console.print(table)
    right = all(row.right for row in found)
    if right and not quick:
        lines = [f"| {row.done} | {row.seen} |" for row in found]
        head = ["| what was done | what was seen |", "| --- | --- |"]
        figures.insert(PAGE, f"robustness.py {runtime}", [*head, *lines])
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runtime", nargs="?", choices=TITLES, help="none: all of them")
    parser.add_argument("--quick", action="store_true", help="smaller; writes nothing")
    options = parser.parse_args()
    if options.runtime:
        return 0 if treat(options.runtime, options.quick) else 1
    # A process for each: one runtime's threads are no business of another one's forks.
    more = ["--quick"] if options.quick else []
    return max(subprocess.call([sys.executable, Path(__file__), name, *more]) for name in TITLES)


if __name__ == "__main__":
    sys.exit(main())
