"""Migrate notebooks: only the source of code cells changes, the rest of the file stays byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from adamcompat.migrate.constructions import Construction, in_text
from adamcompat.migrate.findings import Edit, Finding, apply
from adamcompat.migrate.magics import TOO_DEEP, Cell, read, show
from adamcompat.migrate.module import MENTION
from adamcompat.migrate.text import Migrated, migrated
from adamcompat.translation.aliases import known
from adamcompat.translation.messages import error, warning
from adamcompat.translation.names import Catalogue

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# A notebook of an old format keeps its cells here.
_OLD = "worksheets"

_Placed = TypeVar("_Placed", Finding, Construction)


@dataclass(frozen=True, slots=True)
class _Cell:
    """Hold a code cell.

    Attributes:
        number: its place among all cells, counted from 1.
        source: its text.
        spans: where the JSON strings of its source stand in the file; more than one only in a list.
    """

    number: int
    source: str
    spans: tuple[tuple[int, int], ...]


def migrate_notebook(raw: str, to: str, aliases: str | Path | None = None) -> tuple[str, list[Finding]]:
    """Migrate the text of an .ipynb file.

    Args:
        raw: the file's text, JSON.
        to: shim, mindspore or tensorflow.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The new text and the findings. A cell sees the imports of all cells; a cell that is a program of its own, such
        as one that writes a file, sees its own. One that names Adam and does not parse is left alone, with a finding.

    Raises:
        ValueError: a mistake in the file of aliases.
        ModuleNotFoundError: aliases are given, and PyYAML is missing.
    """
    done = migrated_notebook(raw, to, known(aliases))
    return done.text, done.findings


def migrated_notebook(raw: str, to: str, catalogue: Catalogue) -> Migrated:
    """Migrate the text of an .ipynb file, and tell what became of each Adam.

    Args:
        raw: the file's text, JSON.
        to: shim, mindspore or tensorflow.
        catalogue: the classes that are known.

    Returns:
        The new text, the findings, and each place that makes an Adam with what became of it.
    """
    try:
        cells = list(_code_cells(raw))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        said = error("does-not-parse", f"not a notebook: {problem}")
        return Migrated(raw, [Finding(said)], in_text(raw, catalogue, said))
    except (RecursionError, MemoryError):
        said = error("does-not-parse", "not a notebook: nested too deeply to be read")
        return Migrated(raw, [Finding(said)], in_text(raw, catalogue, said))
    mark = _mark(cells)
    findings: list[Finding] = []
    made: list[Construction] = []
    programs: dict[str, list[tuple[_Cell, Cell]]] = {}
    for cell in cells:
        code = read(cell.source, mark, f"cell {cell.number}")
        if code.problem is not None:
            if code.problem.msg == TOO_DEEP or MENTION.search(cell.source):
                message = error("does-not-parse", f"not valid Python: {code.problem.msg}")
                findings.append(Finding(message, code.line(code.problem.lineno or 1), 1, cell.number))
                made += in_text(cell.source, catalogue, message, cell.number)
            continue
        for line, text in code.unread:
            if MENTION.search(text):
                message = warning("not-read", f"{text.strip()!r} names Adam and is not read as Python; left alone")
                findings.append(Finding(message, line, 1, cell.number))
        if code.program is not None:
            programs.setdefault(code.program, []).append((cell, code))
    edits: list[Edit] = []
    for parsed in programs.values():
        # The cells as one module, with a comment in front of each by which they are told apart again.
        whole = "".join(f"# {mark}:{index}\n{code.text}\n" for index, (_, code) in enumerate(parsed))
        done = migrated(whole, to, catalogue)
        findings += [_placed(finding, parsed) for finding in done.findings]
        made += [_placed(construction, parsed) for construction in done.constructions]
        texts = re.split(rf"^# {mark}:\d+\n", done.text, flags=re.MULTILINE)[1:]
        edits += [
            _edit(raw, cell, show(code, text.removesuffix("\n"), mark))
            for (cell, code), text in zip(parsed, texts, strict=True)
            if text.removesuffix("\n") != code.text
        ]
    findings.sort(key=lambda finding: (finding.cell or 0, finding.line, finding.column))
    made.sort(key=lambda item: (item.cell or 0, item.line, item.column))
    return Migrated(apply(raw, edits), findings, made)


def lines_of_cells(raw: str) -> dict[int, list[int]]:
    """Return the line of the file in which each line of each code cell stands; by cell, both counted from 1.

    Args:
        raw: the file's text, JSON; of what is no notebook there are none.
    """
    found: dict[int, list[int]] = {}
    try:
        for cell in _code_cells(raw):
            lines = found.setdefault(cell.number, [])
            begun = False
            for start, end in cell.spans:
                number = raw.count("\n", 0, start) + 1
                # A string may hold several lines, and the last of them may end in the next string. Python's
                # splitlines would also split where a cell goes on, as at a form feed.
                parts = json.loads(raw[start:end]).split("\n")
                lines += [number] * (len(parts) - begun - (not parts[-1]))
                begun = bool(parts[-1]) or (begun and len(parts) == 1)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError):
        return {}
    return found


def _mark(cells: Sequence[_Cell]) -> str:
    """Return a text that no cell holds."""
    mark = "adamcompat:cell"
    while any(mark in cell.source for cell in cells):
        mark += "_"
    return mark


def _code_cells(raw: str) -> Iterator[_Cell]:
    """Yield the code cells of a notebook with the places of their strings.

    The strings of the file stand in the order in which a walk over its parsed JSON meets them.
    """
    tokens = _STRING.finditer(raw)

    def spans(value: Any) -> Iterator[tuple[str, tuple[int, int]]]:
        if isinstance(value, str):
            token = next(tokens)
            if json.loads(token[0]) != value:
                raise ValueError("a key is repeated")
            yield value, token.span()
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from spans(key)
                yield from spans(item)
        elif isinstance(value, list):
            for item in value:
                yield from spans(item)

    notebook = json.loads(raw)
    if not isinstance(notebook, dict):
        raise ValueError("it holds no object")
    if _OLD in notebook:
        raise ValueError("its format is older than 4; open it in Jupyter and save it")
    for key, value in notebook.items():
        list(spans(key))
        if key != "cells":
            list(spans(value))
            continue
        for number, cell in enumerate(value, 1):
            if not isinstance(cell, dict):
                raise ValueError(f"cell {number} is no object")
            found: list[tuple[str, tuple[int, int]]] = []
            for name, item in cell.items():
                list(spans(name))
                strings = list(spans(item))
                found = strings if name == "source" else found
            if cell["cell_type"] == "code" and found:
                yield _Cell(number, "".join(text for text, _ in found), tuple(span for _, span in found))


def _placed(finding: _Placed, cells: Sequence[tuple[_Cell, Cell]]) -> _Placed:
    """Return a finding, or a construction, on all cells of a program together as one on the cell that it is in."""
    start = 0
    for cell, code in cells:
        length = code.text.count("\n") + 2
        if start < finding.line <= start + length:
            line = finding.line - start - 1
            column = finding.column + code.shifts.get(line, 0)
            return replace(finding, line=code.line(line), column=column, cell=cell.number)
        start += length
    return finding


def _edit(raw: str, cell: _Cell, source: str) -> Edit:
    """Return the edit that writes the source of a cell; lines that did not change keep their text."""
    old = {json.loads(raw[start:end]): raw[start:end] for start, end in cell.spans}
    start, end = cell.spans[0][0], cell.spans[-1][1]
    before = raw[:start].rstrip()
    lines = source.splitlines(keepends=True) if before.endswith("[") else [source]
    between = "," + raw[len(before) : start]
    return Edit(
        start, end, between.join(old.get(line) or json.dumps(line, ensure_ascii=raw.isascii()) for line in lines)
    )
