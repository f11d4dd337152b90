"""What the benchmarks share: times in turn, cases that are measured one after the other, options and exit status."""

from __future__ import annotations

import argparse
import gc
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from figures import Measured, keep, quartiles
from targets import Key, MismatchError, check


class Times(NamedTuple):
    """Our times and the other's, pair by pair, in seconds; None where ours count as they are; and a remark."""

    ours: list[float]
    theirs: list[float] | None = None
    note: str = ""

    def figures(self) -> list[float]:
        if self.theirs is None:
            return self.ours
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    def medians(self) -> str:
        """Both medians as text, and the remark."""
        both = (
            [] if self.theirs is None else [f"{statistics.median(each) * 1e3:.3f}" for each in (self.ours, self.theirs)]
        )
        return ", ".join(filter(None, (f"{' / '.join(both)} ms" if both else "", self.note)))


class Case(NamedTuple):
    """What is measured: the work and the mode of its target, and how; nothing happens before `measure` is called."""

    work: str
    mode: str
    measure: Callable[[], Times]


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], pairs: int, warm: int = 5) -> Times:
    """So many pairs of times, after a few that are not counted."""
    for _ in range(warm):
        ours()
        theirs()
    gc.collect()
    found: list[tuple[float, float]] = []
    for turn in range(pairs):
        # Whoever comes first meets colder caches, so they take turns.
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        times = {first: seconds(first), second: seconds(second)}
        found.append((times[ours], times[theirs]))
    return paired(found)


def paired(found: Iterable[tuple[float, float]]) -> Times:
    """Pairs of our time and the other's."""
    ours, theirs = zip(*found, strict=True)
    return Times(list(ours), list(theirs))


def output(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command prints. What one that fails says on standard error is the error; that of others is not shown.

    Args:
        command: with its arguments.
        cwd: the folder to run it in.
        env: its environment.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode} of {shlex.join(command)}\n{done.stderr}")
    return done.stdout


def joined(found: Iterable[Times]) -> Times:
    """The pairs of several rounds."""
    ours, theirs = zip(*((times.ours, times.theirs or []) for times in found), strict=True)
    return Times(list(chain.from_iterable(ours)), list(chain.from_iterable(theirs)))


def options(about: str | None, runtime: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {runtime}", description=(about or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--list", action="store_true", help="say what is measured, measure nothing")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="measure only what has this text in its line of --list"
    )
    kept = f"docs/figures/speed-{runtime}.json"
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help=f"also keep the figures; the published ones in {kept}"
    )
    return parser


def run(runtime: str, cases: Iterable[Case], given: Any) -> int:
    """Measure, print and keep; the exit status: 1 when a target is missed, 2 when table and cases do not agree.

    Args:
        runtime: whose targets they are.
        cases: everything that is measured of it.
        given: the options of a command line.
    """
    everything = [(Key(runtime, case.work, case.mode), case) for case in cases]
    try:
        check(runtime, (key for key, _ in everything))
    except MismatchError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    chosen = {key: case for key, case in everything if given.only in str(key)}
    if not chosen:
        print(f"nothing that is measured has {given.only!r} in its line of --list", file=sys.stderr)
        return 2
    if given.list:
        print(*chosen, sep="\n")
        return 0
    met = True
    for key, case in chosen.items():
        times = case.measure()
        row = Measured(key, quartiles(times.figures()))
        print(f"{row.line()}  {times.medians()}".rstrip(), flush=True)
        met = met and row.met
        # One by one: what was measured stays, whatever happens to the rest.
        keep(given.json, runtime, [row])
    return 0 if met else 1
