"""Draw a comparison: distance over steps."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcompat.extras import how_to_install
from adamcompat.files import write_bytes

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison, Pair

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; the styles help in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", "-.", ":")

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
    axes.set_ylabel("largest difference of a parameter\n(units in the last place of the tensor's largest value)")
    axes.axhline(comparison.tolerance, color="0.45", linewidth=0.9, linestyle=(0, (1, 2)), label="tolerance")
    axes.set_xscale("log")
    # Linear below one unit, so that zero, which is what equal bits give, has a place.
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.set_xlim(1, max(comparison.steps, 2))
    axes.xaxis.set_major_formatter(_matplotlib().ticker.StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("step")
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label(pair: Pair) -> str:
    return f"{pair.first} and {pair.second}" + ("" if pair.spacings else ": equal bits")


def figure(comparison: Comparison) -> Any:
    """Return a matplotlib Figure with one drawing.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    columns = 2 if max(len(_label(pair)) for pair in comparison.pairs) < _LONG else 1
    rows = len(comparison.pairs) // columns + 1
    canvas = _matplotlib().figure.Figure(figsize=(8, 4.6 + 0.2 * rows), layout="constrained")
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
    buffer = io.BytesIO()
    figure(comparison).savefig(buffer, format=kind, dpi=160)
    write_bytes(path, buffer.getvalue())


def svg(comparison: Comparison) -> str:
    """Return the drawing as an element of a page.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    buffer = io.StringIO()
    figure(comparison).savefig(buffer, format="svg")
    text = buffer.getvalue()
    return text[text.index("<svg") :]
