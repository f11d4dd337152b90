"""Hold the findings of a migration, and the changes that it would make."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcompat.translation.messages import Message, Severity

if TYPE_CHECKING:
    from adamcompat.migrate.constructions import Construction


_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold one remark on one place.

    Attributes:
        message: code, severity and reason.
        line: the line, counted from 1; 0 where the remark is on the whole file.
        column: the column in characters, counted from 1; 0 where the remark is on the whole file.
        cell: the cell of a notebook, counted from 1, in which `line` counts; else None.
    """

    message: Message
    line: int = 0
    column: int = 0
    cell: int | None = None

    def where(self, path: Path) -> str:
        """Return the place as editors and terminals link it, such as ``train.py:3:7``.

        Args:
            path: the file.
        """
        return place(path, self.line, self.column, self.cell)

    def as_data(self) -> dict[str, Any]:
        """Return the finding as a dictionary that JSON can hold."""
        place = {"line": self.line, "column": self.column, "cell": self.cell}
        message = self.message
        return {**place, "code": message.code, "severity": message.severity.value, "text": message.text}


def place(path: Path, line: int, column: int, cell: int | None) -> str:
    """Return a place as editors and terminals link it, such as ``train.py:3:7``.

    Args:
        path: the file.
        line: counted from 1; 0 stands for the whole file.
        column: counted from 1.
        cell: the cell of a notebook, if it is in one.
    """
    inside = f"cell {cell}:" if cell is not None else ""
    # A line end in the name would let it write lines of its own, which hosts of builds read as commands.
    name = _CONTROLS.sub(lambda found: repr(found[0])[1:-1], str(path))
    return f"{name}:{inside}{line}:{column}" if line else name


@dataclass(frozen=True, slots=True)
class Edit:
    """Describe the replacement of ``text[start:end]`` by `new`."""

    start: int
    end: int
    new: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold the result of migrating one file.

    Attributes:
        path: the file.
        findings: remarks, in the order of the file.
        before: the text of the file.
        after: the migrated text; the same where nothing is to be changed.
        constructions: the places that make an Adam, each with what became of it.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    before: str = ""
    after: str = ""
    constructions: tuple[Construction, ...] = ()

    @property
    def changed(self) -> bool:
        """Return whether there is a change to write."""
        return self.before != self.after

    @property
    def failed(self) -> bool:
        """Return whether a part is left that cannot be migrated."""
        return any(finding.message.severity is Severity.ERROR for finding in self.findings)

    @property
    def unclear(self) -> bool:
        """Return whether a part is left that must be looked at."""
        return any(finding.message.severity is not Severity.INFO for finding in self.findings)

    def unchanged(self, *findings: Finding) -> Outcome:
        """Return the outcome of the same file left alone, with other findings."""
        return replace(self, findings=findings, after=self.before)


def apply(text: str, edits: list[Edit]) -> str:
    """Return a text after some edits.

    Args:
        text: the text.
        edits: the edits, in any order; equal ones count once.

    Raises:
        ValueError: two edits overlap.
    """
    parts: list[str] = []
    end = 0
    for edit in sorted(set(edits), key=lambda edit: (edit.start, edit.end)):
        if edit.start < end:
            raise ValueError(f"overlapping edits at {edit.start}")
        parts += [text[end : edit.start], edit.new]
        end = edit.end
    return "".join([*parts, text[end:]])
