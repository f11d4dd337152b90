"""A comparison as a notebook shows it: the verdict, why, the drawing and the tables."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import adamcompat.fragments as fragments
from adamcompat.comparison.plot import svg
from adamcompat.comparison.tables import OPTIMIZERS, PAIRS, optimizers, pairs, verdict, whole_sentences
from adamcompat.extras import how_to_install

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison


def shown(comparison: Comparison) -> str:
    """Return the pieces of HTML.

    Args:
        comparison: what to show.

    Returns:
        HTML that needs nothing else. Where matplotlib is not installed, a line says so in place of the drawing.
    """
    marks = ["" if pair.agree else "no" for pair in comparison.pairs]
    return fragments.shown(
        fragments.line(verdict(comparison), "yes" if comparison.agree else "no"),
        fragments.line(comparison.about, "less"),
        fragments.several(map(whole_sentences, comparison.pairs)),
        _drawing(comparison),
        fragments.table(PAIRS, pairs(comparison), marks),
        fragments.table(OPTIMIZERS, optimizers(comparison)),
    )


def _drawing(comparison: Comparison) -> str:
    if not comparison.pairs:
        return ""
    if find_spec("matplotlib") is None:
        return fragments.line(f"The drawing needs matplotlib: {how_to_install('plot')}", "less")
    return svg(comparison)
