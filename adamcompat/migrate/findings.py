"""Hold what a migration found, and what it would change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adamcompat.translation.messages import Message, Severity

if TYPE_CHECKING:
    from adamcompat.migrate.constructions import Construction


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on one place.

    Attributes:
        message: code, severity and reason.
        line, column: where, counted from 1; 0 where the remark is on the whole file.
        cell: the cell of a notebook, counted from 1, in which `line` counts; else None.
    """

    message: Message
    line: int = 0
    column: int = 0
    cell: int | None = None

    def where(self, path: Path) -> str:
        """The place as editors and terminals link it."""
        return place(path, self.line, self.column, self.cell)

    def as_data(self) -> dict[str, Any]:
        """The finding as JSON data."""
        place = {"line": self.line, "column": self.column, "cell": self.cell}
        message = self.message
        return {**place, "code": message.code, "severity": message.severity.value, "text": message.text}


def place(path: Path, line: int, column: int, cell: int | None) -> str:
    """A place as editors and terminals link it.

    Args:
        path: the file.
        line: counted from 1; 0 stands for the whole file.
        column: counted from 1.
        cell: the cell of a notebook, if it is in one.
    """
    inside = f"cell {cell}:" if cell is not None else ""
    return f"{path}:{inside}{line}:{column}" if line else str(path)


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``text[start:end]`` by `new`."""

    start: int
    end: int
    new: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Hold what became of one file.

    Attributes:
        path: the file.
        findings: remarks, in the order of the file.
        before, after: its text; equal where nothing is to be changed.
        constructions: the places that make an Adam, each with what became of it.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    before: str = ""
    after: str = ""
    constructions: tuple[Construction, ...] = ()

    @property
    def changed(self) -> bool:
        """Return whether there is something to write."""
        return self.before != self.after

    @property
    def failed(self) -> bool:
        """Return whether something is left that cannot be done here."""
        return any(finding.message.severity is Severity.ERROR for finding in self.findings)

    @property
    def unclear(self) -> bool:
        """Return whether something is left that must be looked at."""
        return any(finding.message.severity is not Severity.INFO for finding in self.findings)

    def unchanged(self, *findings: Finding) -> Outcome:
        """The same file left alone, with other findings."""
        return replace(self, findings=findings, after=self.before)


def apply(text: str, edits: list[Edit]) -> str:
    """The text after some edits; of two that overlap the outer one must have been left out."""
    parts: list[str] = []
    end = 0
    for edit in sorted(set(edits), key=lambda edit: (edit.start, edit.end)):
        if edit.start < end:
            raise ValueError(f"overlapping edits at {edit.start}")
        parts += [text[end : edit.start], edit.new]
        end = edit.end
    return "".join([*parts, text[end:]])
