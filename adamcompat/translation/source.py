"""Find the text of the nodes of a syntax tree by their lines and columns."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
# Characters from one place that is known to the next, in lines that are not ASCII.
_STRIDE = 4096


def parse(text: str) -> ast.Module:
    """Parse source code, without the warnings that Python has for whoever runs it.

    Args:
        text: Python source.

    Raises:
        SyntaxError, ValueError: it is not valid Python.
        RecursionError, MemoryError: it is nested too deeply.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


class Source:
    """Hold text and find the places of its nodes; a place costs the same in a long line as in a short one.

    Args:
        text: the source.

    Attributes:
        text: the source.
        lines: its lines, each with its end.

    >>> source = Source("x = 1\\ny = 'é' + z\\n")
    >>> node = ast.parse(source.text).body[1].value.right
    >>> source.segment(node), source.column(node)
    ('z', 11)
    """

    def __init__(self, text: str) -> None:
        self.text = text
        matches = list(_LINE.finditer(text))
        self.lines = [match.group() for match in matches]
        self._starts = [match.start() for match in matches]
        # Line to the bytes of UTF-8 in front of every _STRIDE characters; None where a byte is a character.
        self._bytes: dict[int, list[int] | None] = {}

    def offset(self, line: int, column: int) -> int:
        """Return the position in the text of a node's line and column.

        Args:
            line: the line, counted from 1.
            column: the column, counted from 0 in bytes of UTF-8, as `ast` counts it.

        Returns:
            The position, counted from 0 in characters.
        """
        text = self.lines[line - 1]
        if line not in self._bytes:
            parts = (text[i : i + _STRIDE] for i in range(0, len(text), _STRIDE))
            lengths = [len(part.encode()) for part in parts] if not text.isascii() else None
            self._bytes[line] = None if lengths is None else [0, *accumulate(lengths)]
        before = self._bytes[line]
        if before is not None:
            stride = bisect_right(before, column) - 1
            part = text[stride * _STRIDE : (stride + 1) * _STRIDE].encode()
            column = stride * _STRIDE + len(part[: column - before[stride]].decode())
        return self._starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the positions in the text where a node begins and ends."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """Return the text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def column(self, node: ast.expr | ast.stmt) -> int:
        """Return a node's column in characters, counted from 1."""
        return self.offset(node.lineno, node.col_offset) - self._starts[node.lineno - 1] + 1

    def line(self, number: int) -> str:
        """Return a line with its end; lines are counted from 1."""
        return self.lines[number - 1]

    def line_end(self, number: int) -> int:
        """Return the position behind a line's text, before its end-of-line characters."""
        return self._starts[number - 1] + len(self.lines[number - 1].rstrip("\r\n"))

    @cached_property
    def newline(self) -> str:
        """Return the end of line that the text uses."""
        return next((end for end in ("\r\n", "\n", "\r") if any(line.endswith(end) for line in self.lines)), "\n")
