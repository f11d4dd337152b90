"""Draw a comparison: distance over steps."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcompat.extras import how_to_install
from adamcompat.files import write_bytes

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison, Pair

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; the styles help in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#808080")
_STYLES = ("-", "--", "-.", ":")

# The colour of text and axes while an SVG is drawn, which nothing else has; then it becomes that of the page.
_INK = "#010203"
# In a file of its own an SVG has a ground of its own, so that it can be read on any page.
_GROUNDS = (
    "<style>svg{color:#1b1f24;background:#fff}"
    "@media(prefers-color-scheme:dark){svg{color:#e6edf3;background:#0d1117}}</style>"
)
# Inches around a drawing, so that no label touches its edge.
MARGIN = 0.12

# So many steps are named in a note.
_MOST = 4

# Labels of so many letters stand below each other.
_LONG = 45


def _matplotlib() -> Any:
    try:
        import matplotlib.figure
        import matplotlib.ticker
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"drawing needs matplotlib, which is not installed: {how_to_install('plot')}", name=error.name
        ) from None
    return matplotlib


@contextmanager
def inked() -> Iterator[None]:
    """Draw text, axes and grids in a colour that `themed` finds again."""
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    with _matplotlib().rc_context(dict.fromkeys(names, _INK)):
        yield


def grid() -> dict[str, Any]:
    """Return the look of a grid that keeps behind the lines on a light and on a dark page."""
    return {"color": _matplotlib().rcParams["text.color"], "alpha": 0.15, "linewidth": 0.8}


def themed(text: str, *, alone: bool) -> str:
    """Return an SVG that was drawn `inked`, in the colours of the page that it stands on, light or dark.

    Args:
        text: of the file; its ground is transparent.
        alone: it is a file, not an element of a page, and gets colours and a ground of its own.
    """
    text = text.replace(_INK, "currentColor")
    # Text is drawn as shapes, which are black unless they are told otherwise.
    start = re.sub(r"<svg ", '<svg fill="currentColor" ', text[text.index("<svg") :], count=1)
    if not alone:
        return start
    end = start.index(">") + 1
    return f"{text[: text.index('<svg')]}{start[:end]}\n {_GROUNDS}{start[end:]}"


def draw(comparison: Comparison, axes: Any, title: str) -> None:
    """Draw the distance of every pair into a matplotlib Axes.

    Args:
        comparison: what to draw.
        axes: where to draw; its scales, limits, labels and grid are set.
        title: the heading of the drawing.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    pairs = sorted(comparison.pairs, key=lambda pair: -pair.at_the_end)
    for number, pair in enumerate(pairs):
        steps, distances, _ = zip(*pair.curve, strict=True)
        axes.plot(
            steps,
            distances,
            color=COLOURS[number % len(COLOURS)],
            linestyle=_STYLES[number % len(_STYLES)],
            linewidth=1.8,
            marker="o" if len(steps) == 1 else None,
            label=_label(pair),
        )
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_ylabel("largest difference of a parameter, in spacings\n(units in the last place of its largest value)")
    axes.axhline(comparison.tolerance, color="0.5", linewidth=0.9, linestyle=(0, (1, 2)), label="tolerance")
    axes.set_xscale("log")
    # Linear below one unit, so that zero, which is what equal bits give, has a place.
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0, top=_above(max(pair.spacings for pair in pairs)))
    axes.set_xlim(1, max(comparison.steps, 2))
    axes.xaxis.set_major_formatter(_matplotlib().ticker.StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("\n".join(["step", *notes(comparison)]))
    axes.grid(**grid())
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _above(largest: float) -> float | None:
    """Return the upper end of an axis that leaves some room above a value; None where the value is no number."""
    return max(10.0, 2 * largest) if isfinite(largest) else None


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know of the lines: where one falls though the difference does not."""
    steps = sorted({step for pair in comparison.pairs for step in pair.doubled})
    if not steps:
        return []
    where = ", ".join(f"{step:,}" for step in steps[:_MOST]) + (", ..." if len(steps) > _MOST else "")
    return [f"step {where}: the unit doubles, for a tensor's largest value passes a power of two"]


def _label(pair: Pair) -> str:
    return f"{pair.first} and {pair.second}" + ("" if pair.spacings else ": equal bits")


def figure(comparison: Comparison) -> Any:
    """Return a matplotlib Figure with one drawing.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    columns = 2 if max(len(_label(pair)) for pair in comparison.pairs) < _LONG else 1
    rows = len(comparison.pairs) // columns + 1
    canvas = _matplotlib().figure.Figure(figsize=(8, 4.8 + 0.2 * (rows + len(notes(comparison)))), layout="constrained")
    canvas.get_layout_engine().set(w_pad=MARGIN, h_pad=MARGIN)
    draw(comparison, canvas.subplots(), comparison.about)
    canvas.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return canvas


def check(path: str | Path) -> str:
    """Return what kind of drawing a file is to be, known before anything is measured.

    Args:
        path: of the file; only its ending counts.

    Returns:
        The ending in small letters, without a dot, such as "svg".

    Raises:
        ValueError: matplotlib cannot draw such a file.
        ModuleNotFoundError: matplotlib is not installed.
    """
    kinds = _matplotlib().figure.Figure().canvas.get_supported_filetypes()
    kind = Path(path).suffix.lstrip(".").lower()
    if kind not in kinds:
        raise ValueError(f"{path}: cannot draw a {kind or 'file without an ending'}; use one of {', '.join(kinds)}")
    return kind


def save(comparison: Comparison, path: str | Path) -> None:
    """Draw into a file; the ending of its name decides what it becomes.

    Args:
        comparison: what to draw.
        path: of the file.

    Raises:
        ValueError: matplotlib cannot draw such a file.
        ModuleNotFoundError: matplotlib is not installed.
    """
    kind = check(path)
    if kind == "svg":
        write_bytes(path, svg(comparison, alone=True).encode())
        return
    buffer = io.BytesIO()
    figure(comparison).savefig(buffer, format=kind, dpi=160)
    write_bytes(path, buffer.getvalue())


def svg(comparison: Comparison, *, alone: bool = False) -> str:
    """Return the drawing as an element of a page, or alone in a file; the same text from the same comparison.

    Args:
        comparison: what to draw.
        alone: for a file of its own, which then has a background for light and for dark.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    buffer = io.StringIO()
    with inked(), _matplotlib().rc_context({"svg.hashsalt": "adamcompat"}):
        # Without metadata, whose addresses on the net nobody needs.
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure(comparison).savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return themed(buffer.getvalue(), alone=alone)
