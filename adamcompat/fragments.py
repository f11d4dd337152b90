"""Make the pieces of HTML with which results show themselves in notebooks.

A piece needs nothing from the net. Colours and background are the notebook's own, so that it is read in dark ones too.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import zip_longest

_LINE = "1px solid rgba(128,128,128,.4)"
# Notebooks align the cells of tables to the right and stripe them.
_STYLE = (
    ".adamcompat{overflow-x:auto}.adamcompat table{border-collapse:collapse;margin:.5em 0}"
    f".adamcompat th,.adamcompat td{{text-align:left;vertical-align:top;padding:.25em .7em;border-bottom:{_LINE};"
    "background:transparent;color:inherit;white-space:normal}"
    ".adamcompat tr,.adamcompat pre,.adamcompat code{background:transparent;color:inherit}"
    ".adamcompat svg{max-width:100%;height:auto}"
    # Middle tones, which have contrast on white and on black.
    ".adamcompat .yes{color:#2c9a4b}.adamcompat .no{color:#e5484d}.adamcompat .less{opacity:.65}"
)


def shown(*parts: str) -> str:
    """Return pieces as one that stands by itself.

    >>> shown(line("done")).endswith('<p>done</p></div>')
    True
    """
    return f'<div class="adamcompat"><style>{_STYLE}</style>{"".join(parts)}</div>'


def line(text: str, mark: str = "") -> str:
    """Return a line of text.

    Args:
        text: plain text.
        mark: "yes", "no" or "less", how it is coloured; empty where it is not.

    >>> line("a < b", "no")
    '<p class="no"><strong>a &lt; b</strong></p>'
    """
    words = html.escape(text)
    if not mark:
        return f"<p>{words}</p>"
    return f'<p class="{mark}">{words}</p>' if mark == "less" else f'<p class="{mark}"><strong>{words}</strong></p>'


def code(text: str) -> str:
    """Return lines of code.

    >>> code("if a < b:")
    '<pre><code>if a &lt; b:</code></pre>'
    """
    return f"<pre><code>{html.escape(text)}</code></pre>"


def several(lines: Iterable[str]) -> str:
    """Return a list of lines; nothing where there are none.

    >>> several(["a", "b"]), several([])
    ('<ul><li>a</li><li>b</li></ul>', '')
    """
    items = "".join(f"<li>{html.escape(item)}</li>" for item in lines)
    return f"<ul>{items}</ul>" if items else ""


def folded(title: str, part: str) -> str:
    """Return a piece that is hidden behind a title until it is asked for.

    >>> folded("all", line("text"))
    '<details><summary>all</summary><p>text</p></details>'
    """
    return f"<details><summary>{html.escape(title)}</summary>{part}</details>"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], marks: Sequence[str] = ()) -> str:
    """Return a table.

    Args:
        titles: of the columns.
        rows: plain text, cell by cell.
        marks: for each row "yes", "no", "less" or nothing, as of `line`.

    >>> table(["name"], [["a < b"]], ["no"])
    '<table><thead><tr><th>name</th></tr></thead><tbody><tr class="no"><td>a &lt; b</td></tr></tbody></table>'
    """
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    return grid(titles, cells, marks)


def grid(titles: Sequence[str], rows: Iterable[str], marks: Sequence[str] = ()) -> str:
    """Return a table whose cells are HTML.

    Args:
        titles: of the columns, as text.
        rows: the cells of each row, each in a ``td``.
        marks: a class for each row, as for `table`; rows beyond it have none.
    """
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = ""
    for cells, mark in zip_longest(rows, marks, fillvalue=""):
        body += f'<tr class="{mark}">{cells}</tr>' if mark else f"<tr>{cells}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
