#!/usr/bin/env python3
"""Print every target of speed beside what was measured: measured anew, or as docs/figures keeps it.

scripts/bench targets                       measure all runtimes, each in a process of its own (half an hour)
scripts/bench targets torch startup         some of them
scripts/bench targets --kept                measure nothing
scripts/bench targets --json docs/figures   also keep the figures there, for scripts/plots.py speed

Figures are ratios, our time by another's, unless the target has a unit. Exit status 1 when a target is missed, 2 when
one has no measurement, or a kept figure no place in scripts/targets.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from figures import FOLDER, Measured, keep, kept
from rich.console import Console
from rich.text import Text
from targets import RUNTIMES, TARGETS, Key, MismatchError, keys

from adamcompat.terminal import wrapped

BENCH = Path(__file__).resolve().parent / "bench"
HEADS = ("runtime", "work", "mode", "target", "median", "lower", "upper", "")
NOT_MEASURED = "-"


def measure(runtime: str, folder: Path, quick: bool) -> None:
    """Measure a runtime in a process of its own, which keeps what it finds in a folder; its lines go to stderr."""
    command = [str(BENCH), runtime, "--json", str(folder / f"speed-{runtime}.json"), *(["--quick"] if quick else [])]
    # What a runtime that failed did not measure is missing in the folder, and said below.
    subprocess.run(command, stdout=sys.stderr, check=False)


def cells(key: Key, row: Measured | None) -> tuple[str, ...]:
    """A row of the table."""
    target = TARGETS[key]
    if row is None:
        return (*key, target.text, *[NOT_MEASURED] * 3, NOT_MEASURED)
    low, middle, high = map(target.shown, row.quartiles)
    return (*key, target.text, middle, low, high, "ok" if row.met else "above")


def lines(rows: Sequence[tuple[str, ...]], width: int) -> Iterable[str]:
    """The table as text: work and mode are broken between words where they don't fit, nothing else is."""
    widths = [max(map(len, cells)) for cells in zip(HEADS, *rows, strict=True)]
    room = width - sum(widths) + widths[1] + widths[2] - len(HEADS) + 1
    # A mode is shorter than a piece of work; what one of the two leaves free is the other's.
    widths[2] = min(widths[2], max(room * 2 // 5, room - widths[1]))
    widths[1] = min(widths[1], room - widths[2])
    for row in (HEADS, *rows):
        columns = [[cell] for cell in row]
        for index in (1, 2):
            columns[index] = wrapped(row[index], widths[index], rest="")
        for line in zip_longest(*columns, fillvalue=""):
            padded = [
                f"{cell:{'>' if 3 <= index <= 6 else '<'}{size}}"
                for index, (cell, size) in enumerate(zip(line, widths, strict=True))
            ]
            yield " ".join(padded).rstrip()


def show(found: dict[Key, Measured], runtimes: Iterable[str]) -> int:
    """Print the table; the exit status."""
    wanted = [key for runtime in runtimes for key in keys(runtime) if TARGETS[key].limit is not None]
    rows = [cells(key, found.get(key)) for key in wanted]
    console = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
    for number, line in enumerate(lines(rows, console.width)):
        style = "bold" if number == 0 else "bold red" if line.endswith(("above", NOT_MEASURED)) else ""
        console.print(Text(line, style), soft_wrap=True)
    above = sum(not found[key].met for key in wanted if key in found)
    missing = [key for key in wanted if key not in found]
    console.print(f"{len(wanted)} targets: {len(wanted) - above - len(missing)} ok, {above} above")
    if missing:
        print("no measurement for the target of", *missing, sep="\n  ", file=sys.stderr)
        return 2
    return 1 if above else 0


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/bench targets", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runtimes", nargs="*", metavar="RUNTIME", help=f"of {', '.join(RUNTIMES)}; none: all of them")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--kept", action="store_true", help="measure nothing, show the figures that are kept")
    how.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="also keep what is measured, in docs/figures")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="with --kept: where they are; default: docs/figures"
    )
    given = parser.parse_args()
    if unknown := set(given.runtimes) - set(RUNTIMES):
        parser.error(f"no such runtime: {', '.join(sorted(unknown))}; there are {', '.join(RUNTIMES)}")
    if given.kept and given.json:
        parser.error("--kept measures nothing that --json could keep")
    runtimes = [runtime for runtime in RUNTIMES if runtime in (given.runtimes or RUNTIMES)]
    found: dict[Key, Measured] = {}
    with ExitStack() as stack:
        folder = given.folder if given.kept else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            for runtime in runtimes:
                if not given.kept:
                    measure(runtime, folder, given.quick)
                rows = kept(folder, runtime)
                if given.json and rows:
                    keep(given.json / f"speed-{runtime}.json", runtime, rows.values())
                found |= rows
        except MismatchError as error:
            print(error.args[0], file=sys.stderr)
            return 2
    return show(found, runtimes)


if __name__ == "__main__":
    sys.exit(main())
