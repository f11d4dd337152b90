"""What the scripts that measure and draw share: quartiles, figures kept as JSON, the look of a plot."""

from __future__ import annotations

import argparse
import gc
import io
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from adamcompat.files import replacing

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"
# Okabe and Ito's colours, which people with any colour vision tell apart.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#808080"


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile; of a single value three times that value."""
    found = list(values)
    if len(found) == 1:
        return found[0], found[0], found[0]
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return low, middle, high


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], pairs: int, warm: int = 5) -> list[float]:
    """Our time by the other's, for each of so many pairs, after a few that are not timed."""

    def seconds(step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    for _ in range(warm):
        ours()
        theirs()
    gc.collect()
    found = []
    for turn in range(pairs):
        # Whoever comes first meets colder caches, so they take turns.
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        times = {first: seconds(first), second: seconds(second)}
        found.append(times[ours] / times[theirs])
    return found


class Ratio(NamedTuple):
    """Our time by another's: the work, the way it is run, quartiles, and what the median should be at most."""

    work: str
    mode: str
    quartiles: tuple[float, float, float]
    target: float | None = None

    @property
    def median(self) -> float:
        return self.quartiles[1]

    @property
    def met(self) -> bool:
        return self.target is None or self.median <= self.target

    def line(self) -> str:
        """A line of a table in a terminal."""
        target = "" if self.target is None else f"  at most {self.target:5.3f}{'' if self.met else '  above'}"
        return f"{f'{self.mode}: {self.work}':58} {self.median:6.3f}{target}"


def add_json(parser: argparse.ArgumentParser, runtime: str) -> None:
    """The option by which a benchmark keeps its ratios."""
    given = f"docs/figures/speed-{runtime}.json"
    parser.add_argument("--json", type=Path, metavar="PATH", help=f"also keep the ratios, for plots.py in {given}")


def save_ratios(path: Path | None, rows: Iterable[Ratio]) -> None:
    """Keep ratios for plots.py, where a path is given."""
    if path is not None:
        save(path, [row._asdict() for row in rows])


def read_ratios(path: Path) -> list[Ratio]:
    return [Ratio(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def save(path: Path, found: Any) -> None:
    """Write figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def save_plot(path: Path, draw: Callable[[], Any]) -> None:
    """Write the figure that `draw` returns as SVG: the same bytes from the same figures, for light and dark pages."""
    from matplotlib import rc_context

    from adamcompat.comparison.plot import MARGIN, inked, themed

    drawn = io.StringIO()
    with inked(), rc_context({"svg.hashsalt": "adamcompat"}):
        figure = draw()
        figure.get_layout_engine().set(w_pad=MARGIN, h_pad=MARGIN)
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    with replacing(path) as partial:
        partial.write_text(themed(drawn.getvalue(), alone=True), encoding="utf-8")


def insert(page: Path, command: str, lines: Iterable[str]) -> None:
    """Put lines of Markdown between the marks that stand in a page for what a command measured."""
    start, end = f"<!-- measured by scripts/{command} -->\n", "<!-- end -->\n"
    head, rest = page.read_text(encoding="utf-8").split(start)
    _, tail = rest.split(end, 1)
    text = "".join(f"{line}\n" for line in lines)
    with replacing(page) as partial:
        partial.write_text(f"{head}{start}{text}{end}{tail}", encoding="utf-8")
