"""What the scripts that measure and draw share: quartiles, figures kept as JSON, the look of a plot."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import targets
from targets import Key, MismatchError, Target, target

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


class Measured(NamedTuple):
    """What was measured, and the quartiles of its figures: ratios, or seconds or bytes where the target has a unit."""

    key: Key
    quartiles: tuple[float, float, float]

    @property
    def median(self) -> float:
        return self.quartiles[1]

    @property
    def target(self) -> Target:
        return target(self.key)

    @property
    def met(self) -> bool:
        return self.target.met(self.median)

    def line(self) -> str:
        """A line of a table in a terminal."""
        asked = self.target
        limit = "" if asked.limit is None else f"  at most {asked.text:>6}{'' if self.met else '  above'}"
        low, middle, high = map(asked.shown, self.quartiles)
        unit = f" {asked.unit}" if asked.unit else ""
        return f"{f'{self.key.mode}: {self.key.work}':58} {middle:>6}{unit} ({low} to {high}){limit}"


def kept(folder: Path, runtime: str) -> dict[Key, Measured]:
    """The figures that a folder keeps of a runtime; one that the table of targets does not have is an error."""
    path = folder / f"speed-{runtime}.json"
    found = _read(path, runtime)
    try:
        targets.known(found)
    except MismatchError as error:
        raise MismatchError(f"{path.name}: {error.args[0]}") from None
    return found


def _read(path: Path, runtime: str) -> dict[Key, Measured]:
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    keys = [Key(runtime, row["work"], row["mode"]) for row in rows]
    return {key: Measured(key, tuple(row["quartiles"])) for key, row in zip(keys, rows, strict=True)}


def keep(path: Path | None, runtime: str, rows: Iterable[Measured]) -> None:
    """Keep figures beside the others that a file has, in the order of the table of targets, where a path is given.

    Args:
        path: of the file, or None.
        runtime: whose figures the file holds.
        rows: what was measured. What the table has no longer is dropped.
    """
    if path is not None:
        found = _read(path, runtime) | {row.key: row for row in rows}
        ordered = [found[key] for key in targets.keys(runtime) if key in found]
        save(path, [{"work": key.work, "mode": key.mode, "quartiles": of} for key, of in ordered])


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
