"""Text in terminals of any width: words and numbers stay whole, and rows are a table only where they fit."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from adamcompat.terminal import fits, say, show_rows, table, wrapped

HEADS = ("pair", "largest difference", "absolute", "nearer to float64")
ROWS = [
    ("keras | mindspore", "2.1e+06", "5.68e-06", "mindspore"),
    ("keras | tf26", "34", "0.000462", "adamcompat.TFStyleAdam"),
]


def printed(width: int) -> str:
    out = io.StringIO()
    show_rows(Console(width=width, file=out), HEADS, ROWS, ("largest difference", "absolute"))
    return out.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 160])
def test_every_word_and_number_is_whole(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    words = re.split(r"[\s\u2502\u2503:]+", text)
    # The first head is that of the rows' own headings in a list.
    for row in (HEADS[1:], *ROWS):
        for word in " ".join(row).split():
            assert word in words


def test_rows_are_a_table_only_where_they_fit() -> None:
    least = next(width for width in range(200) if fits(width, HEADS, ROWS))
    # The first column is 17 wide; of the others the longest words count, with three characters of frame for each.
    assert least == 17 + len("difference") + len("5.68e-06") + len("adamcompat.TFStyleAdam") + 3 * 4 + 1
    assert "\u2502" in printed(least)
    assert "\u2502" not in printed(least - 1)
    assert printed(least - 1).splitlines()[:2] == ["keras | mindspore", "  largest difference: 2.1e+06"]


@pytest.mark.parametrize("width", [70, 78, 90, 200])
def test_a_table_is_as_wide_as_it_needs_and_no_wider_than_the_terminal(width: int) -> None:
    found = table(width, HEADS, ROWS, right=HEADS[1:3])
    widths = [column.width or 0 for column in found.columns]
    assert sum(widths) == min(width - 13, 17 + len(HEADS[1]) + len("absolute") + len(ROWS[1][3]))
    assert [column.justify for column in found.columns] == ["left", "right", "right", "left"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three four", ["one two", "  three", "  four"]),
        # Longer than a line: broken after a mark, and a number is not.
        ("f(epsilon=1e-07,beta=0.125)", ["f(epsilon=", "  1e-07,", "  beta=", "  0.125)"]),
        ("nothingtobreakat x", ["nothingtobreakat", "  x"]),
    ],
)
def test_lines_are_broken_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 10, rest="  ") == lines


def test_what_is_said_is_no_markup() -> None:
    out = io.StringIO()
    say(Console(width=40, file=out), "numerics.[bold]x[/] and [0, 1)", "bold red")
    assert out.getvalue() == "numerics.[bold]x[/] and [0, 1)\n"
