"""Text for terminals of any width: lines broken between words, rows as a table or as a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where a word may be broken that is longer than a line; never within a number.
_MARKS = re.compile(r"(?<=[,(=|/\]])|(?<=\.)(?!\d)")
# What a column of a table takes beside its text: a line and two blanks.
_FRAME = 3


def wrapped(text: str, width: int, first: str = "", rest: str = "    ") -> list[str]:
    """Return a text as lines that are broken between words; a word longer than a line is broken after a mark.

    Args:
        text: what to break.
        width: of the terminal.
        first: what the first line begins with.
        rest: what the others begin with.

    >>> wrapped("epsilon: 1e-07 against 1e-08", 16)
    ['epsilon: 1e-07', '    against', '    1e-08']
    >>> wrapped("adamcompat.TFStyleAdam(epsilon=0.001)", 20, rest="  ")
    ['adamcompat.', '  TFStyleAdam(', '  epsilon=0.001)']
    """
    lines, line, empty = [], first, True
    for word in text.split():
        for number, piece in enumerate(_pieces(word, width - len(rest))):
            joint = "" if empty or number else " "
            if not empty and len(line) + len(joint) + len(piece) > width:
                lines.append(line)
                line, joint = rest, ""
            line += joint + piece
            empty = False
    return [*lines, line]


def _pieces(word: str, room: int) -> list[str]:
    return [word] if len(word) <= room else [piece for piece in _MARKS.split(word) if piece]


def say(console: Console, text: str, style: str = "", first: str = "", rest: str = "    ") -> None:
    """Print a text in lines as `wrapped` breaks it.

    Args:
        console: where; its width is the terminal's.
        text: printed as it is, no markup.
        style: of all of it.
        first: what the first line begins with.
        rest: what the others begin with.
    """
    for line in wrapped(text, console.width, first, rest):
        console.print(Text(line, style), soft_wrap=True)


def fits(width: int, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows can stand in a table of that width with every word whole, and the first column unbroken.

    Args:
        width: of the terminal.
        heads: titles of the columns.
        rows: of text.
    """
    return sum(_least(heads, rows)) <= _room(width, heads)


def _least(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the least width of each column."""
    first, *others = zip(heads, *rows, strict=True)
    return [max(map(len, first)), *(max(len(word) for cell in cells for word in cell.split()) for cells in others)]


def _room(width: int, heads: Sequence[str]) -> int:
    """Return how much of a line is left for text."""
    return width - _FRAME * len(heads) - 1


def table(
    width: int,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    right: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> Table:
    """Return rows as a table whose words are whole; the rows must fit, see `fits`.

    Args:
        width: of the terminal.
        heads: titles of the columns.
        rows: of text.
        title: of the table.
        right: the heads of the columns that hold numbers.
        styles: of each row; none: plain.
    """
    # Rich would take room from all columns alike, and cut what then is too narrow for its words.
    widths, wanted = _least(heads, rows), [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    for _ in range(_room(width, heads) - sum(widths)):
        position = max(range(len(heads)), key=lambda position: wanted[position] - widths[position])
        if wanted[position] > widths[position]:
            widths[position] += 1
    found = Table(title=Text(title) if title else None, title_justify="left", header_style="bold")
    for head, size in zip(heads, widths, strict=True):
        found.add_column(Text(head), justify="right" if head in right else "left", width=size)
    for row, style in zip(rows, styles or [""] * len(rows), strict=True):
        found.add_row(*map(Text, row), style=style)
    return found


def show_rows(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print rows as a table where it fits; else as a list, each row's first cell above the others.

    Args:
        console: where.
        heads: titles of the columns.
        rows: of text.
        right: the heads of the columns that hold numbers.
    """
    if fits(console.width, heads, rows):
        console.print(table(console.width, heads, rows, right=right))
        return
    for first, *others in rows:
        say(console, first, "bold")
        for head, cell in zip(heads[1:], others, strict=True):
            say(console, f"{head}: {cell}", first="  ", rest="      ")
