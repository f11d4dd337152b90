"""Write a comparison as a page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamcompat.comparison.plot import svg
from adamcompat.comparison.tables import OPTIMIZERS, PAIRS, optimizers, pairs, verdict
from adamcompat.files import write_bytes
from adamcompat.render import page

if TYPE_CHECKING:
    from adamcompat.comparison.result import Comparison

_STYLE = (
    "svg{max-width:100%;height:auto}td{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}"
    ".yes{color:#116329}.no{color:#a40e26}"
)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def render(comparison: Comparison) -> str:
    """Return the page as HTML.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    kind = "yes" if comparison.agree else "no"
    why = [
        f"<li>{html.escape(f'{pair.first} and {pair.second}: {sentence}.')}</li>\n"
        for pair in comparison.pairs
        for sentence in pair.sentences
    ]
    return page(
        "Adam, compared",
        f"<p>{html.escape(comparison.about)}.</p>\n"
        f'<p class="{kind}"><strong>{html.escape(verdict(comparison))}</strong></p>\n'
        + (f"<ul>\n{''.join(why)}</ul>\n" if why else "")
        + svg(comparison)
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
