"""Write a comparison as a page that needs nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamcompat.comparison.plot import svg
from adamcompat.comparison.tables import OPTIMIZERS, PAIRS, SPACING, optimizers, pairs, verdict, whole_sentences
from adamcompat.files import write_bytes
from adamcompat.render import html_table, page

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison

_STYLE = (
    "svg{max-width:100%;height:auto}.drawing{overflow-x:auto}.drawing svg{min-width:34rem}"
    "td{font-variant-numeric:tabular-nums}.whole{white-space:nowrap}td wbr{display:none}ul{padding-left:1.2rem}"
    ".yes{color:var(--good)}.no{color:var(--bad)}"
)
_MARKS = re.compile(r"(?<=[(,])(?=\S)|(?<=\.)(?=[A-Za-z])")
_NUMBER = re.compile(r"\d[\d.]*e[+-]\d+")


def _text(text: str) -> str:
    """Return a text in which numbers stay whole, as browsers do not leave them, and long names break at their marks."""
    marked = _MARKS.sub("<wbr>", html.escape(text))
    return _NUMBER.sub(lambda found: f'<span class="whole">{found[0]}</span>', marked)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return html_table(titles, ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows))


def render(comparison: Comparison) -> str:
    """Return the page as HTML.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    kind = "yes" if comparison.agree else "no"
    found = "".join(f"<li>{_text(whole_sentences(pair))}</li>\n" for pair in comparison.pairs)
    return page(
        "Adam, compared",
        f'<p class="{kind}"><strong>{html.escape(verdict(comparison))}</strong></p>\n'
        f"<ul>\n{found}</ul>\n<p>{html.escape(f'{comparison.about}. {SPACING}')}</p>\n"
        f'<div class="drawing" role="region" aria-label="drawing" tabindex="0">\n{svg(comparison)}</div>\n'
        + "<h2>Pairs</h2>\n"
        + _table(PAIRS, pairs(comparison))
        + "<h2>Optimizers</h2>\n"
        + _table(OPTIMIZERS, optimizers(comparison)),
        _STYLE,
    )


def save(comparison: Comparison, path: str | Path) -> None:
    """Write the page to a file.

    Args:
        comparison: what it shows.
        path: of the file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    write_bytes(path, render(comparison).encode())
