"""`table`: two dialects of Adam side by side, parameter by parameter."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import adamcompat.fragments as fragments
from adamcompat.differences import OTHER_MEANING, OTHER_STEP, SAME, Row, rows
from adamcompat.kinds import told
from adamcompat.mapping.model import Mapping
from adamcompat.render import RENDERERS, cells, headings, line_of
from adamcompat.translation.aliases import known

# How rows of some categories are marked; the same as on the command line.
_MARKS = {SAME: "less", OTHER_MEANING: "no", OTHER_STEP: "no"}


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """Hold the mapping between two dialects; notebooks show it as a table, ``print`` as lines.

    Attributes:
        source, target: the dialects.
        rows: one for each parameter and each step that the two compute otherwise.
        mapping: what the rows were computed from.
    """

    source: str
    target: str
    rows: tuple[Row, ...]
    mapping: Mapping

    def render(self, form: str) -> str:
        """Return the table as text.

        Args:
            form: markdown, json, csv, or html: a page that needs nothing else.

        Returns:
            The text, which ends with a line end.

        Raises:
            TypeError: `form` is no text.
            ValueError: there is no such form.

        >>> print(table("tf26", "mindspore").render("csv").splitlines()[1])
        parameter,learning_rate,0.001,learning_rate,0.001,same,
        """
        if not isinstance(form, str):
            raise TypeError(f"form must be one of {', '.join(RENDERERS)}; got {told(form)}")
        if form not in RENDERERS:
            raise ValueError(f"unknown form {form!r}; known: {', '.join(RENDERERS)}")
        return RENDERERS[form](self.mapping, self.source, self.target, self.rows)

    @property
    def _title(self) -> str:
        a, b = (self.mapping.dialects[name].target for name in (self.source, self.target))
        return f"{a} to {b}"

    def __str__(self) -> str:
        lines = [self._title]
        for row in self.rows:
            lines.append(line_of(row))
            lines += textwrap.wrap(row.note, 100, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        marks = [_MARKS.get(row.category, "") for row in self.rows]
        heads = headings(self.mapping, self.source, self.target)
        return fragments.shown(fragments.line(self._title), fragments.table(heads, map(cells, self.rows), marks))


def table(from_: str = "keras3", to: str = "mindspore", *, aliases: str | Path | None = None) -> Table:
    """Return the mapping between two dialects of Adam, as ``adamcompat table`` prints it.

    Args:
        from_: the dialect of the left side, such as keras3 or tf26, or the dotted name of its class.
        to: that of the right side.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The table, in the order of the left side's signature.

    Raises:
        TypeError: an argument is no text.
        ValueError: an unknown dialect, or a mistake in the file of aliases.

    >>> found = table("keras3", "mindspore")
    >>> print(found.rows[3].source, found.rows[3].target, found.rows[3].category, sep=", ")
    epsilon, eps, renamed, other default
    """
    catalogue = known(aliases)
    source, target = catalogue.dialect(from_, "from_").name, catalogue.dialect(to, "to").name
    return Table(source, target, tuple(rows(catalogue.mapping, source, target)), catalogue.mapping)
